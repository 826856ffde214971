"""Training as it goes: every planned cell's state, its loss beside what is expected of it, and what left its course.

Read from the journals of those who train (`stages.live`), the plans and the store, so that any process may watch, also
one that was started later. What is expected of a cell comes from finished cells of its recipe: of its own width, or of
two others.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from crossover.base.errors import CrossoverError, UsageError
from crossover.curves.foresee import Left, Logged, Standing, stand, whole_ladder
from crossover.curves.process import Ladder
from stages.cells.plan import PlannedRow, read_plan
from stages.live.events import Begun, Told
from stages.live.sinks import JOURNAL
from stages.live.telling import FOLDER
from stages.store.store import Store, store_from_environment
from stages.study.cell import Cell
from stages.study.costs import count_parameters
from stages.train.schedule import learning_rates

WAITING, TRAINING, DONE, DIVERGED, FAILED, DEPARTED = "waiting", "training", "done", "diverged", "failed", "departed"
_POINTS = 200
_SILENT = 120.0  # seconds without a word, after which who trained it is taken to be gone
_AGAIN = 15.0  # seconds between two climbs of a ladder that grew


@dataclass
class Followed:
    """A cell that somebody told of."""

    begun: Begun
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    heard: list[tuple[float, int]] = field(default_factory=list)
    """When, and how many steps there were."""
    status: str = ""
    """How it ended; empty while it goes on."""
    standing: Standing | None = None
    seen: int = 0
    """How many points there were when it was last looked at."""

    @property
    def step(self) -> int:
        """Steps done."""
        return self.steps[-1] if self.steps else 0

    @property
    def lost(self) -> int | None:
        """The step at which its loss was no number any more."""
        return next((step for step, loss in zip(self.steps, self.losses, strict=True) if not isfinite(loss)), None)

    def tell(self, told: Told) -> None:
        """Points; after a restart some come again and take the place of the first."""
        keep = sum(step < told.steps[0] for step in self.steps)
        self.steps[keep:], self.losses[keep:] = told.steps, told.losses
        self.heard.append((told.time, told.steps[-1]))

    def speed(self) -> float | None:
        """Tokens per second over the last ten tellings."""
        recent = self.heard[-10:]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0] or recent[-1][1] <= recent[0][1]:
            return None
        return (recent[-1][1] - recent[0][1]) * self.begun.tokens_per_step / (recent[-1][0] - recent[0][0])


@dataclass(frozen=True)
class Line:
    """One cell as it is shown."""

    study: str
    recipe: str
    width: int
    seed: int
    state: str
    progress: float
    loss: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    note: str = ""


class Board:
    """All planned cells of some studies, and what is known of each by now."""

    def __init__(self, studies: Sequence[tuple[str, str]], root: Path = Path(), store: Store | None = None) -> None:
        self._store = store or store_from_environment()
        self._journals, self._read = root / FOLDER / JOURNAL, defaultdict[Path, int](int)
        self._plans = {f"{study}-{scale}": read_plan(study, scale) for study, scale in studies}
        self._rows = {row.fingerprint: (key, row) for key, plan in self._plans.items() for row in reversed(plan.rows)}
        self._followed: dict[str, Followed] = {}
        self._finished: dict[str, Logged | None] = {}
        self._ladders: dict[tuple[str, str, str], tuple[int, float, Ladder | None]] = {}

    def update(self) -> None:
        """Read what was told since the last time, and look whether cells that train keep to their course."""
        for path in sorted(self._journals.glob("*.jsonl")) if self._journals.is_dir() else []:
            for event in self._new(path):
                self._take(event)
        for fingerprint, cell in self._followed.items():
            if fingerprint in self._rows and not cell.status and len(cell.steps) > cell.seen:
                cell.seen = len(cell.steps)
                self._look(fingerprint, cell)

    def lines(self) -> list[Line]:
        """Every planned cell once, in the order of the plans."""
        return [self._line(fingerprint, key, row) for fingerprint, (key, row) in self._rows.items()]

    def _new(self, path: Path) -> Iterator[dict[str, Any]]:
        """Whole lines that were not read yet."""
        with path.open("rb") as file:
            file.seek(self._read[path])
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read[path] += len(line)
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # of a writer that was killed

    def _take(self, event: dict[str, Any]) -> None:
        fingerprint, kind = event["fingerprint"], event["kind"]
        if kind == "begin":
            begun = Begun(**{name: event[name] for name in Begun.__dataclass_fields__})
            old = self._followed.get(fingerprint)
            self._followed[fingerprint] = Followed(begun, old.steps, old.losses) if old else Followed(begun)
        elif fingerprint in self._followed:
            cell = self._followed[fingerprint]
            if kind == "told":
                cell.tell(Told(*(event[name] for name in ("time", "steps", "losses", "lrs", "grad_norms"))))
            else:
                cell.status = event["status"]

    def _look(self, fingerprint: str, cell: Followed) -> None:
        """Whether it keeps to its course; once it left that is remembered."""
        if cell.standing and cell.standing.left:
            return
        ladder = self._ladder(fingerprint)
        if ladder is None:
            return
        try:
            cell.standing = stand(ladder, as_run(self._rows[fingerprint][1].cell, cell.steps, cell.losses))
        except UsageError:  # too few points yet, or finished cells of one other width alone
            cell.standing = None

    def _ladder(self, fingerprint: str) -> Ladder | None:
        """Of finished cells of the recipe at the same settings, climbed again when there are more."""
        key, row = self._rows[fingerprint]
        name = (key, row.recipe, json.dumps(row.axes, sort_keys=True))
        count, when, ladder = self._ladders.get(name, (0, 0.0, None))
        runs = list(self._runs(key, row))
        if len(runs) > count and time.monotonic() > when + _AGAIN:
            try:
                ladder = whole_ladder(runs)
            except UsageError:  # none that came to its end
                ladder = None
            self._ladders[name] = (len(runs), time.monotonic(), ladder)
        return ladder

    def _runs(self, key: str, row: PlannedRow) -> Iterator[Logged]:
        for other in self._plans[key].rows:
            if (other.recipe, other.axes) == (row.recipe, row.axes):
                run = self._finished.get(other.fingerprint) or self._curve(other)
                if run is not None:
                    yield run

    def _curve(self, row: PlannedRow) -> Logged | None:
        """A finished cell's curve from the store, thinned."""
        record = self._store.record(row.fingerprint)
        if record is None or record.status != "done":
            return None
        try:
            curve = pyarrow.parquet.read_table(self._store.verified(record, "curve.parquet"), columns=["loss"])
        except (CrossoverError, OSError):
            return None
        losses = np.asarray(curve["loss"].to_numpy(), float)
        steps, means = _thinned(losses)
        self._finished[row.fingerprint] = as_run(row.cell, steps, means)
        return self._finished[row.fingerprint]

    def _line(self, fingerprint: str, key: str, row: PlannedRow) -> Line:
        cell, record = self._followed.get(fingerprint), self._store.record(fingerprint)
        line = Line(key, row.recipe, row.cell.width, row.cell.seed, WAITING, 0.0)
        if cell is not None:
            line = _told(line, cell)
        if record is not None and (cell is None or cell.status):
            return replace(line, state=DIVERGED if record.status == "diverged" else DONE, progress=1.0)
        if cell is None:
            why = self._store.failure(fingerprint)
            return replace(line, state=FAILED if why else WAITING, note=why or "")
        return _state(line, cell)


