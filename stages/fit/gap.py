"""The gap between two recipes at a target scale: in nats and in equivalent compute, headed by its lever arm."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from stages.fit.crossing import REACH, Difference
from stages.fit.estimates import Estimate, interval
from stages.fit.fitting import Fitted
from stages.study.errors import UsageError

_DECADE = math.log(10)


@dataclass(frozen=True)
class Gap:
    """B against A at a target scale. Read the lever arm first."""

    lever_arm_decades: float
    x: float
    difference: Estimate
    """loss(B) - loss(A), extrapolated."""
    equivalent_compute: float | None
    """The factor by which A's x would have to grow (over 1) or shrink to reach B's loss; None where none does."""
    equivalent_compute_ci: tuple[float | None, ...] | None
    p_b_beats_a: float


def target_gap(difference: Difference, law_a: Fitted, target: float, far: bool) -> Gap:
    """The difference extrapolated to `target`. Raises `UsageError` beyond 1.5 decades unless `far`."""
    place = math.log(target)
    lever = max(0.0, place - difference.high, difference.low - place) / _DECADE
    if lever > REACH and not far:
        where = f"{target:g} is {lever:.1f} decades beyond the runs"
        raise UsageError(f"{where}; past {REACH} decades a gap must be asked for with --far")
    value, error, dof = (float(part[0]) for part in difference.at(np.array([place])))
    gap = interval(value, error, dof)
    factor = _equivalent(law_a, place)
    return Gap(
        lever_arm_decades=lever,
        x=target,
        difference=gap,
        equivalent_compute=factor(value),
        equivalent_compute_ci=None if gap.ci is None else tuple(factor(end) for end in reversed(gap.ci)),
        p_b_beats_a=float(difference.probability_b_better(np.array([place]))[0]),
    )


def _equivalent(law: Fitted, log_x: float) -> Callable[[float | None], float | None]:
    """The factor of x that changes A's fitted loss at x by a difference; None where no factor up to e^50 does."""

    def loss(log_factor: float) -> float:
        return float(np.exp(law.problem.law.log_loss(np.array([[log_x + log_factor]]), law.theta[None])[0, 0]))

    def factor(difference: float | None) -> float | None:
        if difference is None:
            return None
        goal = loss(0.0) + difference
        if (loss(-50.0) - goal) * (loss(50.0) - goal) >= 0:
            return None
        return math.exp(float(optimize.brentq(lambda log_factor: loss(log_factor) - goal, -50, 50)))

    return factor
