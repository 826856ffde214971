"""Two recipes of known truth: is the right one chosen, and for what share of the cost of the whole ladder?"""

from dataclasses import dataclass

import numpy as np

from crossover.answers.advising.advise import advise
from crossover.answers.advising.choices import Candidates
from tests.calibration.__main__ import LADDERS, Ladder

TRUTHS: tuple[tuple[str, float | None, float, float], ...] = (
    # as in tests.calibration: name, meeting point as a share of the ladder, gap in nats, difference of exponents
    ("cross at the middle", 0.5, 0.0, 0.02),
    ("cross near the top", 0.8, 0.0, 0.02),
    ("cross, floors 0.05 apart", 0.5, 0.05, 0.02),
    ("cross above the top", 1.15, 0.0, 0.02),
    ("B worse by 0.05", None, 0.05, 0.0),
)
SHAPES = (LADDERS[0], LADDERS[1])
_STEPS = 12
_BATCHES = 6  # advice is asked again after every sixth of half the ladder


@dataclass(frozen=True)
class Decision:
    """What was chosen in one draw."""

    right: bool
    settled: bool
    """The advice was to stop, with money left."""
    share: float
    """Of the cost of the whole ladder, the first runs included."""


def decide(ladder: Ladder, truth: tuple[str, float | None, float, float], seed: int) -> Decision:
    """Start from one run of each recipe on the two smallest rungs; follow the advice up to half of the whole cost.

    The question is which recipe wins one decade above the ladder.
    """
    _, place, gap, lean = truth
    cross = None if place is None else place * ladder.decades
    x, loss, recipe, label = ladder.runs(np.random.default_rng(seed), cross, gap, lean)
    target = float(ladder.x[-1]) * 10
    known = np.flatnonzero((x <= ladder.x[1] * 1.01) & (label == 0))
    spent, limit = x[known].sum(), 0.5 * x.sum()
    for _ in range(_STEPS):
        rest = np.setdiff1d(np.arange(len(x)), known)
        advice = advise(
            {"x": x[known]}, loss[known], Candidates({"x": x[rest]}, x[rest], recipe[rest], label[rest]),
            [{"x": target}], max(limit - spent, 1.0), law="power_floor", recipe=recipe[known], pair=label[known],
        )  # fmt: skip
        if advice.stop:
            break
        part = limit / _BATCHES
        now = [step for i, step in enumerate(advice.steps) if i == 0 or step.cumulative_cost <= part]
        known = np.append(known, rest[[cell for step in now for cell in step.cells]])
        spent = x[known].sum()
    a, b = (float(losses[0]) for losses in ladder.truth(np.array([target]), cross, gap, lean))
    first = recipe[known][0]  # A of the advice is the recipe of the first row
    value = advice.now.value if first == "A" else -advice.now.value
    return Decision(bool((value > 0) == (b > a)), advice.stop and bool(advice.steps), float(spent / x.sum()))
