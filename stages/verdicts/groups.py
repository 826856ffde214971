"""Repeated measurements in groups, and contrasts of their means with an interval from the pooled variance.

With a few seeds per group a percentile bootstrap covers far too little; one variance pooled over all groups and a t
interval do not.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from stages.fit.estimates import Estimate, interval
from stages.fit.laws import Floats


class NotMeasurableError(Exception):
    """The tables do not hold what a claim speaks of; the message says what is missing."""


@dataclass(frozen=True)
class Groups:
    """Values by group; groups differ in their mean and share one variance."""

    values: Mapping[Hashable, Floats]

    @property
    def dof(self) -> int:
        """Degrees of freedom of the pooled variance."""
        return sum(len(values) - 1 for values in self.values.values())

    @property
    def sd(self) -> float:
        """Pooled standard deviation of one value; nan without repeats."""
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in self.values.values())
        return math.sqrt(squares / self.dof) if self.dof else math.nan

    def contrast(self, weights: Mapping[Hashable, float], extra_variance: float = 0.0) -> Estimate:
        """The weighted sum of group means. `extra_variance` is known noise that the repeats share."""
        value = sum(weight * float(self.values[name].mean()) for name, weight in weights.items())
        spread = sum(weight**2 / len(self.values[name]) for name, weight in weights.items())
        return interval(value, math.sqrt(self.sd**2 * spread + extra_variance), self.dof)

    def mean(self, extra_variance: float = 0.0) -> Estimate:
        """The unweighted mean over groups. Raises `NotMeasurableError` where there is none."""
        if not self.values:
            raise NotMeasurableError("no finished runs to measure it on")
        return self.contrast(dict.fromkeys(self.values, 1 / len(self.values)), extra_variance)

    def slope(self, place: Mapping[Hashable, float]) -> Estimate:
        """Least-squares slope of group means over the groups' places, groups weighted by their repeats."""
        names = list(self.values)
        if len(names) < 2:
            raise NotMeasurableError("a trend needs at least two places where the recipes differ")
        x = np.array([place[name] for name in names])
        counts = np.array([len(self.values[name]) for name in names], float)
        centred = x - (counts @ x) / counts.sum()
        weights = counts * centred / (counts @ centred**2)
        return self.contrast(dict(zip(names, weights.tolist(), strict=True)))
