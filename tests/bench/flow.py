"""What the grid flow adds to bare training, and 1,000 trivial cells through it.

Bare training is the pool that `dvc repro` uses; both train the same cells into empty stores, on as many workers, in
one run. The server's start is stated apart.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.conftest import make_project, write_corpus

CASES: dict[str, dict[str, Any]] = {
    "1,000 trivial cells": {
        "scales": {"tokens": 640, "widths": [8]},
        "studies": {"seeds": 20, "axes": {"lr_octaves": [number / 10 for number in range(50)]}, "recipes": {"a": {}}},
    },
    "16 cells of about 15 s": {
        "scales": {"tokens": 1_200_000, "widths": [32], "seq_len": 64, "batch": 16},
        "studies": {"seeds": 16, "recipes": {"a": {"epochs": 8}}},
    },
}


def bench(case: dict[str, Any], root: Path) -> dict[str, float]:
    """Seconds of both ways, memory in MB, and how many cells each left in its store."""
    project = make_project(root)
    write_corpus(root / "data/sources/words.jsonl", documents=1500)

    def change(values: dict[str, Any]) -> None:
        values["scales"]["mini"].update(case["scales"])
        values["studies"]["tiny"].update(case["studies"])

    project.params(change)
    project.run("dvc", "--wait-for-lock", "repro", "plan@tiny-mini")
    os.chdir(root)
    os.environ.update(PYTHONPATH=str(root), PATH=project.environment["PATH"])
    bare = _bare()
    started = time.monotonic()
    from flows.server import prefect_api

    with prefect_api():
        server = time.monotonic() - started
        return {**bare, **_flow(), "server_start": server}


def _bare() -> dict[str, float]:
    from stages.cells.plan import read_plan
    from stages.cells.pool import run_pool
    from stages.store.store import Store

    plan, store = read_plan("tiny", "mini"), Store(Path("bare"))
    started = time.monotonic()
    run_pool(plan, list(plan.cells), store)
    return {"bare_seconds": time.monotonic() - started, "bare_cells": _cells(Path("bare")), "cells": len(plan.cells)}


def _flow() -> dict[str, float]:
    from flows.grid import run_grid
    from flows.runners import Where

    started = time.monotonic()
    outcomes = run_grid([("tiny", "mini")], Where())
    seconds = time.monotonic() - started
    server = next(child for child in psutil.Process().children() if "server" in child.cmdline())
    return {
        "flow_seconds": seconds,
        "flow_cells": _cells(Path("data/store")),
        "done": sum(outcome.status == "done" for outcome in outcomes),
        "flow_mb": psutil.Process().memory_info().rss / 1e6,
        "server_mb": server.memory_info().rss / 1e6,
    }


def _cells(store: Path) -> int:
    return len(list(store.glob("*/record.json")))


def main() -> None:
    """Run both cases, each in a process of its own, print and keep."""
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as folder:
            print("\n" + json.dumps(bench(CASES[sys.argv[1]], Path(folder) / "project")))
            os.chdir("/")
        return
    import subprocess

    from tests.bench.keeping import keep

    table, found = Table("", "bare", "flow", "flow / bare", "server start", "memory: flow, server"), {}
    for name in CASES:
        command = [sys.executable, "-m", "tests.bench.flow", name]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        item = found[name] = json.loads(output.splitlines()[-1])
        if not item["cells"] == item["flow_cells"] == item["bare_cells"] == item["done"]:
            raise SystemExit(f"cells were lost: {item}")
        ratio = item["flow_seconds"] / item["bare_seconds"]
        table.add_row(
            name, f"{item['bare_seconds']:.1f} s", f"{item['flow_seconds']:.1f} s", f"{ratio:.2f}",
            f"{item['server_start']:.1f} s", f"{item['flow_mb']:.0f}, {item['server_mb']:.0f} MB",
        )  # fmt: skip
    Console().print(table)
    keep("flow", found)


if __name__ == "__main__":
    main()
