"""The command `crossover doctor`: what is wrong with this workspace, and how to mend it."""

import importlib.metadata
import json
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import CrossoverError, DamageError, GateError
from crossover.cli.common import Json, print_json

if TYPE_CHECKING:
    import psutil

    from stages.store.store import Store

_ROOM = 2e9  # bytes
_OLD = 3600.0  # seconds after which a temporary file whose process is gone is litter
_PINNED = ("torch", "dvc", "prefect", "fastapi", "sqlalchemy", "pyarrow", "datasets", "great-expectations")
_DAMAGED = Path("data/damaged")


@dataclass(frozen=True)
class Ailment:
    """Something wrong: what, how to mend it, and the mending where it can be done here."""

    check: str
    what: str
    remedy: str
    mend: Callable[[], None] | None = None


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended here.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also check the digest of every file of every cell.")] = False,
    as_json: Json = False,
) -> None:
    """Check versions, disk, locks, workers, store, results; say how to mend.

    Orphaned workers and stale temporary files too. Exit code 1 where something is left to mend. Damaged cells are
    moved to data/damaged, never deleted.

    crossover doctor --deep --fix
    """
    found = list(_examine(deep))
    mended = [item for item in found if fix and item.mend]
    for item in mended:
        assert item.mend
        item.mend()
    left = [item for item in found if item not in mended]
    if as_json:
        rows = [
            {"check": item.check, "what": item.what, "remedy": item.remedy, "fixable": item.mend is not None,
             "mended": item in mended}
            for item in found
        ]  # fmt: skip
        print_json(rows)
    else:
        for item in found:
            end = "mended" if item in mended else item.remedy + (" (or --fix)" if item.mend else "")
            print(f"{item.check}: {item.what}; {end}")
        if not found:
            print("nothing wrong: versions, disk, locks, processes, temporary files, store, results")
    if left:
        raise GateError(f"{len(left)} thing(s) to mend")


def _examine(deep: bool) -> Iterator[Ailment]:
    from stages.store.store import store_from_environment

    store = store_from_environment()
    yield from _versions()
    yield from _disk(store.root)
    yield from _locks()
    yield from _lock()
    yield from _orphans()
    yield from _litter(store.root)
    yield from _store(store, deep)
    yield from _results()


def _results() -> Iterator[Ailment]:
    """Losses that are not those of the trained cells at hand, though DVC may have been told to take them."""
    from flows.studies.derived import RESULTS, derivations

    try:
        found = derivations() if Path("params.yaml").exists() else {}
    except CrossoverError:  # of a cell, which is told of above; of params.yaml or a table, which `dvc repro` names
        return
    for key, item in found.items():
        if item.altered:
            what = f"{RESULTS / key}/losses.csv: {len(item.altered)} row(s) are not what their cells say, such as"
            remedy = f"run `dvc repro --force --single-item evaluate@{key}`, then `dvc repro`"
            yield Ailment("results", f"{what} {next(iter(item.altered.values()))}", remedy)


def _versions() -> Iterator[Ailment]:
    """Packages other than those of the lock, where the lock is here."""
    if platform.python_version_tuple()[:2] not in (("3", "11"), ("3", "12"), ("3", "13")):
        yield Ailment("versions", f"Python {platform.python_version()} is not supported", "use 3.11, 3.12 or 3.13")
    lock = Path("constraints.txt")
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE)) if lock.exists() else {}
    for name in _PINNED:
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Ailment("versions", f"{name} is not installed", "run `make .venv/.ok`")
            continue
        if name in pins and here.split("+")[0] != pins[name].split("+")[0]:
            yield Ailment("versions", f"{name} is {here}, the lock says {pins[name]}", "run `make .venv/.ok`")


def _disk(store: Path) -> Iterator[Ailment]:
    for place in dict.fromkeys((Path.cwd(), store.resolve(), Path("/tmp"))):  # noqa: S108
        there = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(there).free
        if free < _ROOM:
            yield Ailment("disk", f"{place} has {free / 1e9:.1f} GB left", "make room, for example by `crossover gc`")


