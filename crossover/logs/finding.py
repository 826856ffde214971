"""From paths on a command line to runs: what each file or folder is, and which files make one run."""

import os
from collections.abc import Iterator
from pathlib import Path

from crossover.base.errors import UsageError
from crossover.logs.huggingface import read_trainer, run_folder
from crossover.logs.logged import LoggedRun, name_apart
from crossover.logs.tables import Reading, is_table, read_table
from crossover.logs.tensorboard import read_event_run
from crossover.logs.wandb import read_wandb

_KNOWN = (
    "run-*.wandb of Weights & Biases, events.out.tfevents* of TensorBoard, trainer_state.json of Hugging Face, "
    "or a table or history as .csv, .tsv, .parquet, .jsonl or .json"
)
_HALVES = ("train", "training", "validation", "val", "valid", "eval", "test")
"""Folders that Keras and others give to the two kinds of data of one run."""


def find_runs(paths: list[Path], reading: Reading = "auto") -> list[LoggedRun]:
    """Every run in files and folders, with names that differ.

    `reading` says of tables whether a row is a run or a step. Raises `UsageError` for what is missing or unknown, and
    `DamageError` for what is broken, each naming the file and the remedy.
    """
    runs = list[LoggedRun]()
    for path in dict.fromkeys(paths):
        runs += _in_folder(path, reading) if path.is_dir() else _in_file(path, reading)
    return name_apart(runs)


def _in_file(path: Path, reading: Reading) -> list[LoggedRun]:
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if path.suffix == ".wandb":
        return [read_wandb(path)]
    if "tfevents" in path.name:
        return [read_event_run(path.absolute().parent.name, path.parent, [path])]
    if path.name == "trainer_state.json":
        return [read_trainer(run_folder(path.absolute()).name, [path])]
    if is_table(path):
        return read_table(path, reading)
    raise UsageError(f"{path} is of no known kind: {_KNOWN}")


def _in_folder(folder: Path, reading: Reading) -> list[LoggedRun]:
    files = list(_walk(folder))
    trainers = _trainers(folder, [path for path in files if path.name == "trainer_state.json"])
    events = _event_runs(folder, [path for path in files if "tfevents" in path.name])
    runs = [read_wandb(path) for path in files if path.suffix == ".wandb"]
    runs += trainers.values()
    runs += [run for run in events if not _belongs(run, trainers)]
    runs = runs or [
        run for path in files if path.parent == folder and is_table(path) for run in read_table(path, reading)
    ]
    if not runs:
        raise UsageError(f"{folder} holds no run: {_KNOWN}")
    return runs


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in order; links to folders, such as `latest-run`, are not followed."""
    for place, below, names in os.walk(folder):
        below.sort()
        yield from (Path(place) / name for name in sorted(names))


def _name(path: Path, folder: Path) -> str:
    return folder.absolute().name if path == folder else path.relative_to(folder).as_posix()


def _trainers(folder: Path, states: list[Path]) -> dict[Path, LoggedRun]:
    """The runs of `transformers.Trainer` by their output folder."""
    homes: dict[Path, list[Path]] = {}
    for state in states:
        home = run_folder(state)
        homes.setdefault(home if home.is_relative_to(folder) else state.parent, []).append(state)
    return {home: read_trainer(_name(home, folder), found) for home, found in homes.items()}


def _event_runs(folder: Path, files: list[Path]) -> list[LoggedRun]:
    """One run per topmost folder with event files; those below it are parts of it."""
    places = {path.parent for path in files}
    homes: dict[Path, list[Path]] = {}
    for path in files:
        homes.setdefault(_home(path.parent, places, folder), []).append(path)
    return [read_event_run(_name(home, folder), home, found) for home, found in homes.items()]


def _home(place: Path, places: set[Path], folder: Path) -> Path:
    within = [place, *(parent for parent in place.parents if parent.is_relative_to(folder))]
    home = next(candidate for candidate in reversed(within) if candidate in places)
    return home.parent if home.name in _HALVES and home != folder else home


def _belongs(run: LoggedRun, trainers: dict[Path, LoggedRun]) -> bool:
    """Whether the events are those of a Trainer's run, to which their settings are added."""
    for home, trainer in trainers.items():
        if run.source.is_relative_to(home):
            trainer.facts |= {key: value for key, value in run.facts.items() if key not in trainer.facts}
            trainer.notes.append(f"the events in {run.source.relative_to(home)} are its own; their settings are taken")
            return True
    return False
