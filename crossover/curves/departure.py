"""Whether a run has left its course, and since when: a step in its losses, looked for after every block.

What each block has that neither the ladder nor the run's own past foresaw is white and of unit variance in a healthy
run (`Forecast.innovations`). A step of any height that began at a block has a known trace in them, so the largest
normalised match over possible beginnings is asked (the generalised likelihood ratio of Willsky and Jones 1976). One bad
block is a spike and no departure: a step must have lasted three.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from crossover.base.arrays import Floats
from crossover.curves.process import Forecast

LIMIT = 5.5
"""Match, in standard deviations, from which on a run has left its course. Of 321 healthy runs of our own studies 99%
stay below; if innovations were as white as they are taken for, 97% would stay below 3.8."""
FROM_THE_START = 7.0
"""The same of a step before the first block: that a run is another than the ladder's from its beginning."""
SHORTEST, LONGEST = 3, 20
"""Blocks that a step must have lasted, and beyond which its beginning is no longer looked for."""
_CUT = 5.0  # standard deviations, beyond which what a block has is cut: a spike must not move what is foreseen after it


@dataclass(frozen=True)
class Departure:
    """A step away from the course."""

    block: int
    """At whose end it was noticed."""
    since: int
    """The block at which it began, as the match says."""
    height: float
    """Mean of the losses since then less what was foreseen before; above zero where they are worse."""
    match: float
    """In standard deviations."""


def find_departure(forecast: Forecast, loss: Floats) -> Departure | None:
    """The first block [m] at which a step matches; None for a run on its course."""
    count = len(loss)
    if count < SHORTEST:
        return None
    lower = cholesky(forecast.cov[:count, :count], lower=True)
    white = _cut_innovations(lower, loss - forecast.mean[:count])
    turned = solve_triangular(lower, np.eye(count), lower=True)
    trace = np.cumsum(turned[:, ::-1], axis=1)[:, ::-1]  # [block, beginning]: a step of one, as it shows in `white`
    found, power = np.cumsum(white[:, None] * trace, axis=0), np.cumsum(trace**2, axis=0)
    lasted = np.arange(count)[:, None] - np.arange(count) + 1
    asked = (lasted >= SHORTEST) & (lasted <= LONGEST)
    match = np.where(asked, found / np.sqrt(np.maximum(power, 1e-300)), 0.0)
    match[:, 0] *= LIMIT / FROM_THE_START
    beyond = np.flatnonzero((np.abs(match) > LIMIT).any(1))
    if not len(beyond):
        return None
    block = int(beyond[0])
    since = int(np.abs(match[block]).argmax())
    before = forecast.after((lower @ white + forecast.mean[:count])[:since]) if since else forecast
    height = float(np.mean(loss[since : block + 1] - before.mean[: block + 1 - since]))
    told = abs(float(match[block, since])) * (1.0 if since else FROM_THE_START / LIMIT)
    return Departure(block, since, height, told)


def _cut_innovations(lower: Floats, away: Floats) -> Floats:
    """What each block has that those before it did not foretell, cut; what is foretold next rests on what was cut."""
    white = np.zeros(len(away))
    for k in range(len(away)):
        white[k] = np.clip((away[k] - lower[k, :k] @ white[:k]) / lower[k, k], -_CUT, _CUT)
    return white