def _locks() -> Iterator[Ailment]:
    """DVC's table of readers and writers, which a killed DVC can leave empty or naming the dead."""
    import psutil

    path = Path(".dvc/tmp/rwlock")
    if not path.exists():
        return

    def mend() -> None:
        path.unlink(missing_ok=True)

    try:
        held = json.loads(path.read_text() or "null")
        named = {int(pid) for pid in re.findall(r'"pid": (\d+)', json.dumps(held))}
    except ValueError:
        held, named = None, set()
    if held is None:
        yield Ailment("locks", f"{path} is empty or broken, as a killed DVC leaves it", f"delete {path}", mend)
    elif named and not any(psutil.pid_exists(pid) for pid in named):
        yield Ailment("locks", f"{path} names processes that are gone", f"delete {path}", mend)


def _lock() -> Iterator[Ailment]:
    """What DVC knows of stages, which it writes in place, so that a kill in that moment leaves a part."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    path = Path("dvc.lock")
    if not path.exists():
        return
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(path))
    except (YAMLError, ValueError, Invalid):
        what = f"{path} is empty or broken, as a DVC leaves it that is killed while it writes"
        remedy = f"run `git restore {path}`, or delete it where git has none; no cell is trained again"
        yield Ailment("locks", what, remedy)


def _orphans() -> Iterator[Ailment]:
    """Workers of this folder whose parent is gone. Each ends by itself when its input does; one that hangs does not."""
    import psutil

    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        words = process.info["cmdline"] or []
        if "stages.cells.trainer" in words and process.info["ppid"] == 1 and _is_here(process):
            pid = process.info["pid"]
            yield Ailment("processes", f"worker {pid} has lost its parent", f"run `kill -9 {pid}`", process.kill)


def _is_here(process: "psutil.Process") -> bool:
    import psutil

    try:
        return Path(process.cwd()) == Path.cwd()
    except psutil.Error:
        return False


def _litter(store: Path) -> Iterator[Ailment]:
    """Temporary files of writers that were killed. They are never read."""
    stale = [path for path in _drafts(store) if time.time() - path.lstat().st_mtime > _OLD]

    def mend() -> None:
        for path in stale:
            path.unlink(missing_ok=True)

    if stale:
        size = sum(path.stat().st_size for path in stale) / 1e6
        what = f"{len(stale)} are left of killed writers ({size:.1f} MB), such as {min(stale)}"
        yield Ailment("temporary files", what, "delete them", mend)


def _drafts(store: Path) -> set[Path]:
    """Below data/, and in what is ours of the store, which may lie among other files; links are not followed."""
    from stages.store.marker import CLONES, MARKER
    from stages.store.names import draft_of

    ours = [path for path in _entries(store) if path.name == CLONES and not path.is_symlink()]
    roots = [*ours, *(path for path in _cells(store) if not path.is_symlink()), Path("data")]
    found = [path for path in _entries(store) if draft_of(path.name) == MARKER]
    found += [path for root in roots for path in root.rglob(".*.tmp")]
    return {path.absolute() for path in found if draft_of(path.name) and path.is_file() and not path.is_symlink()}


def _entries(store: Path) -> list[Path]:
    return sorted(store.glob("*")) if store.exists() else []


def _cells(store: Path) -> list[Path]:
    """What is named as a cell; nothing else in the folder is looked into."""
    from stages.store.names import is_fingerprint

    return [path for path in _entries(store) if is_fingerprint(path.name)]


def _store(store: "Store", deep: bool) -> Iterator[Ailment]:
    """Damaged cells, one line per kind of damage."""
    local = type(store)(store.root)  # what a remote holds is checked when it is fetched
    kinds: dict[str, list[Path]] = {}
    closed = [why for folder in _cells(store.root) if (why := local.closed(folder.name))]
    if closed:
        more = f" (and {len(closed) - 1} more)" if len(closed) > 1 else ""
        what, _, remedy = closed[0].partition("; ")
        yield Ailment("store", what + more, remedy)
    for folder in _cells(store.root):
        try:
            record = local.record(folder.name)
            if record and deep:
                local.check(record)
        except DamageError as error:
            kind = str(error).split(";")[0].partition(f"{folder}/")[2]
            kinds.setdefault(kind, []).append(folder)
    for kind, folders in kinds.items():
        what = f"{kind}: {len(folders)} cell(s), such as {folders[0]}"
        remedy = f"move them to {_DAMAGED}; the next run that needs such a cell makes it again"
        yield Ailment("store", what, remedy, partial(_move, folders))


def _move(folders: list[Path]) -> None:
    _DAMAGED.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        shutil.move(folder, _DAMAGED / f"{folder.name}-{time.time_ns()}")
