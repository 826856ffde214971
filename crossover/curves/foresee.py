"""The whole loss curve of a large run from the curves of smaller ones, with a band, and when it left its course.

    foresee([Logged("a", 1e7, tokens, loss, lr), ...], Logged("large", 1e9, tokens, loss_so_far, lr))

Sizes, lengths and schedules may all differ. The forecast is that of `crossover.curves.process`; what it claims is
checked on curves held back (docs/foresee.md).
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.numerals import short
from crossover.curves.course import Course, make_course
from crossover.curves.departure import find_departure
from crossover.curves.process import Forecast, Ladder, climb
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from crossover.plots.house import Figure

BLOCKS = 100
"""Of the run that is watched: a departure is looked for after each."""
_LADDER_BLOCKS = 30
_COARSE_BLOCKS = 20
_MOST_RUNS = 30
_NEEDS = "a ladder needs finished runs of two sizes or more, or of the run's own size"
_FAR = 8.0
_NEARLY = 0.9
_FEW = 20
_WIDER = 1.4
"""By which the spread of a run's end is widened once part of it has come: how a falling rate pays late in a run is what
ladders tell worst, and so wide an interval held 90% of 147 of our own runs (docs/foresee.md)."""
_HALF = float(special.ndtri(0.5 + CONFIDENCE / 2))


@dataclass(frozen=True)
class Logged:
    """A run's logged points: p tokens (or steps) ascending, losses (nan where not yet), learning rates or None."""

    name: str
    n: float
    """Its size."""
    x: Floats
    loss: Floats
    lr: Floats | None = None


@dataclass(frozen=True)
class CurvePoint:
    """The loss of a block as the ladder alone foresees it, with its 90% band, and as it came."""

    x: float
    expected: float
    low: float
    high: float
    measured: float | None


@dataclass(frozen=True)
class Left:
    """Where a run left its course."""

    at: float
    """Where it was noticed, in tokens or steps."""
    since: float
    """Where it began, as the losses say."""
    progress: float
    """Share of the run that was done when it was noticed."""
    height: float
    """How far above what was foreseen, in the unit of the loss; below zero where it is better."""
    match: float
    """In standard deviations."""


@dataclass(frozen=True)
class Foresight(Answer):
    """A run's curve as it should be, and as it is."""

    n: float
    total: float
    """Tokens (or steps) at its end."""
    so_far: float
    """Share of the run that has come."""
    end: Estimate
    """Loss at the end (the last block's mean) by the ladder alone."""
    now: Estimate | None
    """The same with what the run has done so far; None before it began."""
    inside: float | None
    """Share of its blocks so far within the band."""
    left: Left | None
    sizes: list[float]
    """Of the ladder."""
    runs: int
    names: tuple[str, str]
    """What x and the loss are called."""
    points: list[CurvePoint] = field(repr=False)
    flags: list[str] = field(default_factory=list)

    def said(self) -> Iterator[Block]:
        """Where it should end, whether it is on its course, and the curve."""
        from crossover.curves.words import foresight_said

        return foresight_said(self)

    def draw(self) -> "Figure":
        """The band and the curve."""
        from crossover.plots.courses import draw_foresight

        return draw_foresight(self)


def foresee(ladder: Sequence[Logged], run: Logged, names: tuple[str, str] = ("tokens", "loss")) -> Foresight:
    """The forecast of a run's curve from finished runs, and whether it keeps to it.

    Args:
        ladder: finished runs, of two sizes or of the run's own; several seeds, lengths and schedules are welcome.
        run: the run; losses that have not come are nan, and its last x is where it ends by plan.
        names: what x and the loss are called.

    Raises:
        UsageError: for a ladder of one other size, or a run that cannot be read as a curve.
    """
    course = make_course(run.name, run.n, run.x, run.loss, run.lr, BLOCKS)
    whole = [item for item in ladder if _is_whole(item)]
    chosen = _thinned(whole)
    forecast = _forecast(ladder_of(chosen), course)
    seen, known = course.seen(), forecast.only(course.come)
    inside = np.abs(seen.loss - known.mean) <= _HALF * known.sd
    return Foresight(
        n=run.n,
        total=course.total,
        so_far=float(seen.end[-1] / course.total) if len(seen.loss) else 0.0,
        end=_last(forecast),
        now=_now(course, forecast) if len(seen.loss) else None,
        inside=float(inside.mean()) if len(seen.loss) else None,
        left=_left(seen, known, run),
        sizes=sorted({item.n for item in chosen}),
        runs=len(chosen),
        names=names,
        points=_points(course, forecast),
        flags=_flags((len(ladder), len(whole)), chosen, run),
    )


def _left(seen: Course, known: Forecast, run: Logged) -> Left | None:
    """The first step away from the course, or where the loss became infinite."""
    found = find_departure(known, seen.loss)
    if found is not None:
        at = float(seen.end[found.block])
        since = float(seen.end[found.since - 1]) if found.since else 0.0
        return Left(at, since, at / seen.total, found.height, found.match)
    lost = np.flatnonzero(np.isinf(run.loss))
    if not len(lost):
        return None
    at = float(run.x[lost[0]])
    return Left(at, at, at / seen.total, math.inf, math.inf)


