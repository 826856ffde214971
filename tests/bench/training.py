"""Training throughput of our loop against the frozen reference, as ratios within one run.

Both get the whole machine: our loop as the pool uses it (a process per core, one thread each), the reference at its
best of one process with all threads and a process per core. Rounds alternate, the median counts. Beside them stands how
fast a step would be that is its dense matrix products and nothing else: the share of that which ours reaches is its
utilisation of what this machine's cores can do.

Before anything is timed, the fast step is held against the plain one in float64: gradients of one batch, and the losses
of a short run. A step that is not faithful is not reported.
"""

import os
import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from stages.cells.trainer import MEMORY
from tests.bench.keeping import CORES, keep
from tests.train.plain import require_faithful

WIDTHS = (16, 24, 32, 48, 64, 128, 256)
ROUNDS = 3


def throughput(module: str, processes: int, threads: int) -> dict[int, float]:
    """Tokens per second per width of `processes` copies running side by side, added up."""
    command = [sys.executable, "-m", module, str(threads), *map(str, WIDTHS)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **(MEMORY if module.endswith("ours") else {})}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(processes)]
    outputs = [list(map(float, process.communicate()[0].split())) for process in running]
    return dict(zip(WIDTHS, map(sum, zip(*outputs, strict=True)), strict=True))


def measure() -> dict[int, dict[str, float]]:
    """Medians in tokens per second, by width and variant."""
    variants = {
        "ours": ("tests.bench.ours", CORES, 1),
        f"reference, {CORES} x 1 thread": ("tests.bench.reference", CORES, 1),
        f"reference, 1 x {CORES} threads": ("tests.bench.reference", 1, CORES),
        "products alone": ("tests.bench.products", CORES, 1),
    }
    rounds = []
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        rounds.append({name: throughput(*variant) for name, variant in variants.items()})
    return {
        width: {name: statistics.median(each[name][width] for each in rounds) for name in variants} for width in WIDTHS
    }


def main() -> None:
    """Measure every width, print the table and keep the numbers."""
    require_faithful()
    results: dict[int, dict[str, float]] = {}
    table = Table("width", "ours", "reference (best)", "ratio", "of products alone", title="tokens/s, whole machine")
    for width, medians in measure().items():
        best = max(value for name, value in medians.items() if name.startswith("reference"))
        ratio, share = medians["ours"] / best, medians["ours"] / medians["products alone"]
        results[width] = {**medians, "ratio": ratio, "of_products": share}
        table.add_row(str(width), f"{medians['ours']:,.0f}", f"{best:,.0f}", f"{ratio:.2f}", f"{share:.0%}")
    Console().print(table)
    keep("training", {str(width): found for width, found in results.items()})


if __name__ == "__main__":
    main()
