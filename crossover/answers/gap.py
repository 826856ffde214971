"""The gap between two recipes at a target scale: in nats and in equivalent compute, headed by its lever arm."""

import math
from dataclasses import dataclass

import numpy as np

from crossover.answers.crossing import REACH, Difference
from crossover.answers.decision import Decision, decide
from crossover.base.errors import UsageError
from crossover.runs.estimates import Estimate, interval

_DECADE = math.log(10)
_LARGEST = 300.0  # of the logarithm of a factor


@dataclass(frozen=True)
class Gap:
    """B against A at a target scale. Read the lever arm first."""

    lever_arm_decades: float
    x: float
    difference: Estimate
    """loss(B) - loss(A), extrapolated."""
    equivalent_compute: Estimate | None
    """The factor by which A's x would have to grow (over 1) or shrink to reach B's loss; None where none does."""
    p_b_beats_a: float
    decision: Decision | None = None
    """Which to choose there, and what that is expected to cost."""


def target_gap(a: str, b: str, difference: Difference, target: float, far: bool) -> Gap:
    """The difference of B from A extrapolated to `target`. Raises `UsageError` beyond 1.5 decades unless `far`."""
    place = math.log(target)
    lever = max(0.0, place - difference.high, difference.low - place) / _DECADE
    if lever > REACH and not far:
        where = f"{target:g} is {lever:.1f} decades outside the runs"
        raise UsageError(f"{where}; past {REACH} decades a gap must be asked for with --far")
    value, error, dof = (float(part[0]) for part in difference.at(np.array([place])))
    return Gap(
        lever_arm_decades=lever,
        x=target,
        difference=interval(value, error, dof),
        equivalent_compute=_equivalent(difference, place),
        p_b_beats_a=float(difference.probability_b_better(np.array([place]))[0]),
        decision=decide((a, b), value, error, dof, difference.slopes(place)),
    )


def _equivalent(difference: Difference, log_x: float) -> Estimate | None:
    """The factor of x and its interval, made on its logarithm."""
    found = difference.factor(log_x)
    if found is None:
        return None
    value, error, dof = found
    log = interval(value, error, dof)
    if abs(value) > _LARGEST or log.ci is None:
        return None if abs(value) > _LARGEST else Estimate(math.exp(value))
    low, high = (None if end is None or abs(end) > _LARGEST else math.exp(end) for end in log.ci)
    return Estimate(math.exp(value), math.exp(value) * error, (low, high))