def ladder_of(runs: Sequence[Logged]) -> Ladder:
    """What finished runs say of curves. Raises `UsageError` where there is none."""
    if not runs:
        raise UsageError(_NEEDS)
    fine, coarse = (
        [make_course(item.name, item.n, item.x, item.loss, item.lr, blocks).seen() for item in runs]
        for blocks in (_LADDER_BLOCKS, _COARSE_BLOCKS)
    )
    return climb(fine, coarse)


def _forecast(ladder: Ladder, course: Course) -> Forecast:
    if not ladder.reaches(course.log_n):
        raise UsageError(_NEEDS)
    return ladder.forecast(course)


def _is_whole(run: Logged) -> bool:
    """Whether a run came to its end, and has losses in nearly all of it."""
    if np.isinf(run.loss).any():
        return False
    come = make_course(run.name, run.n, run.x, run.loss, run.lr, _COARSE_BLOCKS).come
    return bool(come[-1]) and float(come.mean()) >= _NEARLY


def _thinned(whole: Sequence[Logged]) -> list[Logged]:
    """At most `_MOST_RUNS` runs, sizes alike; of many sizes the largest."""
    sizes = sorted({item.n for item in whole}, reverse=True)[:_MOST_RUNS]
    each = _MOST_RUNS // max(len(sizes), 1)
    taken, chosen = Counter[float](), list[Logged]()
    for item in whole:
        if item.n in sizes and taken[item.n] < each:
            taken[item.n] += 1
            chosen.append(item)
    return chosen


def _last(forecast: Forecast, wider: float = 1.0) -> Estimate:
    value, sd = float(forecast.mean[-1]), wider * float(forecast.sd[-1])
    return Estimate(value, sd, (value - _HALF * sd, value + _HALF * sd))


def _now(course: Course, forecast: Forecast) -> Estimate:
    """At the end, given what has come; where all has come it is what came."""
    come = course.come
    if come[-1]:
        return Estimate(float(course.loss[-1]))
    order = np.concatenate([np.flatnonzero(come), np.flatnonzero(~come)])
    sorted_ = Forecast(forecast.mean[order], forecast.cov[np.ix_(order, order)])
    return _last(sorted_.after(course.loss[come]), _WIDER)


def _points(course: Course, forecast: Forecast) -> list[CurvePoint]:
    return [
        CurvePoint(float(x), float(m), float(m - _HALF * s), float(m + _HALF * s), None if np.isnan(y) else float(y))
        for x, m, s, y in zip(course.x, forecast.mean, forecast.sd, course.loss, strict=True)
    ]


def _flags(counts: tuple[int, int], chosen: Sequence[Logged], run: Logged) -> list[str]:
    """Of a ladder of so many runs, so many of them whole."""
    flags, (runs, whole) = [], counts
    if whole < runs:
        flags.append(f"{runs - whole} run(s) of the ladder diverged or lack losses, and are left out")
    if len(chosen) < whole:
        flags.append(f"{len(chosen)} of {whole} runs of the ladder are used, of every size as many")
    largest, longest = max(item.n for item in chosen), max(float(item.x[-1]) for item in chosen)
    if run.n > _FAR * largest:
        flags.append(f"the run is {short(run.n / largest)} times the largest of the ladder: the band may be too narrow")
    if run.x[-1] > _FAR * longest:
        flags.append(f"the run is {short(run.x[-1] / longest)} times as long as the longest of the ladder")
    points = np.median([np.isfinite(item.loss).sum() for item in chosen])
    if points < _FEW:
        flags.append(f"runs of the ladder have {points:.0f} losses each: alarms of so few may be false")
    if np.isfinite(run.loss[-1]):
        flags.append("its table has no plan beyond its last loss, so it is taken to end there")
    if all(item.lr is None for item in (*chosen, run)):
        flags.append("no learning rate was given: rates are taken as constant")
    return flags


@dataclass(frozen=True)
class Standing:
    """A run so far, beside what its ladder alone foresaw of it."""

    measured: float
    """Its last block."""
    expected: Estimate
    """The same block as foreseen, with a 90% band."""
    left: Left | None


def whole_ladder(runs: Sequence[Logged]) -> Ladder:
    """What those of finished runs say that came to their end. Raises `UsageError` where none did."""
    return ladder_of(_thinned([item for item in runs if _is_whole(item)]))


def stand(ladder: Ladder, run: Logged) -> Standing | None:
    """Where a run that goes on stands: a ladder is climbed once, this is asked as often as one looks.

    None before its first block has come. Raises `UsageError` for a run that cannot be read as a curve, or of whose size
    the ladder knows nothing.
    """
    course = make_course(run.name, run.n, run.x, run.loss, run.lr, BLOCKS)
    seen = course.seen()
    if not len(seen.loss):
        return None
    known = _forecast(ladder, course).only(course.come)
    value, half = float(known.mean[-1]), _HALF * float(known.sd[-1])
    expected = Estimate(value, float(known.sd[-1]), (value - half, value + half))
    return Standing(float(seen.loss[-1]), expected, _left(seen, known, run))
