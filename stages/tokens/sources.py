"""Files that a text is made of and the project did not make: what all of each holds, and that none is in two splits.

A digest is of every byte. It is remembered by what the file system changes with a file (size, times, inode), so that a
corpus is read once; DVC does the same for the folder as a whole.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossover.base.errors import CrossoverError, UsageError
from crossover.base.files import read_json, sha256_file, write_json
from stages.study.corpora import SOURCES

KNOWN = Path(".crossover/digests.json")
_SETTLED = 2.0  # seconds after which another write of a file shows in its times on any file system


def digests(splits: Mapping[str, Iterable[Path]]) -> dict[str, dict[str, str]]:
    """SHA-256 of every file of every split, by path.

    Raises `UsageError` for a file that is missing, lies behind a linked folder, or belongs to two splits.
    """
    known = _read_known()
    found = {split: {str(path): _digest(path, known) for path in paths} for split, paths in splits.items()}
    write_json(KNOWN, known)
    owners: dict[str, tuple[str, str]] = {}
    for split, files in found.items():
        for path, sha256 in files.items():
            other, there = owners.setdefault(sha256, (split, path))
            if other != split:
                same = f"{path} belongs" if path == there else f"{there} and {path} hold the same and belong"
                raise UsageError(f"{same} to the {other} and to the {split} split; held-out text may not be trained on")
    return found


def _read_known() -> dict[str, list[float | str]]:
    try:
        found = read_json(KNOWN, "") if KNOWN.exists() else {}
    except CrossoverError:
        return {}  # it only saves time
    return found if isinstance(found, dict) else {}


def _digest(path: Path, known: dict[str, list[float | str]]) -> str:
    _require_noticed(path)
    try:
        now = path.stat()
    except FileNotFoundError:
        raise UsageError(f"{path} is missing; correct the corpus in params.yaml") from None
    name, seen = os.path.realpath(path), [now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino]
    if (entry := known.get(name)) and entry[:-1] == seen:
        return str(entry[-1])
    sha256 = sha256_file(path)
    if time.time() - max(now.st_mtime, now.st_ctime) > _SETTLED:
        known[name] = [*seen, sha256]
    return sha256


def _require_noticed(path: Path) -> None:
    """DVC follows links to files, and none to folders."""
    home = Path(SOURCES)
    if home in path.parents and path.parent.resolve() != home.resolve() / path.parent.relative_to(home):
        raise UsageError(f"{path} lies in a linked folder, where DVC would not notice that it changed; link the files")
