"""The judge: an effect with its interval, what a claim expects, and the smallest effect of interest make a verdict.

A verdict has two parts. *Direction*: whether the 90% interval lies on one side of zero. *Size*: meaningful where the
interval lies beyond the smallest effect of interest, negligible where it lies within it on both sides (two one-sided
tests, Schuirmann 1987). Each of these four statements is wrong in at most 5% of draws. SUPPORTED and REFUTED follow:

    expects        SUPPORTED                              REFUTED
    above, below   the direction claimed, not negligible  the other direction, or negligible
    not below      not meaningfully below: the interval   below zero, and not negligible
                   ends above minus the effect
    none           negligible                             meaningful, on either side

INCONCLUSIVE is everything else. A difference whose direction is known but whose size is open is a difference: it was
REFUTED by a rule that asked the size of the noise of one run.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from crossover.runs.estimates import Estimate, t_factor
from stages.study.claims import Expects

Verdict = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE"]
Direction = Literal["lower", "higher", "open"]
Size = Literal["meaningful", "negligible", "open"]
POWERED = 0.8
"""A claim is powered when the smallest effect of interest would be SUPPORTED with this probability."""
_QUANTILES = (np.arange(400) + 0.5) / 400


@dataclass(frozen=True)
class Judgement:
    """Both parts of a verdict, what follows from them, and how sure the statements behind it are."""

    verdict: Verdict
    direction: Direction
    size: Size
    p: float | None = None
    """The p value of the statement that decides, or comes nearest to deciding."""


def judge(effect: Estimate, expects: Expects, interest: float, dof: float = math.inf) -> Judgement:
    """The verdict on an effect. Without a two-sided interval there is none to give: INCONCLUSIVE."""
    if (ends := two_sided(effect)) is None:
        return Judgement("INCONCLUSIVE", "open", "open")
    low, high = ends
    lower, higher = high < 0, low > 0
    negligible = -interest < low and high < interest
    meaningful = low > interest or high < -interest
    supported, refuted = {
        "above": (higher and not negligible, lower or negligible),
        "below": (lower and not negligible, higher or negligible),
        "not below": (low > -interest, lower and not negligible),
        "none": (negligible, meaningful),
    }[expects]
    return Judgement(
        "SUPPORTED" if supported else "REFUTED" if refuted else "INCONCLUSIVE",
        "lower" if lower else "higher" if higher else "open",
        "meaningful" if meaningful else "negligible" if negligible else "open",
        _p(effect, expects, interest, dof),
    )


def two_sided(effect: Estimate) -> tuple[float, float] | None:
    """Both ends of the interval, or None where one is missing."""
    low, high = effect.ci or (None, None)
    return None if low is None or high is None else (low, high)


def _p(effect: Estimate, expects: Expects, interest: float, dof: float) -> float | None:
    """Of the likeliest of the statements that would decide, each against the nearest truth that denies it."""
    if not effect.se:
        return None

    def beyond(place: float, sign: int) -> float:
        """Chance of an estimate as far above (1) or below (-1) `place`."""
        score = sign * (place - effect.value) / (effect.se or math.nan)
        return float(special.stdtr(dof, score) if math.isfinite(dof) else special.ndtr(score))

    negligible = max(beyond(-interest, 1), beyond(interest, -1))
    either = beyond(0.0, 1), beyond(0.0, -1)
    return {
        "above": min(*either, negligible),
        "below": min(*either, negligible),
        "not below": min(beyond(-interest, 1), beyond(0.0, -1)),
        "none": min(negligible, beyond(interest, 1), beyond(-interest, -1)),
    }[expects]


def power(expects: Expects, interest: float, truth: float, se: float, dof: float) -> float:
    """Probability of SUPPORTED if the true effect were `truth`.

    The estimate is normal about it, its variance se^2 times a chi-square over `dof`; so of a direction alone it is the
    noncentral t's. nan without degrees of freedom.
    """
    factor = t_factor(dof)
    if factor is None or not se > 0:
        return math.nan
    sure = math.isinf(dof) or dof > 1e6
    half = factor * se * (np.ones(1) if sure else np.sqrt(special.chdtri(dof, 1 - _QUANTILES) / dof))
    none, far = -interest + half, np.full_like(half, np.inf)
    low, high = {
        "above": (np.maximum(half, interest - half), far),
        "below": (-far, -np.maximum(half, interest - half)),
        "not below": (none, far),
        "none": (none, -none),
    }[expects]
    within = special.ndtr((high - truth) / se) - special.ndtr((low - truth) / se)
    return float(np.maximum(within, 0.0).mean())


def spoken_of(expects: Expects, interest: float) -> float:
    """For which true effect the power is stated: none for no difference, else the smallest of interest, as claimed."""
    return {"above": 1.0, "below": -1.0}.get(expects, 0.0) * interest


def margin(effect: Estimate, expects: Expects, interest: float) -> float:
    """The widest half of an interval about the effect that still decides: by its direction, or by its size."""
    value = effect.value
    negligible, meaningful = interest - abs(value), abs(value) - interest
    if expects == "none":
        return max(negligible, meaningful)
    return max(value + interest, -value) if expects == "not below" else max(abs(value), negligible)


def repeats_to_decide(effect: Estimate, expects: Expects, interest: float, shared_variance: float = 0.0) -> float:
    """By what factor the seeds would have to grow for the interval to decide, one way or the other, the effect staying.

    Infinite where it sits on a place that decides, or where the noise that repeats share is too wide by itself.
    """
    if (ends := two_sided(effect)) is None or not effect.se:
        return math.nan
    factor = (ends[1] - ends[0]) / 2 / effect.se
    allowed = (margin(effect, expects, interest) / factor) ** 2 - shared_variance
    return math.inf if allowed <= 0 else max(1.0, (effect.se**2 - shared_variance) / allowed)


def holm(p: list[float | None], family: int, level: float = 0.05) -> list[bool]:
    """Which verdicts hold with all of a family of so many at `level` together (Holm 1979); None is no verdict."""
    found = [False] * len(p)
    for rank, (value, place) in enumerate(sorted((value, k) for k, value in enumerate(p) if value is not None)):
        if value > level / (family - rank):
            break
        found[place] = True
    return found
