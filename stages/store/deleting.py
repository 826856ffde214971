"""Deleting a cell: its own files by name, through no symbolic link, and the folder only where nothing else is left."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from stages.store.names import RECORD, WORK, draft_of, is_cell_file


def holds_a_cell_alone(folder: Path) -> bool:
    """Whether this is a folder, no link to one, with files of a cell in it and nothing else."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _is_as_we_make_it(entry)) for entry in entries]
    except FileNotFoundError:  # somebody else has just deleted it
        return False
    return all(ours for _, ours in found) and any(draft_of(name) is None for name, _ in found)


def _is_as_we_make_it(entry: "os.DirEntry[str]") -> bool:
    """Known by name, and a folder where ours is one. A link is deleted as such, so what it points to is left."""
    as_made = entry.is_symlink() or entry.is_dir(follow_symlinks=False) == (entry.name == WORK)
    return as_made and is_cell_file(entry.name)


def delete_cell(folder: Path) -> None:
    """Delete what a cell's folder holds of ours, the record first: a cell is whole or does not exist."""
    if folder.is_symlink():
        return
    with suppress(FileNotFoundError):  # somebody else deletes it too
        for path in sorted(folder.iterdir(), key=lambda path: path.name != RECORD):
            if is_cell_file(path.name):
                _delete(path)
    with suppress(OSError):  # something else is in it
        folder.rmdir()


def _delete(path: Path) -> None:
    if path.name == WORK and not path.is_symlink():
        shutil.rmtree(path)  # follows no link either
    else:
        path.unlink(missing_ok=True)
