"""A series of changes and the log of what was decided: of the changes that were kept, at most a tenth is false.

A change that is kept at a level of a twentieth is false one time in twenty of those that are no better; of 50 changes
that are none, two or three would be kept. So the level falls: e-values, whatever their dependence, keep the share of
false keeps below `RATE` where change t is kept at 1 / e <= RATE (keeps so far + 1) / of (Wang and Ramdas 2022; online,
e-LOND: Xu and Ramdas 2024), in each `of` changes. Changes may be asked about in any order and as often as one likes,
since keeps only grow. A keep stands for the target that it was asked for: the e-value counts at the moment at which it
was kept.

The log has a line of JSON per answer. A change is a pair of names; what was asked once counts, kept or not.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from crossover.base.errors import DamageError, UsageError
from crossover.base.fields import Strict

RATE = 0.1
"""Share of false keeps among all of a series, expected at most."""


class Logged(Strict):
    """One answer in the log."""

    date: str
    a: str
    b: str
    verdict: Literal["keep", "discard", "run more"]
    why: str
    evidence: float
    needed: float
    target: float
    n_rows: int
    digest: str


@dataclass(frozen=True)
class Place:
    """Where a change stands in a series."""

    log: str
    number: int
    """Of the change, from 1, in the order in which changes were first asked about."""
    of: int
    """Changes that a series has; the next one begins a new series."""
    keeps: int
    """Other changes of this series that were kept."""
    kept: str | None
    """When this one was kept, if it was."""
    target: float | None = None
    """For which target."""

    @property
    def level(self) -> float:
        """At which the change may be kept."""
        return RATE * (self.keeps + 1) / self.of


def find_place(path: Path, a: str, b: str, of: int) -> Place:
    """Of a change in the log, which need not exist yet. Raises `DamageError` naming a line that is none of ours."""
    if of < 1:
        raise UsageError(f"a series has at least one change; got {of}")
    logged = _read(path)
    changes = list(dict.fromkeys((item.a, item.b) for item in logged))
    number = changes.index((a, b)) if (a, b) in changes else len(changes)
    series = changes[number // of * of :][:of]
    kept = {(item.a, item.b): item for item in logged if item.verdict == "keep"}
    others, mine = sum(change in kept for change in series if change != (a, b)), kept.get((a, b))
    when = (mine.date, mine.target) if mine else (None, None)
    return Place(str(path), number % of + 1, of, others, *when)


def append(path: Path, body: dict[str, Any]) -> None:
    """Log an answer."""
    line = Logged(date=datetime.now(UTC).isoformat(timespec="seconds"), **body).model_dump_json() + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
            file.write(b"\n" * (file.read() not in (b"", b"\n")) + line.encode())  # an editor may leave the end open
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another place with --log") from None


def _read(path: Path) -> list[Logged]:
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name another place with --log") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Logged(**json.loads(line)))
        except (ValueError, TypeError, RecursionError, ValidationError):
            raise DamageError(
                f"{path}: line {number} is no answer that was logged; take the line out, or name another --log"
            ) from None
    return found
