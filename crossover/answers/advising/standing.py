"""Where an answer at a target stands by the laws that the runs leave open: one recipe's loss, or which of two wins.

`advise` starts from it, `fit` and `predict` ask it of one recipe, and `predict` of two along N and D. Along one x the
difference of two recipes is asked of `crossover.belief.difference` instead, by `compare`, and by `predict` and `advise`
through it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.answers.advising.choices import MOST, order_runs, read_finished
from crossover.answers.decision import knowledge_gradient
from crossover.base.arrays import Floats
from crossover.belief.posterior import Belief, Rows, believe
from crossover.laws.law import Law
from crossover.runs.estimates import CONFIDENCE
from crossover.runs.table import LeftOut

ADVISED = ("power", "power_floor", "chinchilla", "chinchilla_shared")
"""Laws whose shape are exponents alone, so that a belief can hold all of them."""


@dataclass(frozen=True)
class Standing:
    """The answer at the target as it stands. Losses are in the unit of the runs'."""

    value: float
    """Loss at the target (mean over targets), or of two recipes loss(B) - loss(A)."""
    sd: float
    """Its standard deviation (root mean square over targets)."""
    b_wins: float | None = None
    """P(B has the lower loss), without the noise of single runs."""
    regret: float | None = None
    """Loss that one expects to lose by choosing the likelier winner now."""


@dataclass(frozen=True)
class Known:
    """The runs of one recipe or two, in the order of the belief, and what is believed after them."""

    belief: Belief
    rows: Rows
    label: npt.NDArray[np.object_]
    """Pair labels of the rows."""
    names: list[str]
    """Of the recipes; one empty text where there is a single one without a name."""
    left_out: list[LeftOut]

    def at(self, goal: Floats) -> Standing:
        """The answer at log targets [inputs, T]; of two recipes T is 1."""
        recipes, count = self.belief.model.recipes, goal.shape[1]
        mean, cov = self.belief.at(np.tile(goal, (1, recipes)), np.repeat(np.arange(recipes), count))
        if recipes == 1:
            return Standing(float(mean.mean()), math.sqrt(float(np.diag(cov).mean())))
        value, sd = float(mean[1] - mean[0]), math.sqrt(max(float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]), 1e-300))
        regret = float(knowledge_gradient(value, np.array([sd]))[0])
        return Standing(value, sd, float(special.ndtr(-value / sd)), regret)

    def noise(self, goal: Floats) -> float:
        """S.d. of the difference of two single runs of a pair at a log target [inputs, 1]."""
        mean, _ = self.belief.at(np.tile(goal, (1, 2)), np.arange(2))
        noise = self.belief.noise
        return noise.sd * abs(float(mean.mean())) * math.sqrt(2 * (1 - noise.shared))


@dataclass(frozen=True)
class Awaited:
    """A recipe's loss at a target, in the unit of the runs'."""

    value: float
    sd: float
    """Of the loss that as many runs as one likes would show."""
    noise: float
    """S.d. of one run about it."""

    def sd_of(self, runs: float) -> float:
        """Standard deviation of the mean of so many runs."""
        return math.hypot(self.sd, self.noise / math.sqrt(runs))

    def interval(self, runs: float = math.inf) -> tuple[float, float]:
        """90% interval of the mean of so many runs."""
        half = float(special.ndtri(0.5 + CONFIDENCE / 2)) * self.sd_of(runs)
        return self.value - half, self.value + half


def is_believed(law: str, runs: int) -> bool:
    """Whether so many runs can be asked by all that they leave open, and not by the law that fits best alone."""
    return law in ADVISED and runs <= MOST


def await_losses(
    law: Law, inputs: Mapping[str, Floats], loss: Floats, at: Sequence[Mapping[str, float]]
) -> list[Awaited]:
    """One recipe's loss at every place."""
    if not at:
        return []
    belief = believe_runs(law, inputs, loss, None, None).belief
    places = np.log([[float(place[name]) for place in at] for name in law.inputs])
    mean, cov = belief.at(places, np.zeros(len(at), int))
    parts = zip(mean.tolist(), np.sqrt(np.diag(cov)).tolist(), strict=True)
    return [Awaited(value, sd, belief.noise.sd * abs(value)) for value, sd in parts]


def believe_runs(
    law: Law, inputs: Mapping[str, Floats], loss: Floats, recipe: Sequence[str] | None,
    pair: Sequence[Any] | npt.NDArray[Any] | None, noise: float | None = None,
) -> Known:  # fmt: skip
    """The belief after finished runs; A is the first recipe. Raises `UsageError` for too few runs or three recipes."""
    runs, losses, left_out = read_finished(law, inputs, loss, recipe, pair)
    names = list(dict.fromkeys(runs.recipe.tolist()))
    rows, order = order_runs(runs, names)
    losses = losses[order]
    relative = None if noise is None else noise / float(np.exp(np.log(losses).mean()))
    return Known(believe(law, rows, losses, len(names), sd=relative), rows, runs.label[order], names, left_out)
