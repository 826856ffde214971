"""From paths on a command line to runs: what each file or folder is, and which files make one run."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from crossover.base.errors import CrossoverError, DamageError, UsageError
from crossover.base.files import sha256_file
from crossover.base.hints import some
from crossover.logs.launches import join
from crossover.logs.logged import LoggedRun, name_apart, require_content
from crossover.logs.readers.dvclive import is_dvclive, read_dvclive
from crossover.logs.readers.huggingface import add_events, is_companion, read_trainer, run_folder
from crossover.logs.readers.lines import is_lines, read_lines
from crossover.logs.readers.mlflow import is_mlflow, read_mlflow
from crossover.logs.readers.tables import NAMELESS, Reading, is_table, read_table
from crossover.logs.readers.tensorboard import read_event_runs
from crossover.logs.readers.wandb import read_wandb
from crossover.logs.readers.wandb_files import is_wandb_summary, read_wandb_files

_KNOWN = (
    "run-*.wandb of Weights & Biases, events.out.tfevents* of TensorBoard, trainer_state.json of Hugging Face, mlruns/ "
    "of MLflow, dvclive/ of DVCLive, printed lines as .log, .txt or .out, or a table or history as .csv, .tsv, "
    ".parquet, .jsonl or .json"
)
_HALVES = ("train", "training", "validation", "val", "valid", "eval", "test")
"""Folders that Keras and others give to the two kinds of data of one run."""

_RESULTS = re.compile(r"(all|train|eval|test|predict)_results\.json|wandb-.*\.json|metrics\.(json|csv)")
"""What trainers and loggers write beside their logs."""


class Found(list[LoggedRun]):
    """Runs, and notes on what is none of theirs, such as a file that was skipped."""

    def __init__(self, runs: Iterable[LoggedRun] = (), notes: Iterable[str] = ()) -> None:
        super().__init__(runs)
        self.notes = list(notes)


_FOLDERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], list[LoggedRun]]], ...] = (
    (is_mlflow, read_mlflow), (is_dvclive, read_dvclive), (is_wandb_summary, read_wandb_files),
)  # fmt: skip
"""Folders that are known by one of their files, and their readers; a new kind is a line here."""


def find_runs(paths: list[Path], reading: Reading = "auto") -> Found:
    """Every run in files and folders, with names that differ.

    `reading` says of tables whether a row is a run or a step. What is broken in a folder is skipped with a note. Raises
    `UsageError` for what is missing or unknown and where no run is left, and `DamageError` for a named file that is
    broken, each naming the file and the remedy.
    """
    found = Found()
    for path in dict.fromkeys(paths):
        found += _in_folder(path, reading, found.notes) if path.is_dir() else _in_file(path, reading)
    return Found(name_apart(found), found.notes)


def _in_file(path: Path, reading: Reading) -> list[LoggedRun]:
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    require_content(path)
    if path.suffix == ".wandb":
        return join([read_wandb(path)])
    if "tfevents" in path.name:
        return read_event_runs(path.absolute().parent.name, path.parent, [path])
    if path.name == "trainer_state.json":
        return join([read_trainer(run_folder(path.absolute()).name, [path])])
    if is_table(path):
        return read_table(path, reading)
    if is_lines(path):
        return read_lines(path)
    raise UsageError(f"{path} is of no known kind: {_KNOWN}")


def _in_folder(folder: Path, reading: Reading, notes: list[str]) -> list[LoggedRun]:
    files = [
        path for path in _without_copies(folder, list(_walk(folder)), notes) if _kind(path) and _sound(path, notes)
    ]
    trainers = _trainers(folder, [path for path in files if path.name == "trainer_state.json"], notes)
    events = _event_runs(folder, [path for path in files if "tfevents" in path.name], notes)
    for home, trainer in trainers.items():
        launches = [run for run in events if run.source.is_relative_to(home)]
        if launches:
            add_events(trainer, launches, home)
        events = [run for run in events if not run.source.is_relative_to(home)]
    runs = _wandb_runs([path for path in files if path.suffix == ".wandb"], notes)
    runs += trainers.values()
    runs += events
    for belongs, read in _FOLDERS:
        runs += [run for path in files if belongs(path) for run in _tried(partial(read, path), notes)]
    tables = [path for path in files if is_table(path) and not is_companion(path)]
    tables = [path for path in tables if path.parent == folder] or [path for path in tables if path.stem in NAMELESS]
    if runs and (passed := [_name(path, folder) for path in tables if not _RESULTS.fullmatch(path.name)]):
        notes.append(f"passed over beside logs of runs: {some(passed)}; name a table to read it")
    runs = runs or [run for path in tables for run in _tried(partial(read_table, path, reading), notes)]
    runs = runs or [run for path in files if is_lines(path) for run in _tried(partial(read_lines, path), notes)]
    if not runs:
        raise UsageError("; ".join([f"{folder} holds no run: {_KNOWN}", *notes]))
    return runs


def _kind(path: Path) -> bool:
    known = path.suffix in (".wandb", ".safetensors", ".yaml")
    return known or "tfevents" in path.name or is_table(path) or is_lines(path)


def _tried(read: Callable[[], list[LoggedRun]], notes: list[str]) -> list[LoggedRun]:
    """What a reader finds, or a note on why it finds nothing."""
    try:
        return read()
    except CrossoverError as error:
        notes.append(f"skipped: {error}")
        return []


def _sound(path: Path, notes: list[str]) -> bool:
    try:
        require_content(path)
    except DamageError as error:
        notes.append(f"skipped: {error}")
        return False
    return True


def _without_copies(folder: Path, files: list[Path], notes: list[str]) -> list[Path]:
    """Files, of logs with one name and the same bytes only one: a folder copied as `latest-run`, a second download.

    A checkpoint's state is that of the run as well, and no copy.
    """
    alike: dict[tuple[str, int], list[Path]] = {}
    for path in files:
        if path.suffix == ".wandb" or "tfevents" in path.name:
            alike.setdefault((path.name, path.stat().st_size), []).append(path)
    dropped = set[Path]()
    for (_, size), group in alike.items():
        kept = dict[str, Path]()
        for path in sorted(group, key=lambda path: ("latest" in path.as_posix(), path)) if size and group[1:] else ():
            first = kept.setdefault(sha256_file(path), path)
            if first != path:
                dropped.add(path)
                notes.append(f"{path.relative_to(folder)} is a copy of {first.relative_to(folder)}, and left out")
    return [path for path in files if path not in dropped]


def _wandb_runs(files: list[Path], notes: list[str]) -> list[LoggedRun]:
    """The runs of `.wandb` files by their ids: a resumed run has a folder for every launch, named by its second."""
    by_id: dict[str, list[LoggedRun]] = {}
    for path in sorted(files, key=lambda path: (_second(path), path)):
        for run in _tried(partial(_one, path), notes):
            by_id.setdefault(f"{run.facts.get('project')}/{run.facts.get('run_id', path)}", []).append(run)
    return [run for name, launches in by_id.items() for run in join(launches, same=name)]


def _one(path: Path) -> list[LoggedRun]:
    return [read_wandb(path)]


def _trainer_runs(name: str, states: list[Path]) -> list[LoggedRun]:
    return join([read_trainer(name, states)])


def _second(path: Path) -> str:
    match = re.search(r"run-(\d{8}_\d{6})-", path.parent.name)
    return match[1] if match else ""


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in order; links to folders, such as `latest-run`, are not followed."""
    for place, below, names in os.walk(folder):
        below.sort()
        yield from (Path(place) / name for name in sorted(names))


