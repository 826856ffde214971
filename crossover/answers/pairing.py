"""Paired differences along a ladder: two recipes run at the same rungs, with the same seeds.

Runs of the same seed share initialisation, data order and held-out text, so their difference is far less noisy than
either. Its variance is pooled over the rungs and every interval is a t interval; a percentile bootstrap over three
seeds would cover about 62% where it claims 90%.

Rungs where the two recipes are the same run by construction (structural meeting points) have difference zero and no
variance. They are left out of every estimate; what is asked instead is the sign on each side of them.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.base.arrays import Floats
from crossover.base.numerals import short
from crossover.runs.estimates import Estimate, interval, t_factor
from crossover.runs.groups import Groups

_POWER = 0.8
_ALIKE = 0.2  # tests above this say that rungs are alike in noise
_DOUBT = 0.05  # tests below this say that rungs differ in noise, or that a line does not fit


@dataclass(frozen=True)
class Rung:
    """The paired difference at one size, in units of the loss; negative: B is better."""

    name: str
    x: float
    pairs: int
    structural: bool
    difference: Estimate
    sd: float | None
    """Standard deviation over this rung's own pairs."""
    detectable: float | None
    """Smallest true difference that these pairs would show with 80% power."""


@dataclass(frozen=True)
class Side:
    """All rungs on one side of the structural meeting point."""

    name: str
    rungs: list[str]
    difference: Estimate
    verdict: str


@dataclass(frozen=True)
class Pairs:
    """Matched runs of two recipes, one entry per pair, with rungs numbered along x."""

    x: Floats
    rung: npt.NDArray[np.int_]
    """0 ... J-1, ascending in x."""
    loss_a: Floats
    loss_b: Floats
    structural: npt.NDArray[np.bool_]
    label: npt.NDArray[np.object_] | None = None
    """What the rung of each pair is called, where x is not its name."""
    seed: npt.NDArray[np.int_] | None = None
    """Which pair label each has, as a number."""

    @property
    def log_x(self) -> Floats:
        """Natural logarithm of x."""
        logs: Floats = np.log(self.x)
        return logs

    @property
    def d(self) -> Floats:
        """loss(B) - loss(A)."""
        return self.loss_b - self.loss_a

    def on(self, chosen: npt.NDArray[np.bool_]) -> "Pairs":
        """Some of the pairs, rungs renumbered."""
        rung = np.unique(self.rung[chosen], return_inverse=True)[1]
        label = None if self.label is None else self.label[chosen]
        seed = None if self.seed is None else self.seed[chosen]
        parts = (self.loss_a[chosen], self.loss_b[chosen], self.structural[chosen], label, seed)
        return Pairs(self.x[chosen], rung, *parts)

    def free(self) -> "Pairs":
        """Without structural meeting points."""
        return self.on(~self.structural)

    def means(self, values: Floats) -> tuple[Floats, Floats]:
        """Mean of `values` at each rung, and the number of pairs there."""
        counts = np.bincount(self.rung).astype(float)
        return np.bincount(self.rung, values) / counts, counts


@dataclass(frozen=True)
class Noise:
    """The noise floor of a difference: its standard deviation between pairs of one rung, pooled over rungs."""

    sd: float | None
    dof: int
    by_size: tuple[float, float] | None = None
    """Where rungs differ in it: logarithm of the s.d. at x = 1, and its slope in log x."""

    def at(self, x: Floats) -> Floats:
        """Standard deviation at sizes; nan where none is known."""
        if self.by_size is None:
            return np.full(len(x), math.nan if self.sd is None else self.sd)
        level, slope = self.by_size
        smooth: Floats = np.exp(level + slope * np.log(x))
        return smooth

    def at_least(self, x: Floats) -> Floats:
        """The same, or that of all rungs where it is larger: few seeds often look quiet at the top by chance.

        Zero where none is known. On DataDecide's tables 90% intervals beyond the runs held 79% by the line alone, 84%
        so.
        """
        return np.nan_to_num(np.maximum(self.at(x), math.nan if self.sd is None else self.sd))

    @property
    def dof_at(self) -> int:
        """Degrees of freedom of what `at` says: a line through the sizes is taken to cost half of them."""
        return self.dof // 2 if self.by_size else self.dof


def pooled_noise(free: Pairs) -> Noise:
    """From all rungs with repeated pairs; a line in logarithms through them where they differ (Bartlett 1937)."""
    if not len(free.d):
        return Noise(None, 0)
    means, counts = free.means(free.d)
    dof = int(counts.sum()) - len(counts)
    squares = float(((free.d - means[free.rung]) ** 2).sum())
    return Noise(math.sqrt(squares / dof) if dof else None, dof, _by_size(free))


def _by_size(free: Pairs) -> tuple[float, float] | None:
    """Weighted least squares of log s.d., whose expectation is known for normal noise."""
    spreads, counts, x = _spreads(free)
    if len(spreads) < 3 or _bartlett(spreads**2, counts) >= _ALIKE:
        return None
    half = (counts - 1) / 2
    logs = np.log(spreads) - (special.digamma(half) - np.log(half)) / 2
    slope, level = np.polyfit(np.log(x), logs, 1, w=np.sqrt(1 / special.polygamma(1, half)))
    return float(level), float(slope)


