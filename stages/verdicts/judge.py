"""The judge: an effect with its interval, what a claim expects of it, and a tolerance make a verdict with its power.

A claim of difference is SUPPORTED when the whole interval lies beyond the tolerance in the claimed direction, a claim
of no difference when it lies within the tolerance on both sides (two one-sided tests, Schuirmann 1987). REFUTED is an
interval wholly in the complement, INCONCLUSIVE everything else. With 90% intervals each error has at most 5%.
"""

import math
from typing import Literal

from scipy import special

from crossover.runs.estimates import Estimate, t_factor
from stages.study.params import Expects

Verdict = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE"]
POWERED = 0.8
"""A claim is powered when the effect it speaks of would be SUPPORTED with this probability."""


def judge(effect: Estimate, expects: Expects, tolerance: float) -> Verdict:
    """The verdict on an effect. Without a two-sided interval there is none to give: INCONCLUSIVE."""
    if (ends := two_sided(effect)) is None:
        return "INCONCLUSIVE"
    low, high = ends
    supported, refuted = {
        "above": (low > tolerance, high <= tolerance),
        "below": (high < -tolerance, low >= -tolerance),
        "not below": (low > -tolerance, high <= -tolerance),
        "none": (-tolerance < low and high < tolerance, high < -tolerance or low > tolerance),
    }[expects]
    return "SUPPORTED" if supported else "REFUTED" if refuted else "INCONCLUSIVE"


def two_sided(effect: Estimate) -> tuple[float, float] | None:
    """Both ends of the interval, or None where one is missing."""
    low, high = effect.ci or (None, None)
    return None if low is None or high is None else (low, high)


def power(expects: Expects, tolerance: float, truth: float, se: float, dof: float) -> float:
    """Probability of SUPPORTED if the true effect were `truth`, from Student's t shifted to it."""
    factor = t_factor(dof)
    if factor is None or not se > 0:
        return math.nan

    def chance(score: float) -> float:
        return float(special.stdtr(dof, score - factor))

    if expects == "none":
        return max(0.0, chance((tolerance - truth) / se) + chance((tolerance + truth) / se) - 1)
    return chance(
        {"above": truth - tolerance, "below": -truth - tolerance, "not below": truth + tolerance}[expects] / se
    )


def margin(effect: Estimate, expects: Expects, tolerance: float) -> float:
    """Distance of the effect from the nearest place where the verdict changes."""
    above, below = abs(effect.value - tolerance), abs(effect.value + tolerance)
    return {"above": above, "below": below, "not below": below, "none": min(above, below)}[expects]


def repeats_to_decide(effect: Estimate, expects: Expects, tolerance: float, shared_variance: float = 0.0) -> float:
    """By what factor the seeds would have to grow for the interval to fit beside the tolerance, the effect staying.

    Infinite where the effect sits on the tolerance, or where the noise that repeats share is too wide by itself.
    """
    if (ends := two_sided(effect)) is None or not effect.se:
        return math.nan
    factor = (ends[1] - ends[0]) / 2 / effect.se
    allowed = (margin(effect, expects, tolerance) / factor) ** 2 - shared_variance
    return math.inf if allowed <= 0 else max(1.0, (effect.se**2 - shared_variance) / allowed)
