"""`make bench`: training throughput of our loop against the frozen reference, as ratios within one run.

Both get the whole machine: our loop as the pool uses it (a process per core, one thread each), the reference at its
best of one process with all threads and a process per core. Rounds alternate, the median counts. Results are appended
to data/benchmarks/<date>-<machine>.json.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from stages.cells.one import device_name

WIDTHS = (16, 24, 32, 48, 64)
ROUNDS = 3
TOKENS = 250_000
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def throughput(module: str, width: int, processes: int, threads: int) -> float:
    """Tokens per second of `processes` copies running side by side, together."""
    steps = max(50, min(400, TOKENS * 16 // (width * 1024)))
    command = [sys.executable, "-m", module, str(width), str(steps), str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(processes)]
    return sum(float(process.communicate()[0]) for process in running)


def measure(width: int) -> dict[str, float]:
    """Medians for one width, in tokens per second."""
    variants = {
        "ours": ("tests.bench.ours", CORES, 1),
        f"reference, {CORES} x 1 thread": ("tests.bench.reference", CORES, 1),
        f"reference, 1 x {CORES} threads": ("tests.bench.reference", 1, CORES),
    }
    rounds = [{name: throughput(m, width, p, t) for name, (m, p, t) in variants.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(each[name] for each in rounds) for name in variants}


def main() -> None:
    """Measure every width, print the table and keep the numbers."""
    results = {}
    table = Table("width", "ours", "reference (best)", "ratio", title="tokens/s, whole machine")
    for width in WIDTHS:
        medians = measure(width)
        best = max(value for name, value in medians.items() if name != "ours")
        results[width] = {**medians, "ratio": medians["ours"] / best}
        table.add_row(str(width), f"{medians['ours']:,.0f}", f"{best:,.0f}", f"{medians['ours'] / best:.2f}")
        print(f"width {width}: {medians['ours'] / best:.2f}", file=sys.stderr, flush=True)
    Console().print(table)
    now = datetime.now(UTC)
    record = {
        "date": now.isoformat(timespec="seconds"), "device": device_name(torch.device("cpu")), "cores": CORES,
        "torch": torch.__version__, "python": platform.python_version(), "rounds": ROUNDS, "training": results,
    }  # fmt: skip
    path = Path("data/benchmarks") / f"{now:%Y-%m-%d-%H%M%S}-cpu.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
