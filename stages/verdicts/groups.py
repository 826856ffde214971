"""Repeated measurements in groups, and contrasts of their means with an interval that a few repeats can carry.

With a few seeds per group a percentile bootstrap covers far too little. One variance pooled over all groups covers as
it should where groups scatter alike, each group's own (Welch 1947) where they do not; the wider of both intervals is
given.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from crossover.base.arrays import Floats
from crossover.runs.estimates import Estimate, interval


class NotMeasurableError(Exception):
    """The tables do not hold what a claim speaks of; the message says what is missing."""


@dataclass(frozen=True)
class Measured:
    """An effect, its degrees of freedom, the groups it came from and what should be known about it."""

    effect: Estimate
    dof: float
    groups: "Groups"
    notes: list[str] = field(default_factory=list)
    blocked: str = ""
    """Why the effect cannot carry a verdict, where it cannot."""
    shared_variance: float = 0.0
    """The part of the effect's variance that more repeats would not lessen."""


@dataclass(frozen=True)
class Groups:
    """Values by group, one per repeat."""

    values: Mapping[Hashable, Floats]
    cross_fitted: bool = False
    """Each value was chosen by the other values of its group, so they are not independent."""

    @cached_property
    def dof(self) -> int:
        """Degrees of freedom of the pooled variance."""
        return sum(len(values) - 1 for values in self.values.values())

    @cached_property
    def sd(self) -> float:
        """Pooled standard deviation of one value; nan without repeats."""
        return math.sqrt(sum(map(_squares, self.values.values())) / self.dof) if self.dof else math.nan

    def contrast(self, weights: Mapping[Hashable, float], extra_variance: float = 0.0) -> Measured:
        """The weighted sum of group means. `extra_variance` is known noise that the repeats share."""
        value = sum(weight * float(self.values[name].mean()) for name, weight in weights.items())
        shares = {name: weight**2 * self._share(len(self.values[name])) for name, weight in weights.items() if weight}
        pooled = interval(value, math.sqrt(self.sd**2 * sum(shares.values()) + extra_variance), self.dof)
        apart, dof = self._welch(value, shares, extra_variance)
        effect, dof = (apart, dof) if _width(apart) > _width(pooled) else (pooled, float(self.dof))
        return Measured(effect, dof, self, shared_variance=extra_variance)

    def _share(self, repeats: int) -> float:
        """Variance of a mean over that of one value; for cross-fitted ones after Nadeau and Bengio (2003)."""
        return 1 / repeats + (1 / (repeats - 1) if self.cross_fitted else 0.0)

    def _welch(self, value: float, shares: Mapping[Hashable, float], extra: float) -> tuple[Estimate, float]:
        repeats = {name: len(self.values[name]) - 1 for name in shares}
        if not shares or min(repeats.values()) < 1:
            return Estimate(value), 0.0
        parts = {name: share * _squares(self.values[name]) / repeats[name] for name, share in shares.items()}
        total, spread = sum(parts.values()), sum(part**2 / repeats[name] for name, part in parts.items())
        dof = total**2 / spread if spread > 0 else float(sum(repeats.values()))
        return interval(value, math.sqrt(total + extra), dof), dof

    def mean(self, extra_variance: float = 0.0) -> Measured:
        """The unweighted mean over groups. Raises `NotMeasurableError` where there is none."""
        if not self.values:
            raise NotMeasurableError("no finished runs to measure it on")
        return self.contrast(dict.fromkeys(self.values, 1 / len(self.values)), extra_variance)

    def slope(self, place: Mapping[Hashable, float]) -> Measured:
        """Least-squares slope of group means over the groups' places, groups weighted by their repeats."""
        names = list(self.values)
        if len(names) < 2:
            raise NotMeasurableError("a trend needs at least two places where the recipes differ")
        x = [place[name] for name in names]
        counts = [len(self.values[name]) for name in names]
        centre = sum(n * at for n, at in zip(counts, x, strict=True)) / sum(counts)
        total = sum(n * (at - centre) ** 2 for n, at in zip(counts, x, strict=True))
        return self.contrast({name: n * (at - centre) / total for name, n, at in zip(names, counts, x, strict=True)})

    def per_doubling(self) -> Measured:
        """Slope over log2 of the groups' names, which are numbers such as widths."""
        return self.slope({name: math.log2(float(str(name))) for name in self.values})


def _squares(values: Floats) -> float:
    return float(((values - values.mean()) ** 2).sum())


def _width(effect: Estimate) -> float:
    low, high = effect.ci or (None, None)
    return -1.0 if low is None or high is None else high - low
