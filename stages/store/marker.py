"""The marker of a store: the file that says of a folder that its cells may be deleted, and the refusal without it."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crossover.base.errors import DamageError, UsageError
from crossover.base.files import read_sealed, write_sealed
from stages.store.names import draft_of, is_fingerprint

MARKER = ".crossover-store"
CLONES = ".clones"
_BODY = {"holds": "cells of crossover, one folder per fingerprint"}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def mark(root: Path) -> None:
    """Say of a new or empty folder that it is a store. Of any other nothing is said: `cells_of` recognises a store."""
    if not root.exists():
        root.mkdir(parents=True, exist_ok=True)
    with os.scandir(root) as entries:
        empty = next(entries, None) is None
    if empty:
        write_sealed(root / MARKER, _BODY)


def cells_of(root: Path, is_finished: Callable[[str], bool]) -> list[Path]:
    """Folders of a store that are named as cells, and links so named.

    A store from before there was a marker is recognised by a cell that `is_finished`, and marked. Raises `UsageError`
    where the folder is no store, or holds anything else.
    """
    entries = sorted(root.iterdir()) if root.exists() else []
    cells = [path for path in entries if _is_named_as_a_cell(path)]
    strange = [path for path in entries if not _is_named_as_a_cell(path) and not _is_beside(path)]
    if strange:
        raise UsageError(
            f"{root} holds {strange[0].name[:200]!r}, which is no cell: nothing in it is deleted; "
            "move that away, or give the store a folder of its own"
        )
    if entries and not _is_marked(root):
        if not any(is_finished(path.name) for path in cells if not path.is_symlink()):
            raise UsageError(
                f"{root} has no {MARKER} and no finished cell of this version: nothing in it is deleted; "
                "set CROSSOVER_STORE to a store, or run `dvc repro` first"
            )
        with where_permitted():
            write_sealed(root / MARKER, _BODY)
    return cells


def _is_named_as_a_cell(path: Path) -> bool:
    return is_fingerprint(path.name) and (path.is_symlink() or path.is_dir())


def _is_beside(path: Path) -> bool:
    """Whether this is what a store keeps beside its cells."""
    if path.is_symlink():
        return False
    return path.is_dir() if path.name == CLONES else path.is_file() and MARKER in (path.name, draft_of(path.name))


def _is_marked(root: Path) -> bool:
    try:
        return read_sealed(root / MARKER) == _BODY
    except DamageError:
        return False


@contextmanager
def where_permitted() -> Iterator[None]:
    """Do without a write to a store that one may only read."""
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
