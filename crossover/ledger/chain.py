"""The ledger: a forecast or an outcome per line, each sealed with the line before it, in a file that git keeps.

Three things show an alteration, and all are asked whenever the ledger is read:

* the seal of a line is the SHA-256 of its body and of the seal before it, so a line edited, taken out or moved breaks
  the chain from there on (Haber and Stornetta 1991);
* every version that a commit in the history of HEAD holds must be how the file begins, so who writes the whole chain
  anew, or cuts lines off its end, is found out by any clone that has the commit;
* a body must be one that this version writes, dated no earlier than the line before it.

What was never committed is sealed but not witnessed, and is not scored: commit the ledger after lodging. A shallow or
grafted history proves nothing, and says so. Two branches that both lodged cannot both be merged: rebase one, and lodge
its forecasts again.
"""

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from crossover.base.canonical import canonical_json, digest
from crossover.base.errors import DamageError, UsageError
from crossover.ledger.body import Entry, Forecast, Outcome
from crossover.ledger.history import NO_GIT, History, Version, history_of

LEDGER = Path("data/ledger.jsonl")
_START = "0" * 64
_ENTRY: TypeAdapter[Forecast | Outcome] = TypeAdapter(Entry)


@dataclass(frozen=True)
class Ledger:
    """What the ledger holds, checked."""

    entries: list[Forecast | Outcome]
    history: History

    @property
    def witnessed(self) -> int | None:
        """How many of them are committed in the history of HEAD; None where there is no git to ask."""
        counts = [item.content.count(b"\n") for item in self.history.versions]
        return None if self.history.flaw == NO_GIT else max(counts, default=0)

    def version_of(self, entry: Forecast | Outcome) -> Version | None:
        """The first committed version that holds an entry; None where none does."""
        return self.history.first_with(1 + next(i for i, item in enumerate(self.entries) if item is entry))

    @property
    def forecasts(self) -> list[Forecast]:
        """In the order in which they were lodged."""
        return [entry for entry in self.entries if isinstance(entry, Forecast)]

    @property
    def outcomes(self) -> list[Outcome]:
        """In the order in which they were lodged."""
        return [entry for entry in self.entries if isinstance(entry, Outcome)]


def sealed(body: dict[str, Any], previous: str) -> tuple[bytes, str]:
    """The line of a body after the line sealed `previous`, and its own seal."""
    seal = digest({"body": body, "previous": previous})
    return (canonical_json({"body": body, "previous": previous, "seal": seal}) + "\n").encode(), seal


def read_ledger(path: Path = LEDGER) -> Ledger:
    """Every entry; none where there is no ledger. Raises `DamageError` that names the first altered line."""
    return _checked(path, path.read_bytes() if path.exists() else b"")


def append(path: Path, make: Callable[[Ledger], Sequence[Forecast | Outcome]]) -> None:
    """Lodge what `make` makes of the ledger as it stands, while nobody else may lodge.

    Raises `DamageError` where the ledger has been altered, `UsageError` where the clock is behind its last line; then
    nothing is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = file.read()
        ledger = _checked(path, content)
        made, lines = make(ledger), []
        _require_time(path, [*ledger.entries[-1:], *made])
        seal = json.loads(content.splitlines()[-1])["seal"] if content else _START
        for entry in made:
            line, seal = sealed(entry.model_dump(), seal)
            lines.append(line)
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())


def _checked(path: Path, content: bytes) -> Ledger:
    entries = _follow(path, content)
    history = history_of(path)
    for version in history.versions:
        commit, older = version.commit, version.content
        if not content.startswith(older):
            pairs = zip(older.splitlines(), [*content.splitlines(), *[b""] * older.count(b"\n")], strict=False)
            line = 1 + next((i for i, (was, now) in enumerate(pairs) if was != now), 0)
            raise DamageError(
                f"{path}: line {line} is not what commit {commit[:12]} holds: what was lodged was altered or taken "
                f"out; `git show {commit[:12]}:./{path}` has it as it was lodged"
            )
    return Ledger(entries, history)


def _require_time(path: Path, entries: Sequence[Forecast | Outcome]) -> None:
    """Time goes forward from line to line, or the clock of this machine was set back."""
    for earlier, later in pairwise(entries):
        if _goes_back(earlier, later):
            raise UsageError(
                f"{path}: it is {later.date} by the clock of this machine, and the last line was lodged at "
                f"{earlier.date}; set the clock right. Nothing was lodged"
            )


def _goes_back(earlier: Forecast | Outcome, later: Forecast | Outcome) -> bool:
    return datetime.fromisoformat(later.date) < datetime.fromisoformat(earlier.date)


def _follow(path: Path, content: bytes) -> list[Forecast | Outcome]:
    """The bodies along the chain."""
    found: list[Forecast | Outcome] = []
    seal = _START
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        where, remedy = f"{path}: line {number}", f"`git checkout {path}` brings the committed one back, where one is"
        try:
            body = json.loads(line)["body"]
            expected, seal = sealed(body, seal)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DamageError(f"{where} is no entry of a ledger; {remedy}") from None
        if line != expected:
            raise DamageError(f"{where} does not fit its seal or the line before it: it was altered; {remedy}")
        try:
            found.append(_ENTRY.validate_python(body))
        except ValidationError as error:
            key = ".".join(map(str, error.errors()[0]["loc"]))[:200]
            raise DamageError(f"{where} is no forecast or outcome of this version ({key}); {remedy}") from None
        if len(found) > 1 and _goes_back(*found[-2:]):
            raise DamageError(f"{where} is dated before the line before it: a clock was set back; {remedy}")
    return found
