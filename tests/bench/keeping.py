"""Where every part of `make bench` leaves its figures: data/benchmarks/<date>-<part>.json, with device and versions.

What moved against the last figures of the same part on the same device is printed, so that a regression is seen.
"""

import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from crossover.base.files import write_json
from stages.cells.one import device_name

FOLDER = Path("data/benchmarks")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_MOVED = 1.15  # smaller changes are noise on a shared machine


def keep(part: str, figures: dict[str, Any], device: str = "cpu") -> None:
    """Write the figures of one part and print what moved since the last ones."""
    now, name = datetime.now(UTC), device_name(torch.device(device))
    versions = {package: version(package) for package in ("torch", "numpy")} | {"python": platform.python_version()}
    before = _last(part, name)
    path = FOLDER / f"{now:%Y-%m-%d-%H%M%S}-{part}.json"
    about = {"date": now.isoformat(timespec="seconds"), "device": name, "cores": CORES, "versions": versions}
    if kernels := os.environ.get("OPENBLAS_CORETYPE"):  # numpy's products are not the processor's own choice
        about["OPENBLAS_CORETYPE"] = kernels
    write_json(path, {**about, part: figures})
    if before:
        _show_moved(part, before, figures)
    print(f"kept in {path}")


def _last(part: str, device: str) -> dict[str, Any] | None:
    kept = (json.loads(path.read_text()) for path in sorted(FOLDER.glob(f"*-{part}.json"), reverse=True))
    return next((record for record in kept if record["device"] == device and part in record), None)


def _show_moved(part: str, before: dict[str, Any], figures: dict[str, Any]) -> None:
    old, new = dict(_leaves(before[part])), dict(_leaves(figures))
    shared = [name for name in new if old.get(name)]
    moved = [name for name in shared if not 1 / _MOVED < new[name] / old[name] < _MOVED]
    table = Table("figure", before["date"][:10], "now", "ratio", title=f"{part}: moved by more than {_MOVED - 1:.0%}")
    for name in moved:
        table.add_row(name, f"{old[name]:.4g}", f"{new[name]:.4g}", f"{new[name] / old[name]:.2f}")
    if moved:
        Console().print(table)
    else:
        print(f"{part}: none of {len(shared)} figures moved by more than {_MOVED - 1:.0%} since {before['date']}")


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number of nested mappings, under the path to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name} / {key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