def _told(line: Line, cell: Followed) -> Line:
    """With its loss, what was expected of it, and whether it left its course."""
    line = replace(line, progress=cell.step / cell.begun.steps, loss=_last(cell), note=_left_words(cell))
    if cell.standing is None or cell.standing.expected.ci is None:
        return line
    low, high = cell.standing.expected.ci
    return replace(line, expected=cell.standing.expected.value, low=low, high=high)


def _state(line: Line, cell: Followed) -> Line:
    """Of a cell that is not finished."""
    if cell.lost is not None:
        note = f"its loss is no number from step {cell.lost} of {cell.begun.steps} on"
        return replace(line, state=DIVERGED, note=note)
    if cell.status or not cell.heard or time.time() > cell.heard[-1][0] + _SILENT:
        return line
    left, speed = (cell.begun.steps - cell.step) * cell.begun.tokens_per_step, cell.speed()
    state = DEPARTED if cell.standing and cell.standing.left else TRAINING
    return replace(line, state=state, tokens_per_second=speed, seconds_left=left / speed if speed else None)


def as_run(cell: Cell, steps: Sequence[int], losses: Sequence[float]) -> Logged:
    """A cell's points so far as a run whose remaining points are planned."""
    done, size = np.asarray(steps, int), max(1, cell.steps // _POINTS)
    start = int(done[-1]) if len(done) else 0
    ahead = np.arange(start + size, cell.steps + 1, size)
    if not len(ahead) or ahead[-1] != cell.steps:
        ahead = np.append(ahead, cell.steps) if start < cell.steps else ahead
    ends = np.concatenate([done, ahead]).astype(int)
    loss = np.concatenate([np.asarray(losses, float), np.full(len(ahead), np.nan)])
    rates = np.asarray(learning_rates(cell), float)[ends - 1]
    return Logged(f"width {cell.width} seed {cell.seed}", float(count_parameters(cell).n_nonembedding),
                  ends * float(cell.batch * cell.seq_len), loss, rates)  # fmt: skip


def to_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Plain values."""
    return [asdict(line) for line in lines]


def _thinned(losses: "np.ndarray[Any, Any]") -> tuple[list[int], list[float]]:
    """Means of equal stretches, with the step at each one's end."""
    marks = np.unique(np.linspace(0, len(losses), min(_POINTS, len(losses)) + 1).round().astype(int))
    means = np.add.reduceat(losses, marks[:-1]) / np.diff(marks)
    return marks[1:].tolist(), means.tolist()


def _last(cell: Followed | None) -> float | None:
    """Mean of the last twentieth of what was told."""
    if cell is None or not cell.losses:
        return None
    recent = [loss for loss in cell.losses[-max(1, len(cell.losses) // 20) :] if isfinite(loss)]
    return sum(recent) / len(recent) if recent else None


def _left_words(cell: Followed | None) -> str:
    left: Left | None = cell.standing.left if cell and cell.standing else None
    if left is None:
        return ""
    where = "above" if left.height > 0 else "below"
    return f"left its course at {left.progress:.0%} of the run: {abs(left.height):.3g} nats {where} what was expected"
