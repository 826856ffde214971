"""Where a fitted difference is zero, and how sure that is.

A difference is D(x) = loss_B - loss_A with a standard error at every x, so B is better where D < 0. Its confidence set
of roots is {x : |D(x)| <= t se(x)}: Fieller's set (1954) where D is proportional to a line, and the same inversion of a
test elsewhere. The set may have no end on a side, or be two pieces, or everything; it is reported as it is.

A verdict speaks of the measured range only:

* `crosses`: D is certainly positive somewhere in the range and certainly negative elsewhere, by a band that holds for
  all x at once (Working and Hotelling 1929); the measured sign changes too; and at least three degrees of freedom carry
  the band, where four single runs leave two;
* `no crossing in range`: the pointwise band excludes zero, on one side, all along the range;
* `undecided`: anything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from crossover.base.arrays import Floats
from crossover.runs.estimates import CONFIDENCE

CROSSES, NO_CROSSING, UNDECIDED = "crosses", "no crossing in range", "undecided"
REACH = 1.5
"""Decades beyond the measured range within which a root or a gap is reported without being asked for."""
_DECADE = np.log(10.0)
_LEAST_DOF = 3
_UPPER = 0.5 + CONFIDENCE / 2


@dataclass(frozen=True)
class Difference:
    """D along log x over a measured range. `at` returns D, its standard error and degrees of freedom, [m] each."""

    at: Callable[[Floats], tuple[Floats, Floats, Floats]]
    low: float
    high: float
    """Ends of the measured range in log x."""
    factor: Callable[[float], tuple[float, float, float] | None] = lambda _: None
    """At log x: log of the factor of x that takes A to B's loss, its error and dof; None where none does."""
    slopes: Callable[[float], tuple[float, float] | None] = lambda _: None
    """At log x: dL / dlog x of A and of B, each by its own law; None where they are not known."""
    parameters: int = 2
    """Of the curve, for the band that holds everywhere."""

    def band(self, log_x: Floats, everywhere: bool = False) -> tuple[Floats, Floats, Floats]:
        """D and the ends of its interval: pointwise, or for all x at once."""
        value, error, dof = self.at(log_x)
        count = self.parameters
        factor = np.sqrt(count * special.fdtri(count, dof, CONFIDENCE)) if everywhere else special.stdtrit(dof, _UPPER)
        return value, value - factor * error, value + factor * error

    def probability_b_better(self, log_x: Floats) -> Floats:
        """P(D < 0) by the t distribution of the estimate, [m]."""
        value, error, dof = self.at(log_x)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.where(error > 0, -value / error, np.where(value == 0, 0.0, -np.sign(value) * np.inf))
        known: Floats = special.stdtr(dof, score)
        return known


@dataclass(frozen=True)
class Crossover:
    """A root of the fitted difference with its confidence set."""

    value: float
    ci: tuple[float | None, float | None]
    """The piece of the set that holds the root; an end is None where there is none within 1.5 decades of the runs."""
    pieces: list[tuple[float | None, float | None]]
    """The whole set."""
    lever_arm_decades: float
    """How far outside the measured range the root lies, on either side; 0 within it."""


def judge(difference: Difference, measured_signs: Floats) -> str:
    """The verdict over the measured range. `measured_signs` are those of the rungs' own differences."""
    grid = np.linspace(difference.low, difference.high, 65)
    _, low, high = difference.band(grid)
    if not np.isfinite(low).all():
        return UNDECIDED
    if (low > 0).all() or (high < 0).all():
        return NO_CROSSING
    changes = (measured_signs > 0).any() and (measured_signs < 0).any()
    _, low, high = difference.band(grid, everywhere=True)
    certain = (low > 0).any() and (high < 0).any()
    return CROSSES if changes and certain and difference.at(grid[:1])[2][0] >= _LEAST_DOF else UNDECIDED


def roots(difference: Difference, reach: float = REACH) -> list[float]:
    """Every x within `reach` decades of the range at which D is zero, ascending."""
    grid = np.linspace(difference.low - reach * _DECADE, difference.high + reach * _DECADE, 400)
    return [float(np.exp(place)) for place in _sign_changes(lambda u: difference.at(u)[0], grid)]


def crossover(difference: Difference, found: list[float]) -> Crossover | None:
    """The root in the range, or else the nearest to it, with its confidence set; None without roots."""
    if not found:
        return None
    beyond = [max(0.0, difference.low - np.log(x), np.log(x) - difference.high) / _DECADE for x in found]
    best = int(np.argmin(beyond))
    pieces = root_set(difference, found)
    inside = [
        piece for piece in pieces if (piece[0] or 0) <= found[best] * (1 + 1e-9) and _below(found[best], piece[1])
    ]
    if not inside:  # a difference without error: its set is its roots
        inside = [(found[best], found[best])]
        pieces = sorted([*pieces, *inside], key=lambda piece: piece[0] or 0.0)
    return Crossover(found[best], inside[0], pieces, float(beyond[best]))


def _below(x: float, end: float | None) -> bool:
    return end is None or x <= end * (1 + 1e-9)


def root_set(difference: Difference, found: Sequence[float] = ()) -> list[tuple[float | None, float | None]]:
    """{x : |D(x)| <= t se(x)} within reach, as ascending pieces; an end beyond it is None.

    The roots are places of the search, so that a set narrower than its grid is not missed.
    """

    def excess(log_x: Floats) -> Floats:
        value, low, high = difference.band(log_x)
        return np.abs(value) - (high - low) / 2

    grid = np.linspace(difference.low - REACH * _DECADE, difference.high + REACH * _DECADE, 400)
    grid = np.unique(np.concatenate([grid, np.log(found)])) if len(found) else grid
    values = excess(grid)
    if not np.isfinite(values).all():
        return [(None, None)]
    edges = [float(np.exp(edge)) for edge in _sign_changes(excess, grid)]
    ends: list[float | None] = [None] if values[0] <= 0 else []
    ends += edges
    ends += [None] if values[-1] <= 0 else []
    return list(zip(ends[::2], ends[1::2], strict=True))


def _sign_changes(function: Callable[[Floats], Floats], grid: Floats) -> Floats:
    """Places on the grid's intervals where the function changes sign, all narrowed together."""
    values = function(grid)
    positive = values > 0
    first = np.flatnonzero((positive[1:] != positive[:-1]) & np.isfinite(values[1:]) & np.isfinite(values[:-1]))
    low, high = grid[first], grid[first + 1]
    part = np.linspace(0, 1, 17)[:, None]
    for _ in range(12 if len(first) else 0):  # each step narrows every interval to a sixteenth
        places = low + (high - low) * part
        signs = function(places.ravel()).reshape(places.shape) > 0
        turn = np.argmax(signs != positive[first], axis=0)
        low, high = np.take_along_axis(places, np.array([turn - 1, turn]), 0)
    return 0.5 * (low + high)
