"""Approach 2 of the Chinchilla paper: at each budget a parabola of the loss in log N, then a law of their vertices.

Hoffmann et al. 2022 (arXiv 2203.15556), section 3.2. A parabola is symmetric and the law is not, so vertices err, the
more the wider the sizes are spread and the further apart the exponents (arXiv 2603.22339): what they would say of the
fitted law itself, without noise and at the same runs, is computed and stated as their bias.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats
from crossover.runs.estimates import Estimate, interval

WIDTH = 0.15
"""Runs whose compute is within this share of a budget belong to it."""
FEWEST_SIZES = 5


@dataclass(frozen=True)
class Budget:
    """One budget's runs and their parabola."""

    c: float
    runs: int
    n: Estimate | None
    """Where the parabola is lowest; None where the runs show no lowest point between their ends."""
    loss: float | None
    note: str = ""


@dataclass(frozen=True)
class IsoFlop:
    """What parabolas say."""

    budgets: list[Budget]
    exponent: Estimate
    """Of N* in compute; that of D* is one less it."""
    n: Estimate
    """N* at the budget that was asked for."""
    bias_exponent: float | None = None
    """What parabolas through the fitted law's own values would say, less what the law says."""
    bias_n: float | None = None
    """The same of N* at the budget that was asked for, as a ratio."""


def find_budgets(c: Floats, n: Floats) -> list[npt.NDArray[np.int_]]:
    """Rows of each budget, by compute: windows with the most runs first, each of five sizes or more."""
    left, log_c, found = np.ones(len(c), bool), np.log(c), list[npt.NDArray[np.int_]]()
    reach = math.log1p(WIDTH)
    while left.any():
        near = (np.abs(log_c[:, None] - log_c) <= reach) & left & left[:, None]
        rows = np.flatnonzero(near[int(near.sum(1).argmax())])
        if len(rows) < FEWEST_SIZES:
            break
        left[rows] = False
        if len(np.unique(np.round(np.log(n[rows]), 6))) >= FEWEST_SIZES:
            found.append(rows)
    return sorted(found, key=lambda rows: float(log_c[rows].mean()))


def fit_budget(c: Floats, n: Floats, loss: Floats) -> Budget:
    """The parabola of one budget: loss = a + b u + q u^2 + s v, u = log N and v = log C less their means."""
    u, v = np.log(n) - np.log(n).mean(), np.log(c) - np.log(c).mean()
    columns = [np.ones_like(u), u, u * u]
    if np.ptp(v) > 1e-9 and len(u) > 5:  # compute that is not quite the same moves the loss too
        columns.append(v)
    basis = np.stack(columns, 1)
    theta = np.linalg.lstsq(basis, loss, rcond=None)[0]
    middle = float(np.exp(np.log(c).mean()))
    if theta[2] <= 0:
        return Budget(middle, len(u), None, None, "the loss has no lowest point there")
    vertex = -theta[1] / (2 * theta[2])
    if not u.min() <= vertex <= u.max():
        return Budget(middle, len(u), None, None, "the lowest point is beyond the sizes that were run")
    dof = len(u) - basis.shape[1]
    value = float(np.exp(np.log(n).mean() + vertex))
    depth = float(theta[0] + theta[1] * vertex / 2)
    if dof < 1:
        return Budget(middle, len(u), Estimate(value), depth)
    cov = np.linalg.inv(basis.T @ basis) * float(((loss - basis @ theta) ** 2).sum()) / dof
    gradient = np.zeros(len(theta))
    gradient[1:3] = -1 / (2 * theta[2]), theta[1] / (2 * theta[2] ** 2)
    return Budget(middle, len(u), on_log(math.log(value), math.sqrt(float(gradient @ cov @ gradient)), dof), depth)


def on_log(log_value: float, error: float, dof: float) -> Estimate:
    """An estimate whose interval is made on the logarithm."""
    found, value = interval(log_value, error, dof), math.exp(log_value)
    if found.ci is None:
        return Estimate(value)
    low, high = (math.exp(end) if end is not None and end < 700 else None for end in found.ci)
    return Estimate(value, value * error, (low, high))


def through_vertices(budgets: list[Budget], c: float) -> tuple[Estimate, Estimate] | None:
    """The exponent of N* in compute, and N* at c, by least squares of logarithms; None for fewer than three."""
    known = [(item.c, item.n.value) for item in budgets if item.n is not None]
    if len(known) < 3:
        return None
    x, y = np.log(known).T
    centre, dof = x.mean(), len(x) - 2
    slope, level = np.polyfit(x - centre, y, 1)
    spread = math.sqrt(float(((y - level - slope * (x - centre)) ** 2).sum()) / dof)
    width, away = float(((x - centre) ** 2).sum()), math.log(c) - centre
    at = on_log(float(level + slope * away), spread * math.sqrt(1 / len(x) + away**2 / width), dof)
    return interval(float(slope), spread / math.sqrt(width), dof), at
