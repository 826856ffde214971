"""Cold starts: processor seconds of every command that should answer at once, and `dvc repro` where nothing is to do.

Commands run five times, each in a process of its own; the median counts. In the repository itself: `make study` first,
so that there is nothing to do for the default study. Its `dvc repro` is told as a multiple of `dvc status` on the same
stages in the same run.
"""

import os
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.bench.keeping import keep

ROUNDS = 5
DEFAULT = ("lr_crossover", "pocket")
CROSSOVER = ("--help", "plan --scale paper", "plan --scale paper --study all", "status", "fit --help", "run --help")


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        error = process.stderr.read().decode() if process.stderr else ""
        raise SystemExit(f"{' '.join(command)} failed; is there something to do? `make study` first. {error}")
    return time.monotonic() - started, used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, print and keep."""
    dvc = [sys.executable, "-m", "dvc"]
    stages = subprocess.check_output([sys.executable, "-m", "flows.studies.targets", *DEFAULT], text=True).split()
    commands = {f"crossover {words}": [sys.executable, "-m", "crossover", *words.split()] for words in CROSSOVER}
    commands |= {
        "dvc status": [*dvc, "status", "-q", "--with-deps", *stages],
        "dvc repro": [*dvc, "--wait-for-lock", "repro", "-q", *stages],
    }
    figures = {}
    table = Table("", "seconds", "of processor", title=f"cold starts, median of {ROUNDS}")
    for name, command in commands.items():
        wall, processor = (
            statistics.median(each) for each in zip(*(timed(command) for _ in range(ROUNDS)), strict=True)
        )
        figures[name] = {"seconds": wall, "processor_seconds": processor}
        table.add_row(name, f"{wall:.2f}", f"{processor:.2f}")
    ratio = figures["dvc repro"]["seconds"] / figures["dvc status"]["seconds"]
    Console().print(table)
    print(f"dvc repro with nothing to do: {ratio:.2f} times dvc status")
    keep("start", {**figures, "repro_over_status": ratio})


if __name__ == "__main__":
    main()
