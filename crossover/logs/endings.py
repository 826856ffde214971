"""How a run ended by its loss: whether it diverged, which a number from before would hide.

A run has diverged where its loss ends in values that are not finite, in zeros after a gradient norm that is not (mixed
precision skips every step then), or long before its other curves do, since many loggers drop what JSON cannot say.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from crossover.logs.logged import Curves

_LATE = 2.5
"""Usual distances between its points by which a loss may end before the run does."""


@dataclass(frozen=True)
class Divergence:
    """Where and why."""

    step: float
    """The first step without a loss."""
    why: str


def divergence(curves: Curves, loss: str) -> Divergence | None:
    """Whether the loss of that name ended without a value; None where it has one to its end."""
    points = curves.get(loss, {})
    if not points:
        return None
    good = [step for step, value in points.items() if math.isfinite(value)]
    after = [step for step in points if not good or step > good[-1]]
    if after:
        return Divergence(after[0], f"its loss is not finite from step {after[0]:g} on")
    return _zeros(curves, points) or _silence(curves, loss, points)


def _zeros(curves: Curves, points: dict[float, float]) -> Divergence | None:
    lost = [step for name, norms in curves.items() if "grad" in name.lower() for step, value in norms.items()
            if not math.isfinite(value)]  # fmt: skip
    zeros = [step for step, value in points.items() if value == 0.0 and lost and step >= min(lost)]
    if zeros and points[max(points)] == 0.0:
        return Divergence(min(lost), f"its gradient is not finite from step {min(lost):g} on, and its loss then 0")
    return None


def _silence(curves: Curves, loss: str, points: dict[float, float]) -> Divergence | None:
    steps, last = sorted(points), max(step for curve in curves.values() for step in curve)
    if len(steps) < 3:
        return None
    gaps = sorted(b - a for a, b in pairwise(steps))
    if last - steps[-1] <= _LATE * gaps[len(gaps) // 2]:
        return None
    fellows = [
        name for name, curve in curves.items() if name != loss and len(curve.keys() & points.keys()) > len(points) / 2
    ]
    if not any(max(curves[name]) > steps[-1] for name in fellows):
        return None
    return Divergence(steps[-1], f"no loss was logged after step {steps[-1]:g}, while the run went on to {last:g}")
