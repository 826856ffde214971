"""The verdict on a change, from what the runs of each size say and what is believed at the target; what to run next."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crossover.answers.keeping.evidence import together
from crossover.base.arrays import Floats
from crossover.base.numerals import chance, short
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
_WHOLE = re.compile(r"-?[0-9]+")
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
    lost_a: int = 0
    lost_b: int = 0
    """Runs that diverged."""
    same: bool = False
    """Whether the two are one run, pair by pair the same loss to every digit."""


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
        if why := self._diverged():
            return DISCARD, why, None
        if not self.common:
            return self._incomparable()
        if not any(item.sd for item in self.common):
            why = "no run was repeated so that chance shows, and came out otherwise: the noise floor first"
            return MORE, why, self.run_at(self.common[0].x)
        return self._by_evidence(self.common[-1]) if self.gap is None else self._by_belief(self.gap)

    def _diverged(self) -> str:
        """In words, where B diverges and A does not, or less often: by Fisher's exact test, or half of B's or more."""
        stable = not any(item.lost_a for item in self.sizes)
        for item in self.sizes:
            made_a, made_b = item.runs_a + item.lost_a, item.runs_b + item.lost_b
            rarer = not item.lost_a and (item.runs_a or stable)
            often = 2 * item.lost_b >= made_b and item.lost_b * made_a > item.lost_a * made_b
            if item.lost_b and (rarer or often or _tail(item.lost_b, made_b, item.lost_a, made_a) < _UNLIKELY):
                of_a = f"{item.lost_a} of {made_a}" if item.lost_a else "none"
                return (
                    f"{item.lost_b} of {made_b} runs of {self.b} diverged at {short(item.x, 4)}, and {of_a} of {self.a}"
                )
        return ""

    def _incomparable(self) -> tuple[str, str, NextRuns | None]:
        """Where no size tells the two apart."""
        both = [item for item in self.sizes if item.runs_a and item.runs_b]
        if both and all(item.same for item in both):
            why = "the two are one run wherever both were run: the same losses to every digit"
            if elsewhere := [item.x for item in self.sizes if item.runs_a and not item.runs_b]:
                return MORE, f"{why}; {self.a} was run at other sizes", self.run_at(elsewhere[0])
            return DISCARD, why, None
        if both:
            why = f"their runs at {short(both[0].x, 4)} share no pair label, so recipes and seeds cannot be told apart"
            return MORE, why, self.run_at(both[0].x)
        first = next((item for item in self.sizes if item.runs_a and not item.runs_b), self.sizes[0])
        return MORE, "the two have no size in common yet", self.run_at(first.x)

    def _by_evidence(self, here: AtSize) -> tuple[str, str, NextRuns | None]:
        """With one size in common."""
        where = "" if here.x == self.target == 1 else f" at {short(here.x, 4)}"
        if self.evidence >= 1 / self.asked.level and not (self.asked.worth and here.against >= 1 / self.asked.miss):
            shown = f"the runs show a gain{where}, {self._so_far()}"
            if abs(math.log(self.target / here.x)) < SAME_X:
                return KEEP, shown, None
            why = f"{shown}; whether it holds at {short(self.target, 4)} they cannot tell"
            return MORE, why, self.run_at(self._further(here.x))
        if here.against >= 1 / self.asked.miss:
            against = f"e-value {short(here.against)} of {short(1 / self.asked.miss)}"
            return DISCARD, f"a gain of {short(self.worth or 0.0)} is excluded{where}, {against}", None
        return MORE, f"undecided{where}, {self._so_far()}", self.run_at(here.x)

    def _by_belief(self, gap: "Gap") -> tuple[str, str, NextRuns | None]:
        """With two sizes in common or more."""
        p, shown = gap.p_b_beats_a, self.evidence >= 1 / self.asked.level
        sure = f"P({self.b} better at {short(self.target, 4)}) {chance(p)}"
        worth = self.worth or 0.0
        likely = gap.spread.below(-worth)
        if shown and p >= SURE and not (self.asked.worth and likely < _UNLIKELY):
            why = f"the runs show a gain, {self._so_far()}; {sure}"
            if untried := self._untried():
                return MORE, f"{why}; {self.a} was run at {short(untried, 4)} too", self.run_at(untried)
            top = self.common[-1]
            if abs(math.log(self.target / top.x)) < SAME_X and top.evidence < AT_TARGET:
                why += f"; the runs there alone give {short(top.evidence)} of {AT_TARGET:g}"
                return MORE, why, self.run_at(top.x)
            return KEEP, why, None
        if shown and p < 0.5:
            return DISCARD, f"it holds at the small size only: the runs show a gain, and {sure}", None
        if likely < _UNLIKELY:
            return (
                DISCARD,
                f"P(a gain of {short(worth)} or more at {short(self.target, 4)}) = {likely:.3f}; {sure}",
                None,
            )
        what = "the runs show a gain, but not that it holds" if shown else f"undecided, {self._so_far()}"
        place = gap.next_pair.x if p < SURE and gap.next_pair else self._telling()
        return MORE, f"{what}; {sure}", self.run_at(place)

    def _so_far(self) -> str:
        return f"e-value {short(self.evidence)} of {short(1 / self.asked.level)}"

    def _untried(self) -> float | None:
        """The next size on the way to the target that A was run at and B was not: it can be afforded."""
        low, high = self.common[0].x, self.target * (1 + SAME_X)
        return next((item.x for item in self.sizes if low < item.x <= high and item.runs_a and not item.runs_b), None)

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
            return NextRuns(_plain(x), [min(made, key=lambda name: made[name])], None, self._cost(x))
        have = {name: set(here.pair[here.recipe == name].tolist()) for name in made}
        for name, other in ((self.b, self.a), (self.a, self.b)):
            if missing := have[other] - have[name]:
                return NextRuns(_plain(x), [name], min(missing, key=lambda text: (len(text), text)), self._cost(x))
        return self.repeat_at(x)

    def repeat_at(self, x: float) -> NextRuns:
        """Both recipes with a pair label that is new at a size."""
        here = self._at(x)
        labels = [] if here.pair is None else here.pair.tolist()
        numbers = [int(label) for label in labels if _WHOLE.fullmatch(label)]
        new = str(max(numbers, default=-1) + 1) if self.runs.pair is not None and len(numbers) == len(labels) else None
        return NextRuns(_plain(x), [self.a, self.b], new, 2 * self._cost(x))

    def _at(self, x: float) -> Tried:
        return self.runs.on(np.abs(np.log(self.runs.x / x)) < SAME_X)

    def _cost(self, x: float) -> float:
        """Of a run at a size: the median there, or that of the nearest size in proportion to x."""
        off = np.abs(np.log(self.runs.x / x))
        near = off < off.min() + SAME_X
        return _plain(float(np.median(self.runs.cost[near] * (x / self.runs.x[near]))))


def _plain(value: float) -> float:
    """Without what rounding leaves."""
    return float(f"{value:.12g}")


def _tail(of_b: int, made_b: int, of_a: int, made_a: int) -> float:
    """P(so many of B's runs or more are among those lost, if B's are lost as often as A's): hypergeometric."""
    lost, made = of_a + of_b, made_a + made_b
    ways = sum(math.comb(made_b, k) * math.comb(made_a, lost - k) for k in range(of_b, min(made_b, lost) + 1))
    return ways / math.comb(made, lost)
