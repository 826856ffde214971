"""How a run ended by its loss: whether it diverged, which a number from before would hide.

A run has diverged where its loss ends in values that are not finite, in zeros after a gradient norm that is not (mixed
precision skips every step then), or long before its other curves do, since many loggers drop what JSON cannot say.
"""

from dataclasses import dataclass

import numpy as np

from crossover.logs.logged import Curves
from crossover.logs.points import Points

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
    points = curves.get(loss)
    if not points:
        return None
    good = np.flatnonzero(np.isfinite(points.numbers))
    after = points.steps[good[-1] + 1 if len(good) else 0 :]
    if len(after):
        return Divergence(float(after[0]), f"its loss is not finite from step {after[0]:g} on")
    return _zeros(curves, points) or _silence(curves, loss, points)


def _zeros(curves: Curves, points: Points) -> Divergence | None:
    if points.at(points.last) != 0.0:
        return None
    norms = [curve for name, curve in curves.items() if "grad" in name.lower()]
    lost = [float(curve.steps[~np.isfinite(curve.numbers)].min(initial=np.inf)) for curve in norms]
    first = min(lost, default=np.inf)
    if first > points.last:
        return None
    return Divergence(first, f"its gradient is not finite from step {first:g} on, and its loss then 0")


def _silence(curves: Curves, loss: str, points: Points) -> Divergence | None:
    last, steps = max(curve.last for curve in curves.values()), points.steps
    if len(steps) < 3 or last - steps[-1] <= _LATE * np.sort(np.diff(steps))[(len(steps) - 1) // 2]:
        return None
    fellows = [
        curve for name, curve in curves.items()
        if name != loss and len(np.intersect1d(curve.steps, steps, assume_unique=True)) > len(steps) / 2
    ]  # fmt: skip
    if not any(curve.last > steps[-1] for curve in fellows):
        return None
    return Divergence(points.last, f"no loss was logged after step {steps[-1]:g}, while the run went on to {last:g}")
