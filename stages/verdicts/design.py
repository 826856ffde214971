"""How many seeds and rungs a difference between two recipes needs, before anything is trained.

A design has J rungs at which two recipes differ and s seeds, paired. Its differences have the standard deviation of a
pair, pooled over the rungs, so J (s - 1) degrees of freedom. A difference is detected where its 90% interval excludes
zero on the right side. If the truth is delta, the t statistic is noncentral t with noncentrality delta / standard
error, so the smallest difference detected with a given power solves P(T' > t_0.95) = power (Cohen 1988, chapter 2,
with the exact distribution). The standard error is sd / sqrt(J s) of the mean over all rungs, sd / sqrt(s) at one rung
alone.
"""

import math
from dataclasses import dataclass

from scipy import special

from crossover.runs.estimates import t_factor

MOST_SEEDS = 4096


@dataclass(frozen=True)
class Noise:
    """What seeds do to the loss, in nats."""

    seed_sd: float
    """Standard deviation of one run's loss between seeds."""
    source: str

    @property
    def pair_sd(self) -> float:
        """Of the difference of a pair, as if its runs shared nothing: an upper bound where seeds help pairing."""
        return math.sqrt(2) * self.seed_sd


@dataclass(frozen=True)
class Reach:
    """What a design detects, in nats."""

    mean: float
    """Smallest difference, the same at all rungs, that their mean shows with the power asked for."""
    one_rung: float
    """Smallest difference at one rung alone, its noise pooled over all."""


def detectable(se: float, dof: float, power: float) -> float:
    """The smallest true effect whose 90% interval excludes zero, on its side, with this power; infinite without dof."""
    factor = t_factor(dof)
    if factor is None or not math.isfinite(se):
        return math.inf
    return se * float(special.nctdtrinc(dof, 1 - power, factor))


def reach(noise: Noise, rungs: int, seeds: int, power: float) -> Reach:
    """What `seeds` paired seeds at each of `rungs` rungs detect."""
    dof, se = rungs * (seeds - 1), noise.pair_sd / math.sqrt(seeds)
    return Reach(detectable(se / math.sqrt(rungs), dof, power), detectable(se, dof, power))


def seeds_needed(noise: Noise, rungs: int, wanted: float, power: float, alone: bool = False) -> int | None:
    """The fewest seeds that detect `wanted` in the mean, or at one rung `alone`; None above `MOST_SEEDS`."""

    def enough(seeds: int) -> bool:
        found = reach(noise, rungs, seeds, power)
        return (found.one_rung if alone else found.mean) <= wanted

    high = 2  # one seed leaves no degree of freedom
    while not enough(high):
        if high >= MOST_SEEDS:
            return None
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
