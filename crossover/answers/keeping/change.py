"""The verdict on a change, from what the runs of each size say and what is believed at the target; what to run next."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crossover.answers.keeping.evidence import together
from crossover.base.arrays import Floats
from crossover.runs.estimates import Estimate

if TYPE_CHECKING:
    from crossover.answers.comparison import Gap

KEEP, DISCARD, MORE = "keep", "discard", "run more"
SURE = 0.9
"""P of being better at the target, from which on a gain that runs show is kept."""
AT_TARGET = 10.0
"""E-value that runs at the target must reach by themselves, where it is a size that was run."""
SAME_X = 1e-6
_UNLIKELY = 0.05
_STEP = 4.0  # a size further, in x, where the runs have one size alone: twice the width


@dataclass(frozen=True)
class Asked:
    """What is asked of a change."""

    target: float | None = None
    worth: float | None = None
    """The least gain in loss that is worth keeping; where absent, one s.d. of the difference of two runs."""
    noise: float | None = None
    """S.d. of a run's loss, where it is known from elsewhere."""
    level: float = 0.05
    """Probability of a false keep, however often it is asked."""
    miss: float = 0.2
    """Probability at most that a change worth keeping is discarded, however often it is asked."""


@dataclass(frozen=True)
class AtSize:
    """What the runs of one size say."""

    x: float
    runs_a: int
    runs_b: int
    difference: Estimate | None
    """loss(B) - loss(A), with the t interval of all runs of this size; None where they do not tell the two apart."""
    sd: float | None
    """Of the difference of two runs; None where none is repeated."""
    dof: int
    evidence: float
    """E-value for a gain."""
    against: float
    """E-value against a gain that is worth keeping."""


@dataclass(frozen=True)
class NextRuns:
    """What to run next."""

    x: float
    recipes: list[str]
    pair: str | None
    cost: float


@dataclass(frozen=True)
class Tried:
    """Runs [n] of all recipes of the table."""

    x: Floats
    loss: Floats
    recipe: npt.NDArray[np.object_]
    pair: npt.NDArray[np.object_] | None
    cost: Floats
    size: npt.NDArray[np.int_]

    def on(self, chosen: npt.NDArray[np.bool_]) -> "Tried":
        """Some of them."""
        pair = None if self.pair is None else self.pair[chosen]
        return Tried(self.x[chosen], self.loss[chosen], self.recipe[chosen], pair, self.cost[chosen], self.size[chosen])

    def count(self, recipe: str) -> int:
        """How many are of a recipe."""
        return int((self.recipe == recipe).sum())


