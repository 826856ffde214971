"""The command `crossover gc`: delete from the store what no plan, no result and no other clone names."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossover.base.errors import DamageError
from crossover.cli.common import Json, print_json

if TYPE_CHECKING:
    from stages.store.clones import Clone, Registration
    from stages.store.store import Store

_DAY = 86400.0
_LOSSES = "data/results/*/losses.csv"
_PLANS = "data/studies/*/plan.json"


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it they are only listed.")] = False,
    days: Annotated[float, typer.Option(min=0.0, help="Keep what was written in the last so many days.")] = 7.0,
    as_json: Json = False,
) -> None:
    """Delete cells that no plan, no result and no other clone names.

    Plans and results here and in other worktrees; results of any branch, tag, detached worktree or stash; what other
    clones that share the store have planned. Cells of the local store: a remote one is never touched. Younger ones are
    kept: somebody may be training them. Refuses a folder that is no store, or holds anything else.

    crossover gc --days 30 --yes
    """
    from stages.store.deleting import delete_cell
    from stages.store.store import store_from_environment

    store = store_from_environment()
    found = _survey(store, time.time() - days * _DAY)
    if not as_json:
        print("\n".join(_lines(found, store.root, days)))
    if yes and found.cells:
        for path in found.spare:
            delete_cell(path)
        _forget_old_plans(found.registered)
    if as_json:
        print_json(_to_json(found, store.root, yes))
    elif found.cells:
        print(f"deleted {len(found.spare)} cells" if yes else "nothing is deleted without --yes")


@dataclass(frozen=True)
class _Survey:
    """What lies in a store."""

    cells: list[Path]
    spare: list[Path]
    strange: list[Path]
    """Links, and folders with something else in them."""
    size: int
    """Bytes of the spare ones."""
    kept: "dict[Clone, set[str]]"
    """Cells that nothing here names, by the clone that does."""
    registered: "dict[Path, Registration]"


def _survey(store: "Store", edge: float) -> _Survey:
    from stages.store.clones import registrations, this_clone
    from stages.store.deleting import holds_a_cell_alone
    from stages.store.marker import cells_of

    cells = cells_of(store.root, lambda name: _is_finished(store, name))
    if not cells:
        return _Survey([], [], [], 0, {}, {})
    registered, here, named = registrations(store), this_clone(), _named()
    unnamed = {path.name for path in cells} - named
    kept: dict[Clone, set[str]] = {}
    for entry in registered.values():
        if entry.clone != here:  # whose plans are read themselves
            kept.setdefault(entry.clone, set()).update(unnamed.intersection(entry.fingerprints))
    unnamed -= {name for names in kept.values() for name in names}
    ours = {path: holds_a_cell_alone(path) for path in cells}
    spare = [path for path in cells if ours[path] and path.name in unnamed and _newest(path) < edge]
    size = sum(file.st_size for path in spare for file in _files(path))
    return _Survey(cells, spare, [path for path in cells if not ours[path]], size, kept, registered)


def _is_finished(store: "Store", name: str) -> bool:
    """Whether the cell lies here whole, whatever a remote has."""
    try:
        return type(store)(store.root).record(name) is not None
    except DamageError:
        return False


def _lines(found: _Survey, root: Path, days: float) -> Iterator[str]:
    if not found.cells:
        yield f"no cells in {root}"
        return
    yield (
        f"{len(found.cells)} cells in {root}, {len(found.spare)} of them ({found.size / 1e6:.1f} MB) named by no plan, "
        f"branch, tag, worktree, stash or other clone and older than {days:g} days"
    )
    for clone, names in found.kept.items():
        last = max(entry.when for entry in found.registered.values() if entry.clone == clone)
        if names:
            yield f"{len(names)} cells are kept for {clone.who} (registered {last:%Y-%m-%d})"
    if not root.resolve().is_relative_to(Path.cwd()):
        others = f"{len(found.kept)} other clones have registered in it"
        yield f"{others}; one that has planned with an older version alone must run `dvc repro` before you delete"
    if found.strange:
        yield (
            f"{len(found.strange)} are left alone, such as {found.strange[0].name}: links, or folders that hold "
            "something else than the files of a cell, or nothing"
        )


def _to_json(found: _Survey, root: Path, deleted: bool) -> dict[str, Any]:
    return {
        "store": str(root), "cells": len(found.cells), "spare": sorted(path.name for path in found.spare),
        "bytes": found.size, "left_alone": sorted(path.name for path in found.strange),
        "kept": {clone.who: len(names) for clone, names in found.kept.items() if names}, "deleted": deleted,
    }  # fmt: skip


def _forget_old_plans(registered: "dict[Path, Registration]") -> None:
    """Take back what this clone registered for plans that it has no more."""
    from stages.store.clones import this_clone
    from stages.store.marker import where_permitted

    here = this_clone()
    for path, entry in registered.items():
        if entry.clone == here and not Path("data/studies", entry.plan, "plan.json").exists():
            with where_permitted():
                path.unlink(missing_ok=True)


def _newest(folder: Path) -> float:
    return max((file.st_mtime for file in _files(folder)), default=time.time())


def _files(folder: Path) -> Iterator[os.stat_result]:
    """Of a cell's folder and of everything in it; of links themselves, not of what they point to."""
    for place, _, names in os.walk(folder):
        for path in (Path(place), *(Path(place, name) for name in names)):
            with suppress(FileNotFoundError):  # somebody is at work there
                yield path.lstat()


def _named() -> set[str]:
    """Fingerprints in plans and results of every worktree, and in results that git holds."""
    from crossover.base.files import read_json
    from flows.studies.snapshots import fingerprints, fingerprints_in_git, worktrees

    found = fingerprints_in_git(Path())
    for folder in {Path().resolve(), *worktrees(Path())}:
        for path in folder.glob(_PLANS):
            read_json(path, f"run `dvc repro` in {folder}")  # of a plan cut off, some names would be missing
            found.update(fingerprints(path.read_bytes()))
        for path in folder.glob(_LOSSES):
            found.update(fingerprints(path.read_bytes()))
    return found