def _name(path: Path, folder: Path) -> str:
    return folder.absolute().name if path == folder else path.relative_to(folder).as_posix()


def _trainers(folder: Path, states: list[Path], notes: list[str]) -> dict[Path, LoggedRun]:
    """The runs of `transformers.Trainer` by their output folder."""
    homes: dict[Path, list[Path]] = {}
    for state in states:
        home = run_folder(state)
        homes.setdefault(home if home.is_relative_to(folder) else state.parent, []).append(state)
    read = {home: _tried(partial(_trainer_runs, _name(home, folder), found), notes) for home, found in homes.items()}
    return {home: runs[-1] for home, runs in read.items() if runs}


def _event_runs(folder: Path, files: list[Path], notes: list[str]) -> list[LoggedRun]:
    """The runs of each topmost folder with event files; folders below it are parts of it."""
    places = {path.parent for path in files}
    homes: dict[Path, list[Path]] = {}
    for path in files:
        homes.setdefault(_home(path.parent, places, folder), []).append(path)
    return [
        run
        for home, found in homes.items()
        for run in _tried(partial(read_event_runs, _name(home, folder), home, found), notes)
    ]


def _home(place: Path, places: set[Path], folder: Path) -> Path:
    within = [place, *(parent for parent in place.parents if parent.is_relative_to(folder))]
    home = next(candidate for candidate in reversed(within) if candidate in places)
    return home.parent if home.name in _HALVES and home != folder else home
