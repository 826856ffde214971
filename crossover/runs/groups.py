"""Repeated measurements in groups, and contrasts of their means with an interval that a few repeats can carry.

With a few seeds per group a percentile bootstrap covers far too little, and one variance pooled over widths covers too
little at the noisy ones (77% at a top that is twice as noisy per doubling), too much at the quiet. Where groups are
sizes their variance is a line in logarithms, fitted to all of them by maximum likelihood (gamma regression, McCullagh
and Nelder 1989, chapter 8), and the degrees of freedom of a contrast are those of a chi-square with the variance of its
logarithm. Where groups are names it is one level. The wider of that interval and the one of each group's own variance
(Welch 1947) is given: at one width four times as noisy as its neighbours a line alone would cover 84%.
"""

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy import special

from crossover.base.arrays import Floats
from crossover.runs.estimates import Estimate, interval, t_factor

ALIKE = 0.05
"""Groups whose means differ with a p value below this are told one by one, not by their mean."""
EXTRA_DOF = 15.0
"""Of noise that is shared, as the jackknife over sixteen blocks of text knows it."""
_STEEPEST = 12.0  # change of log variance per doubling of size, beyond which a few repeats say nothing


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
    parts: "dict[Hashable, Measured]" = field(default_factory=dict)
    """Where the effect is a mean over groups, each of them: it speaks for them only where they agree."""


@dataclass(frozen=True)
class Spread:
    """Variance of one value by group, and how well its logarithm is known."""

    names: list[Hashable]
    variance: Floats
    log_covariance: Floats

    def of(self, shares: Mapping[Hashable, float]) -> tuple[float, float]:
        """Variance of a sum of group means that have so many shares of their group's, and its degrees of freedom."""
        parts = np.array([shares.get(name, 0.0) for name in self.names]) * self.variance
        total = float(parts.sum())
        if not total > 0:
            return total, 0.0
        return total, 2 / float(parts @ self.log_covariance @ parts / total**2)


@dataclass(frozen=True)
class Groups:
    """Values by group, one per repeat."""

    values: Mapping[Hashable, Floats]
    cross_fitted: bool = False
    """Each value was chosen by the other values of its group, so they are not independent."""

    @cached_property
    def dof(self) -> int:
        """Degrees of freedom of all groups."""
        return sum(len(values) - 1 for values in self.values.values())

    @cached_property
    def sd(self) -> float:
        """Pooled standard deviation of one value; nan without repeats."""
        return math.sqrt(sum(map(_squares, self.values.values())) / self.dof) if self.dof else math.nan

    @cached_property
    def spreads(self) -> list[Spread]:
        """What the variance may be: a line in the groups' sizes or one level, and each group's own."""
        repeated = {name: len(values) - 1 for name, values in self.values.items() if len(values) > 1}
        dof = np.array(list(repeated.values()), float)
        variance = np.array([_squares(self.values[name]) for name in repeated]) / dof
        if not len(dof) or not variance.any():
            return []
        names, sized = list(self.values), all(isinstance(name, (int, float)) and name > 0 for name in self.values)
        known = _line(names, list(repeated), variance, dof) if sized else _level(names, variance, dof)
        return [known, Spread(list(repeated), variance, np.diag(2 / dof))]

    def contrast(self, weights: Mapping[Hashable, float], extra_variance: float = 0.0) -> Measured:
        """The weighted sum of group means. `extra_variance` is known noise that the repeats share."""
        value = sum(weight * float(self.values[name].mean()) for name, weight in weights.items())
        shares = {name: weight**2 * self._share(len(self.values[name])) for name, weight in weights.items() if weight}
        readings = [spread for spread in self.spreads if set(shares) <= set(spread.names)]
        found = [widened(value, *spread.of(shares), extra_variance) for spread in readings]
        effect, dof = max(found, key=lambda item: _width(item[0]), default=(Estimate(value), 0.0))
        return Measured(effect, dof, self, shared_variance=extra_variance)

    def _share(self, repeats: int) -> float:
        """Variance of a mean over that of one value; for cross-fitted ones after Nadeau and Bengio (2003)."""
        return 1 / repeats + (1 / max(repeats - 1, 1) if self.cross_fitted else 0.0)

    def mean(self, over: Collection[Hashable] | None = None) -> Measured:
        """The unweighted mean over groups, all where `over` names none; by the noise of all.

        Raises `NotMeasurableError` where there is none.
        """
        names = [name for name in self.values if over is None or name in over]
        if not names:
            raise NotMeasurableError("no finished runs to measure it on")
        found = self.contrast(dict.fromkeys(names, 1 / len(names)))
        parts = {name: self.contrast({name: 1.0}) for name in names} if len(names) > 1 else {}
        chosen = replace(self, values={name: self.values[name] for name in names})
        return replace(found, groups=chosen, parts=parts)

    def slope(self, place: Mapping[Hashable, float]) -> Measured:
        """Least-squares slope of group means over the places of some groups, weighted by their repeats."""
        names = list(place)
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