def rung_table(pairs: Pairs, noise: Noise) -> list[Rung]:
    """Every rung with its t interval, by the noise there."""
    (x, counts), (mean, _) = pairs.means(pairs.x), pairs.means(pairs.d)
    met = np.bincount(pairs.rung, pairs.structural) == counts
    squares = np.bincount(pairs.rung, (pairs.d - mean[pairs.rung]) ** 2)
    first = np.unique(pairs.rung, return_index=True)[1]
    names = [short(place, 6) for place in x] if pairs.label is None else list(map(str, pairs.label[first]))
    columns = (part.tolist() for part in (x, counts.astype(int), mean, squares, met, noise.at(x)))
    return [_rung(name, *part, dof=noise.dof_at) for name, *part in zip(names, *columns, strict=True)]


def _rung(
    name: str, x: float, pairs: int, mean: float, squares: float, structural: bool, noise: float, *, dof: int
) -> Rung:
    if structural:
        return Rung(name, x, pairs, True, Estimate(0.0), None, None)
    return Rung(
        name=name,
        x=x,
        pairs=pairs,
        structural=False,
        difference=interval(mean, noise / math.sqrt(pairs), dof),
        sd=math.sqrt(squares / (pairs - 1)) if pairs > 1 else None,
        detectable=None if math.isnan(noise) else detectable(noise, pairs, dof),
    )


def detectable(sd: float, pairs: int, dof: int) -> float:
    """Minimum detectable difference of a mean of pairs: (t of the interval + t of the power) x standard error."""
    return ((t_factor(dof) or math.nan) + _power_factor(dof)) * sd / math.sqrt(pairs)


@cache
def _power_factor(dof: int) -> float:
    return float(special.stdtrit(dof, _POWER))


def grouped(free: Pairs) -> Groups:
    """Differences by rung, named by x, whose noise is a line in size."""
    order = np.argsort(free.rung, kind="stable")
    starts = np.flatnonzero(np.diff(free.rung[order])) + 1
    x = free.means(free.x)[0].tolist()
    return Groups(dict(zip(x, np.split(free.d[order], starts), strict=True)))


def sides(rungs: list[Rung], free: Pairs, a: str, b: str) -> list[Side]:
    """The two sides of the structural meeting points; empty where there are none."""
    met = [j for j, rung in enumerate(rungs) if rung.structural]
    if not met:
        return []
    parts = (("below", rungs[: met[0]]), ("above", rungs[met[-1] + 1 :]))
    groups = grouped(free) if len(free.d) else Groups({})
    return [_side(name, part, groups, a, b) for name, part in parts if part]


def _side(name: str, rungs: list[Rung], groups: Groups, a: str, b: str) -> Side:
    """Unweighted mean over the rungs of a side."""
    difference = groups.mean([rung.x for rung in rungs]).effect
    verdict = {-1: f"{b} better", 1: f"{a} better", 0: "undecided"}[difference.sign]
    return Side(name, [rung.name for rung in rungs], difference, verdict)


def trend(free: Pairs, above: float = 0.0) -> Estimate | None:
    """Change of the difference per doubling of x beyond `above`, by least squares, by the noise of all rungs."""
    groups = grouped(free)
    beyond = {x: values for x, values in groups.values.items() if isinstance(x, float) and x > above}
    if len(beyond) < 2:
        return None
    return groups.slope({x: math.log2(x) for x in beyond}).effect


def noise_flags(free: Pairs, noise: Noise) -> list[str]:
    """What should be known about the noise: none to measure it by, or unequal between rungs (Bartlett's test)."""
    if not noise.dof:
        return ["no rung has two seeds: the noise of a run is part of what a rung may be off by"]
    spreads, counts, _ = _spreads(free)
    if len(spreads) > 1 and _bartlett(spreads**2, counts) < _DOUBT:
        span = f"SD {spreads.min():.3f} to {spreads.max():.3f}"
        how = "a smooth line in size is taken through it" if noise.by_size else "the pooled interval averages it"
        return [f"noise differs between rungs ({span}); {how}"]
    return []


def _spreads(free: Pairs) -> tuple[Floats, Floats, Floats]:
    """Standard deviation, number of pairs and x of every rung with repeated, unequal pairs."""
    means, counts = free.means(free.d)
    squares = np.bincount(free.rung, (free.d - means[free.rung]) ** 2)
    known = (counts > 1) & (squares > 0)
    return np.sqrt(squares[known] / (counts[known] - 1)), counts[known], free.means(free.x)[0][known]


def _bartlett(variance: Floats, counts: Floats) -> float:
    """p value of equal variances (Bartlett 1937)."""
    dof, groups = counts - 1, len(counts)
    pooled = float((dof * variance).sum() / dof.sum())
    statistic = dof.sum() * math.log(pooled) - (dof * np.log(variance)).sum()
    correction = 1 + ((1 / dof).sum() - 1 / dof.sum()) / (3 * (groups - 1))
    return float(special.chdtrc(groups - 1, statistic / correction))
