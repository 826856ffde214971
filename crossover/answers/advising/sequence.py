"""A sequence of cells under a budget, chosen greedily by what each is expected to tell about the answer at the target.

What the runs say is taken as jointly normal with the moments of a belief, so that a cell's result changes them by a
rank-1 update and its worth is known before it is run. Greedy choice by gain per cost spends a small budget well, and
greedy choice by gain alone a large one; neither is best throughout, so the sequence is planned with several powers of
the cost and the one that is expected to know most when the budget is spent is kept (as CELF does with two: Leskovec et
al. 2007).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats

Ints = npt.NDArray[np.int_]
Worth = Callable[[Floats], Floats]
"""From reductions [J] of the answer's variance, what each is worth."""

_POWERS = (1.0, 0.75, 0.5, 0.25, 0.0)
_EQUAL = 1e-6
_LEAST = 1e-9  # share of the variance that a further cell must remove


@dataclass(frozen=True)
class Cells:
    """n cells to choose from. Indices are of the P quantities (losses without noise) whose covariance is known.

    A pair are two cells that share a part of their noise: once one is run, or has been, the other's result is worth its
    loss less `lean` times its partner's, with noise smaller by 1 - lean^2.
    """

    place: Ints
    """Which quantity a cell measures, [n]."""
    noise: Floats
    """Variance of its noise, [n]."""
    cost: Floats
    """In the budget's unit, [n]."""
    partner: Ints
    """The other cell of a pair, or -1, [n]."""
    known: Ints
    """Which quantity a partner measured that has been run already, or -1, [n]."""
    lean: float = 0.0


@dataclass(frozen=True)
class Chosen:
    """One step: its cells (two where a pair is run at once), their cost, and the variance of the answer after it."""

    cells: tuple[int, ...]
    cost: float
    variance: float


def plan(cov: Floats, answer: Floats, cells: Cells, budget: float, worth: Worth, limit: int) -> list[Chosen]:
    """The best sequence of at most `limit` steps within `budget`.

    `cov` [P, P] is of the quantities that cells measure and that `answer` [P, T] combines to T answers, whose variances
    are summed. Of sequences that end alike, the one that begins with cheap cells.
    """
    plans = [_Greedy(cov, answer, cells, budget, worth).run(limit, power) for power in _POWERS]
    start = float(np.einsum("pt,pq,qt->", answer, cov, answer))
    left = [steps[-1].variance if steps else start for steps in plans]
    return next(steps for steps, end in zip(plans, left, strict=True) if end <= min(left) * (1 + _EQUAL))


class _Greedy:
    """One sequence in the making: the covariance so far and what each cell left would add."""

    def __init__(self, cov: Floats, answer: Floats, cells: Cells, budget: float, worth: Worth) -> None:
        self.cells, self.worth, self.left = cells, worth, budget
        self.cov, self.told = cov.copy(), cov @ answer
        self.now = float((answer * self.told).sum())
        self.answer = answer
        self.known = cells.known.copy()
        self.open = np.ones(len(cells.cost), bool)

    def run(self, limit: int, power: float) -> list[Chosen]:
        steps: list[Chosen] = []
        pairs = np.flatnonzero((self.cells.partner > np.arange(len(self.cells.cost))) & (self.cells.lean > 0))
        while len(steps) < limit:
            single = np.flatnonzero(self.open & (self.cells.cost <= self.left * (1 + 1e-9)))
            pairs = pairs[self.open[pairs] & self.open[self.cells.partner[pairs]]]
            price = self.cells.cost[pairs] + self.cells.cost[self.cells.partner[pairs]]
            both = pairs[price <= self.left * (1 + 1e-9)]
            if not len(single):
                break
            removed = np.concatenate([self._single(single), self._both(both)])
            cost = np.concatenate([self.cells.cost[single], price[price <= self.left * (1 + 1e-9)]])
            if removed.max() <= _LEAST * self.now:
                break
            rate = self.worth(removed) / cost**power
            equal = np.flatnonzero(rate >= rate.max() * (1 - _EQUAL))  # of cells that tell the same, the cheapest
            best = int(equal[cost[equal].argmin()])
            first = int(np.concatenate([single, both])[best])
            chosen = (first,) if best < len(single) else (first, int(self.cells.partner[first]))
            for cell in chosen:
                self._take(cell)
            self.left -= float(cost[best])
            steps.append(Chosen(chosen, float(cost[best]), self.now))
        return steps

    def _look(self, cells: Ints, known: Ints) -> tuple[Floats, Floats, Floats]:
        """Covariance of what cells measure with all quantities [n, P], with the answers [n, T], and its variance [n].

        The variance includes noise.
        """
        place = self.cells.place[cells]
        lean = np.where(known >= 0, self.cells.lean, 0.0)[:, None]
        seen, told = self.cov[place], self.told[place]
        if lean.any():
            seen, told = seen - lean * self.cov[known], told - lean * self.told[known]
        at = np.arange(len(cells))
        spread = seen[at, place] - lean[:, 0] * seen[at, known]
        return seen, told, spread + self.cells.noise[cells] * (1 - lean[:, 0] ** 2)

    def _single(self, cells: Ints) -> Floats:
        _, told, spread = self._look(cells, self.known[cells])
        removed: Floats = (told**2).sum(1) / spread
        return removed

    def _both(self, first: Ints) -> Floats:
        second = self.cells.partner[first]
        seen, told, spread = self._look(first, self.known[first])
        _, also, rest = self._look(second, self.cells.place[first])
        at = np.arange(len(first))
        place, lean = self.cells.place, self.cells.lean
        across = seen[at, place[second]] - lean * seen[at, place[first]]
        also = also - (across / spread)[:, None] * told
        removed: Floats = (told**2).sum(1) / spread + (also**2).sum(1) / (rest - across**2 / spread)
        return removed

    def _take(self, cell: int) -> None:
        seen, told, spread = self._look(np.array([cell]), self.known[[cell]])
        self.cov -= seen.T * seen / spread
        self.told -= seen.T * told / spread
        self.now = float((self.answer * self.told).sum())
        self.open[cell] = False
        partner = self.cells.partner[cell]
        if partner >= 0:
            self.known[partner] = self.cells.place[cell]
