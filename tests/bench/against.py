"""Our training step beside that of another commit, by turns in one run.

    python -m tests.bench training --against REV [--batch 16] [--rounds 3] [--widths 16 32 64 128 256]

The commit is checked out beside and measured by this tree's `tests.bench.ours`, a process per core and one thread each,
as the pool runs them. Above 1: the tree is faster than the commit.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stages.cells.trainer import MEMORY
from tests.bench.keeping import CORES, keep

HERE = Path(__file__).resolve().parents[2]


def throughput(source: Path, widths: list[int], batch: int) -> dict[int, float]:
    """Tokens per second per width with the stages in `source`, of all cores together."""
    command = [sys.executable, str(HERE / "tests/bench/ours.py"), "1", *map(str, widths)]
    paths = {"PYTHONPATH": f"{source}{os.pathsep}{HERE}", "CROSSOVER_BENCH_BATCH": str(batch), "OMP_NUM_THREADS": "1"}
    environment = {**MEMORY, **os.environ, **paths}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(CORES)]
    outputs = [list(map(float, process.communicate()[0].split())) for process in running]
    return dict(zip(widths, map(sum, zip(*outputs, strict=True)), strict=True))


def main() -> None:
    """Measure, print the table and keep the numbers."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench training", description=__doc__)
    parser.add_argument("--against", required=True, metavar="REV")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "there"
        subprocess.run(["git", "-C", str(HERE), "worktree", "add", "--detach", str(there), said.against], check=True)
        try:
            rounds = [_round(there, said, number) for number in range(said.rounds)]
        finally:
            subprocess.run(["git", "-C", str(HERE), "worktree", "remove", "--force", str(there)], check=True)
    _report(said, rounds)


def _round(there: Path, said: argparse.Namespace, number: int) -> dict[str, dict[int, float]]:
    """Both, the first one alternating."""
    print(f"round {number + 1} of {said.rounds}", file=sys.stderr, flush=True)
    sources = {"tree": HERE, "commit": there}
    names = sorted(sources, reverse=bool(number % 2))
    return {name: throughput(sources[name], said.widths, said.batch) for name in names}


def _report(said: argparse.Namespace, rounds: list[dict[str, dict[int, float]]]) -> None:
    table = Table("width", "tree", "commit", "ratio", "least", "most", title=f"tokens/s, {said.batch} x 64 a step")
    figures: dict[str, dict[str, float]] = {}
    for width in said.widths:
        ratios = sorted(each["tree"][width] / each["commit"][width] for each in rounds)
        tree, commit = (statistics.median(each[name][width] for each in rounds) for name in ("tree", "commit"))
        found = {"tree": tree, "commit": commit, "ratio": statistics.median(ratios)}
        figures[str(width)] = found | {"least": ratios[0], "most": ratios[-1]}
        table.add_row(
            str(width),
            f"{tree:,.0f}",
            f"{commit:,.0f}",
            *(f"{figures[str(width)][k]:.3f}" for k in ("ratio", "least", "most")),
        )
    Console().print(table)
    revision = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", said.against], capture_output=True, text=True, check=True
    )
    keep("against", {f"{revision.stdout.strip()}, batch {said.batch}": figures})


if __name__ == "__main__":
    main()