@dataclass(frozen=True)
class State:
    """All that a verdict rests on."""

    a: str
    b: str
    asked: Asked
    runs: Tried
    done: Tried
    sizes: list[AtSize]
    target: float
    gap: "Gap | None"

    @property
    def evidence(self) -> float:
        """E-value of all sizes."""
        return math.exp(together(np.log([item.evidence for item in self.sizes])))

    @property
    def common(self) -> list[AtSize]:
        """Sizes where the runs tell the two apart."""
        return [item for item in self.sizes if item.difference is not None]

    @property
    def worth(self) -> float | None:
        """The least gain that is worth keeping, at the largest size that tells of it."""
        return self.asked.worth or next((item.sd for item in reversed(self.common) if item.sd), None)

    def judge(self) -> tuple[str, str, NextRuns | None]:
        """Verdict, reason, and what to run where more is to be run."""
        lost = {name: self.runs.count(name) - self.done.count(name) for name in (self.a, self.b)}
        if lost[self.b] and not lost[self.a]:
            made = self.runs.count(self.b)
            return DISCARD, f"{lost[self.b]} of {made} runs of {self.b} diverged, and none of {self.a}", None
        if not self.common:
            first = next((item for item in self.sizes if item.runs_a and not item.runs_b), self.sizes[0])
            return MORE, "the two have no size in common whose runs could be compared", self.run_at(first.x)
        if not any(item.sd for item in self.common):
            why = "no repeated run came out otherwise, so nobody knows what chance does: the noise floor first"
            return MORE, why, self.repeat_at(self.common[0].x)
        return self._by_evidence(self.common[-1]) if self.gap is None else self._by_belief(self.gap)

    def _by_evidence(self, here: AtSize) -> tuple[str, str, NextRuns | None]:
        """With one size in common."""
        where = "" if here.x == self.target == 1 else f" at {here.x:.4g}"
        if self.evidence >= 1 / self.asked.level:
            shown = f"the runs show a gain{where}, {self._so_far()}"
            if abs(math.log(self.target / here.x)) < SAME_X:
                return KEEP, shown, None
            why = f"{shown}; whether it holds at {self.target:.4g} they cannot tell"
            return MORE, why, self.run_at(self._further(here.x))
        if here.against >= 1 / self.asked.miss:
            against = f"e-value {here.against:.3g} of {1 / self.asked.miss:.3g}"
            return DISCARD, f"a gain of {self.worth:.3g} is excluded{where}, {against}", None
        return MORE, f"undecided{where}, {self._so_far()}", self.run_at(here.x)

    def _by_belief(self, gap: "Gap") -> tuple[str, str, NextRuns | None]:
        """With two sizes in common or more."""
        p, shown = gap.p_b_beats_a, self.evidence >= 1 / self.asked.level
        chance = f"P({self.b} better at {self.target:.4g}) = {p:.3f}"
        if shown and p >= SURE:
            why = f"the runs show a gain, {self._so_far()}; {chance}"
            if untried := self._untried():
                return MORE, f"{why}; {self.a} was run at {untried:.4g} too", self.run_at(untried)
            top = self.common[-1]
            if abs(math.log(self.target / top.x)) < SAME_X and top.evidence < AT_TARGET:
                why += f"; the runs there alone give {top.evidence:.3g} of {AT_TARGET:g}"
                return MORE, why, self.run_at(top.x)
            return KEEP, why, None
        if shown and p < 0.5:
            return DISCARD, f"it holds at the small size only: the runs show a gain, and {chance}", None
        worth = self.worth or 0.0
        if (likely := gap.spread.below(-worth)) < _UNLIKELY:
            return DISCARD, f"P(a gain of {worth:.3g} or more at {self.target:.4g}) = {likely:.3f}; {chance}", None
        what = "the runs show a gain, but not that it holds" if shown else f"undecided, {self._so_far()}"
        place = gap.next_pair.x if p < SURE and gap.next_pair else self._telling()
        return MORE, f"{what}; {chance}", self.run_at(place)

    def _so_far(self) -> str:
        return f"e-value {self.evidence:.3g} of {1 / self.asked.level:.3g}"

    def _untried(self) -> float | None:
        """The next size up to the target that A was run at and B was not: it can be afforded."""
        top = self.common[-1].x
        sizes = (item.x for item in self.sizes if top < item.x <= self.target * (1 + SAME_X) and item.runs_a)
        return next(sizes, None)

    def _further(self, x: float) -> float:
        """The next size that A was run at, else one step on, no farther than the target."""
        larger = [item.x for item in self.sizes if item.x > x and item.runs_a]
        return larger[0] if larger else min(x * _STEP, self.target) if self.target > x else max(x / _STEP, self.target)

    def _telling(self) -> float:
        """The size where a pair adds most evidence for its cost."""

        def rate(item: AtSize) -> float:
            gain = max(-item.difference.value, 0.0) if item.difference and item.sd else 0.0
            return (gain / item.sd) ** 2 / self._cost(item.x) if item.sd else 0.0

        return max(reversed(self.common), key=rate).x

    def run_at(self, x: float) -> NextRuns:
        """The run at a size that completes a pair, or both of a new one."""
        here = self._at(x)
        made = {name: here.count(name) for name in (self.b, self.a)}
        if not any(made.values()):
            return self.repeat_at(x)
        if here.pair is None:
            return NextRuns(x, [min(made, key=lambda name: made[name])], None, self._cost(x))
        have = {name: set(here.pair[here.recipe == name].tolist()) for name in made}
        for name, other in ((self.b, self.a), (self.a, self.b)):
            if missing := have[other] - have[name]:
                return NextRuns(x, [name], min(missing, key=lambda text: (len(text), text)), self._cost(x))
        return self.repeat_at(x)

    def repeat_at(self, x: float) -> NextRuns:
        """Both recipes with a pair label that is new at a size."""
        here = self._at(x)
        labels = [] if here.pair is None else here.pair.tolist()
        numbers = [int(label) for label in labels if label.lstrip("-").isdigit()]
        new = str(max(numbers, default=-1) + 1) if self.runs.pair is not None and len(numbers) == len(labels) else None
        return NextRuns(x, [self.a, self.b], new, 2 * self._cost(x))

    def _at(self, x: float) -> Tried:
        return self.runs.on(np.abs(np.log(self.runs.x / x)) < SAME_X)

    def _cost(self, x: float) -> float:
        """Of a run at a size: the median there, or that of the nearest size in proportion to x."""
        off = np.abs(np.log(self.runs.x / x))
        near = off < off.min() + SAME_X
        return float(np.median(self.runs.cost[near] * (x / self.runs.x[near])))