def alike(parts: list[Measured]) -> float:
    """p value of groups whose means are the same, each with its own noise (Welch 1951); nan where none can be told."""
    parts = [part for part in parts if part.effect.se and part.dof > 0]
    if len(parts) < 2:
        return math.nan
    mean = np.array([part.effect.value for part in parts])
    weight = 1 / np.array([part.effect.se or math.nan for part in parts]) ** 2
    groups, total = len(parts), float(weight.sum())
    between = float(weight @ (mean - weight @ mean / total) ** 2) / (groups - 1)
    unsure = float((((1 - weight / total) ** 2) / [part.dof for part in parts]).sum()) / (groups**2 - 1)
    return float(special.fdtrc(groups - 1, 1 / (3 * unsure), between / (1 + 2 * (groups - 2) * unsure)))


def widened(value: float, variance: float, dof: float, extra: float) -> tuple[Estimate, float]:
    """Interval of a value with noise of so many degrees of freedom and `extra`, and the degrees that it amounts to.

    Squares of the two half-widths are added. Satterthwaite's degrees of freedom of the sum would narrow an interval of
    two degrees by adding to it, and cover 84 to 88%.
    """
    own, text = t_factor(dof), t_factor(EXTRA_DOF)
    if own is None or text is None or not variance > 0:
        return Estimate(value), 0.0
    if not extra:
        return interval(value, math.sqrt(variance), dof), dof
    wide = math.sqrt((own**2 * variance + text**2 * extra) / (variance + extra))
    low, high = sorted((dof, EXTRA_DOF))
    for _ in range(60):  # the degrees whose factor that is: factors fall with them
        middle = math.sqrt(low * min(high, 1e6))
        low, high = (middle, high) if (t_factor(middle) or math.inf) > wide else (low, middle)
    return interval(value, math.sqrt(variance + extra), low), low


def _line(names: list[Hashable], repeated: list[Hashable], variance: Floats, dof: Floats) -> Spread:
    """Log variance as a line in log2 of the size, by Newton's method on its likelihood; a level with one group."""
    sizes = {name: math.log2(float(str(name))) for name in names}
    centre = float(dof @ [sizes[name] for name in repeated] / dof.sum())
    x, everywhere = (np.array([sizes[name] - centre for name in some]) for some in (repeated, names))
    design = np.column_stack([np.ones(len(everywhere)), everywhere])
    if len(repeated) < 2:
        design, x = design[:, :1], x * 0
    steep = 0.0
    for _ in range(60 if len(repeated) > 1 else 0):
        mass = dof * variance * np.exp(-steep * x)
        first, second = mass @ x / mass.sum(), mass @ x**2 / mass.sum()
        step = float(np.clip(first / max(second - first**2, 1e-9), -1, 1))
        steep = float(np.clip(steep + step, -_STEEPEST, _STEEPEST))
        if abs(step) < 1e-10:
            break
    level = math.log(float(dof @ (variance * np.exp(-steep * x)) / dof.sum()))
    ours = np.column_stack([np.ones(len(x)), x])[:, : design.shape[1]]
    known = np.linalg.inv(ours.T @ (dof[:, None] / 2 * ours))
    return Spread(names, np.exp(level + steep * everywhere), design @ known @ design.T)


def _level(names: list[Hashable], variance: Floats, dof: Floats) -> Spread:
    """One variance for all."""
    shape = (len(names), len(names))
    return Spread(names, np.full(len(names), float(dof @ variance / dof.sum())), np.full(shape, 2 / dof.sum()))


def _squares(values: Floats) -> float:
    return float(((values - values.mean()) ** 2).sum())


def _width(effect: Estimate) -> float:
    low, high = effect.ci or (None, None)
    return -1.0 if low is None or high is None else high - low
