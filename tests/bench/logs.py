"""Importing folders of many runs of 10,000 steps with a loss and a rate: seconds and memory, for three formats.

python -m tests.bench.logs [RUNS] [csv] [jsonl] [events]     beside what the usual library takes for the same values
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

STEPS = 10_000
KINDS = ("csv", "jsonl", "events")
_FEW = 10
"""Runs that the libraries read."""


def curve(run: int) -> pd.DataFrame:
    """Step, loss and rate."""
    steps = np.arange(STEPS)
    return pd.DataFrame({"step": steps, "loss": 2 + (run + 5) / np.sqrt(steps + 1), "lr": 0.01 * (1 - steps / STEPS)})


def write_csv(folder: Path, run: int) -> None:
    """A table of its own."""
    curve(run).to_csv(folder / f"run{run}.csv", index=False)


def write_jsonl(folder: Path, run: int) -> None:
    """A row per line."""
    curve(run).to_json(folder / f"run{run}.jsonl", orient="records", lines=True)


def write_events(folder: Path, run: int) -> None:
    """By TensorBoard's writer for a few runs, and those once more, which takes its time."""
    home = folder / f"run{run}"
    if run >= _FEW:
        shutil.copytree(folder / f"run{run % _FEW}", home)
        for path in home.iterdir():
            path.rename(home / f"{path.name}.{run}")
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(home)) as writer:
        for step, loss, rate in curve(run).itertuples(index=False):
            writer.add_scalar("loss", loss, step)
            writer.add_scalar("lr", rate, step)


def load_csv(folder: Path, run: int) -> int:
    """By pandas."""
    return len(pd.read_csv(folder / f"run{run}.csv"))


def load_jsonl(folder: Path, run: int) -> int:
    """By the standard library."""
    with (folder / f"run{run}.jsonl").open() as file:
        return len([json.loads(line) for line in file])


def load_events(folder: Path, run: int) -> int:
    """By TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / f"run{run}"), size_guidance={"scalars": 0})
    events.Reload()
    return len(events.Scalars("loss"))


WRITE: dict[str, Callable[[Path, int], None]] = {"csv": write_csv, "jsonl": write_jsonl, "events": write_events}
LOAD: dict[str, Callable[[Path, int], int]] = {"csv": load_csv, "jsonl": load_jsonl, "events": load_events}


def measure(kind: str, runs: int) -> str:
    """A line for a format."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs"
        folder.mkdir()
        for run in range(runs):
            WRITE[kind](folder, run)
        started = time.perf_counter()
        for run in range(min(_FEW, runs)):
            assert LOAD[kind](folder, run) == STEPS
        library = (time.perf_counter() - started) / min(_FEW, runs) * runs
        command = [sys.executable, "-m", "crossover", "import", str(folder), "--to", f"{place}/all.csv", "--yes"]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        assert len(pd.read_csv(f"{place}/all.csv")) == runs
    ratio, peak = seconds / library, usage.ru_maxrss / 2**20
    return f"{kind:8} {runs} runs: {seconds:6.1f} s, {ratio:5.2f} x the library alone, {peak:.2f} GiB at most"


def main() -> None:
    """Each format in turn."""
    words = sys.argv[1:]
    runs = next((int(word) for word in words if word.isdigit()), 100)
    for kind in [word for word in words if word in KINDS] or KINDS:
        print(measure(kind, runs), flush=True)


if __name__ == "__main__":
    main()
