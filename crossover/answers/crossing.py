"""Where two recipes cross by what is believed of their difference, and the verdict over the measured range.

The belief (`crossover.belief.difference`) gives P(D < 0) at every x, of the difference itself without the misfit of a
single rung. A root is where that is a half; the confidence set of the crossover is {x : 0.05 < P(D < 0) < 0.95}. The
set may have no end on a side, or be two pieces, or everything; it is reported as it is.

A verdict speaks of the measured range only, from the rungs' joint distribution:

* `crosses`: at two rungs D has opposite signs, as measured, with probability 0.95 together; and where all such pairs
  need one rung, a crossing keeps a probability of 0.35 without it, because one badly tuned rung must not make one;
* `no crossing in range`: D has one sign at all rungs with probability 0.95 together;
* `undecided`: anything else.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from crossover.base.arrays import Floats
from crossover.belief.difference import Outlook

CROSSES, NO_CROSSING, UNDECIDED = "crosses", "no crossing in range", "undecided"
REACH = 1.5
"""Decades beyond the measured range within which a root is reported without being asked for."""
SURE = 0.95
_LIKELY = 0.35
_DECADE = math.log(10.0)
_OPEN = float(special.ndtri(SURE))
_GRID = 17
_ROUNDS = 4
_STRAIGHT = 0.3  # normal scores apart, between which a straight line will do
_PARTS = 10


@dataclass(frozen=True)
class Crossover:
    """A root of the believed difference with its confidence set."""

    value: float
    ci: tuple[float | None, float | None]
    """The piece of the set that holds the root; an end is None where there is none within 1.5 decades of the runs."""
    pieces: list[tuple[float | None, float | None]]
    """The whole set."""
    lever_arm_decades: float
    """How far outside the measured range the root lies, on either side; 0 within it."""


def judge(ahead: Outlook) -> str:
    """The verdict over the rungs."""
    opposed, verdict = _alone(ahead)
    if verdict != CROSSES:
        return verdict
    rungs, pairs = ahead.track.log_x, np.argwhere(opposed >= SURE)
    needed = set.intersection(*(set(pair) for pair in pairs.tolist()))  # without any other rung, a pair stays
    rest = [ahead.track.without(k) for k in needed]
    stays = all(part is not None and Outlook(part).opposed(rungs)[0].max() > _LIKELY for part in rest)
    return CROSSES if stays else UNDECIDED


def judge_alone(ahead: Outlook) -> str:
    """The verdict over the rungs, if each of them could be relied on."""
    return _alone(ahead)[1]


def _alone(ahead: Outlook) -> tuple[Floats, str]:
    """P(opposite signs) of rungs of which as much was measured [K, K], and the verdict by it."""
    measured = ahead.track.difference
    opposed, (behind, before) = ahead.opposed(ahead.track.log_x)
    as_measured: Floats = opposed * ((measured[:, None] > 0) & (measured < 0))
    if max(behind, before) >= SURE:
        return as_measured, NO_CROSSING
    return as_measured, CROSSES if as_measured.max() >= SURE else UNDECIDED


def without(ahead: Outlook) -> list[Outlook]:
    """What is believed without each of the rungs; nothing of two rungs."""
    rests = (ahead.track.without(k) for k in range(len(ahead.track.x)))
    return [Outlook(rest) for rest in rests if rest is not None]


@dataclass(frozen=True)
class Crossings:
    """Where along x either recipe is as likely ahead, and how far the one that leads is sure to."""

    roots: list[float]
    """Ascending, within reach of the runs."""
    nearest: Crossover | None
    """The root in the measured range, or else the nearest one, with its set."""
    sure_until: float | None
    """Up to which x beyond the runs the recipe that leads there stays ahead with P of 0.95; None where it does not
    lead so surely, or for all the reach."""


def find_crossings(ahead: Outlook, low: float, high: float) -> Crossings:
    """Within reach of a range of log x."""
    grid, score = _resolved(ahead, low - REACH * _DECADE, high + REACH * _DECADE)
    outside = np.abs(score) - _OPEN
    top = int(np.searchsorted(grid, high - 1e-9))
    leaves = _passed(grid[top:], outside[top:]) if outside[top] > 0 else np.empty(0)
    roots = _passed(grid, score)
    return Crossings(
        [math.exp(root) for root in roots],
        _nearest(roots, _pieces(grid, outside), low, high) if len(roots) else None,
        math.exp(leaves[0]) if len(leaves) else None,
    )


def _nearest(roots: Floats, pieces: list[tuple[float | None, float | None]], low: float, high: float) -> Crossover:
    beyond = [float(max(0.0, low - root, root - high)) / _DECADE for root in roots]
    best = int(np.argmin(beyond))
    value = math.exp(roots[best])
    inside = [piece for piece in pieces if (piece[0] or 0) <= value <= (piece[1] or math.inf)]
    return Crossover(value, (inside or [(value, value)])[0], pieces, beyond[best])


def _resolved(ahead: Outlook, low: float, high: float) -> tuple[Floats, Floats]:
    """Places in log x, and normal scores of P(D < 0) there, dense where the score passes zero or an end of the set."""
    rungs = ahead.track.log_x
    grid = np.unique(np.concatenate([np.linspace(low, high, _GRID), rungs]))
    score = special.ndtri(np.clip(ahead.lead(grid), 1e-12, 1 - 1e-12))
    for _ in range(_ROUNDS):
        passed = np.diff(np.digitize(score, [-_OPEN, 0.0, _OPEN])) != 0
        first = np.flatnonzero(passed & (np.abs(np.diff(score)) > _STRAIGHT))
        if not len(first):
            break
        parts = np.arange(1, _PARTS) / _PARTS
        new = (grid[first, None] + np.diff(grid)[first, None] * parts).ravel()
        more = special.ndtri(np.clip(ahead.lead(new), 1e-12, 1 - 1e-12))
        order = np.argsort(np.concatenate([grid, new]))
        grid, score = np.concatenate([grid, new])[order], np.concatenate([score, more])[order]
    return grid, score


def _passed(grid: Floats, values: Floats) -> Floats:
    """Where values on a grid pass zero, by straight lines between them."""
    positive = values > 0
    first = np.flatnonzero(positive[1:] != positive[:-1])
    share = values[first] / (values[first] - values[first + 1])
    places: Floats = grid[first] + share * (grid[first + 1] - grid[first])
    return places


def _pieces(grid: Floats, outside: Floats) -> list[tuple[float | None, float | None]]:
    """Where `outside` is below zero, as ascending pieces of x; an end beyond reach is None."""
    ends: list[float | None] = [None] if outside[0] <= 0 else []
    ends += [math.exp(edge) for edge in _passed(grid, outside)]
    ends += [None] if outside[-1] <= 0 else []
    return list(zip(ends[::2], ends[1::2], strict=True))
