"""How sure a fitted law is: covariance, profile likelihood, bootstrap.

* Squares have a likelihood: the interval of a parameter is where the other parameters, refitted, cannot keep the sum of
  squares within (1 + t^2/dof) of its minimum. It may have no end on a side, and then says so.
* Robust objectives have a sandwich covariance (Huber 1967) with t intervals.
* Resampling needs many rows or clusters; all resamples are refitted together, warm-started at the fit.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats
from crossover.laws.solver import Minima, Problem, minimise
from crossover.runs.estimates import t_factor

_GRID = 24
_REFINE = 4
_BENT = 4  # rows with curvature that a covariance needs per parameter


@dataclass(frozen=True)
class Covariance:
    """Covariance of theta (nan for parameters at a bound), its degrees of freedom and condition number."""

    matrix: Floats
    dof: int
    condition: float
    free: npt.NDArray[np.bool_]
    residual_sd: float
    """Standard deviation of a new run about the law, on the objective's scale (log loss or loss)."""
    pull: Floats
    """How theta moves with each held parameter that has a standard deviation of its own, by so much, [held, p]."""


def covariance(problem: Problem, theta: Floats) -> Covariance:
    """The covariance of a minimum, by the sandwich H^-1 G H^-1, which for squares is s^2 (J^T W J)^-1.

    All nan without degrees of freedom, where the rows cannot tell the parameters apart, or where too few rows curve.
    """
    low, high = problem.box()
    free = (theta > low + 1e-9) & (theta < high - 1e-9)
    point = problem.law.at(problem.log_x, theta[None])
    residual = problem.residual(point.log_loss_Bxn)[0]
    jacobian = point.gradient_Bxpxn[0][free]
    if not problem.objective.log:
        jacobian = jacobian * np.exp(point.log_loss_Bxn[0])
    rows = np.count_nonzero(problem.weights)
    dof = int(rows - free.sum())
    bend = problem.weights * problem.objective.bend(residual)
    hessian = (jacobian * bend) @ jacobian.T
    matrix = np.full((len(theta), len(theta)), np.nan)
    spread = float(np.sqrt((problem.weights * residual**2).sum() / problem.weights.sum() * rows / max(dof, 1)))
    root = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    condition = float(np.linalg.cond(hessian / np.outer(root, root))) if free.any() else 1.0
    if dof > 0 and condition < 1e14 and _curved(problem, bend, len(jacobian)):
        inverse = np.linalg.inv(hessian / np.outer(root, root)) / np.outer(root, root)
        if problem.objective.least_squares:
            middle = 2 * hessian * (problem.weights * residual**2).sum() / dof
        else:
            slope = problem.weights * problem.objective.slope(residual)
            middle = (jacobian * slope**2) @ jacobian.T * rows / dof
        matrix[np.ix_(free, free)] = inverse @ middle @ inverse
    return Covariance(matrix, dof, condition, free, spread, _pulls(problem, theta))


def _curved(problem: Problem, bend: Floats, free: int) -> bool:
    """Whether the objective's second derivative says how sharp the minimum is.

    A Huber fit passes through about p rows; where hardly more lie within delta, they say nothing of the others.
    """
    return problem.objective.least_squares or int(np.count_nonzero(bend)) >= _BENT * free


def _pulls(problem: Problem, theta: Floats) -> Floats:
    """Half the difference of the fits with a held parameter one standard deviation up and down, [held, p]."""
    moving = [item for item in problem.held if item.sd > 0]
    rows = []
    for item in moving:
        others = tuple(other for other in problem.held if other.index != item.index)
        ends = [
            replace(problem, held=(*others, replace(item, value=item.value + move))) for move in (item.sd, -item.sd)
        ]
        up, down = (minimise(end, theta[None]).theta[0] for end in ends)
        rows.append((up - down) / 2)
    return np.array(rows).reshape(len(moving), len(theta))


def law_errors(problem: Problem, theta: Floats, cov: Covariance, log_x: Floats) -> tuple[Floats, Floats]:
    """log L at new inputs [inputs, m] and its standard error by the delta method, [m] each."""
    point = problem.law.at(log_x, theta[None])
    gradient = point.gradient_Bxpxn[0][cov.free]
    matrix = cov.matrix[np.ix_(cov.free, cov.free)]
    variance = np.einsum("im,ij,jm->m", gradient, matrix, gradient)
    variance = variance + ((cov.pull @ point.gradient_Bxpxn[0]) ** 2).sum(0)
    return point.log_loss_Bxn[0], np.sqrt(np.maximum(variance, 0))


def profile(problem: Problem, theta: Floats, cov: Covariance) -> Floats:
    """Profile-likelihood interval of every theta, [p, 2]; nan where the set has no end before the box."""
    ends = np.full((len(theta), 2), np.nan)
    factor = t_factor(cov.dof)
    if factor is None or not np.isfinite(cov.matrix[np.ix_(cov.free, cov.free)]).all():
        return ends
    least = float(problem.value(theta[None])[0])
    limit = least * (1 + factor**2 / cov.dof)
    if least < 1e-24:  # an exact fit: the interval is the point
        ends[cov.free] = theta[cov.free, None]
        return ends
    if not cov.free.any():
        return ends
    which, side = (part.ravel() for part in np.meshgrid(np.flatnonzero(cov.free), [0, 1], indexing="ij"))
    ends[which, side] = _crossings(problem, theta, cov, which, side, limit)
    return ends


def _crossings(
    problem: Problem,
    theta: Floats,
    cov: Covariance,
    which: npt.NDArray[np.int_],
    side: npt.NDArray[np.int_],
    limit: float,
) -> Floats:
    """Where the profiled objective of theta[which] passes `limit` on a side of the minimum; nan where nowhere.

    All of them are walked outwards together: first over a geometric grid to the edge of the box, then within the step
    on which the limit was passed, three times.
    """
    edge = np.stack(problem.box())[side, which]
    reach = (t_factor(cov.dof) or 1.0) * np.sqrt(cov.matrix[which, which])
    steps = np.append(np.geomspace(0.1, 30, _GRID), np.inf)
    away = np.where(side, 1, -1)[:, None] * reach[:, None] * steps
    places = np.clip(theta[which, None] + away, *np.sort([theta[which], edge], axis=0)[:, :, None])
    inside, found = theta[which], np.ones(len(which), bool)
    for _ in range(_REFINE):
        above = _profiled(problem, theta, cov, which, places) > limit
        found &= above.any(1)
        first = np.argmax(above, axis=1)
        rows = np.arange(len(which))
        inside = np.where(first > 0, places[rows, first - 1], inside)
        outside = places[rows, first]
        places = inside[:, None] + (outside - inside)[:, None] * np.linspace(0, 1, 10)[1:]
    return np.where(found, 0.5 * (inside + outside), np.nan)


def _profiled(problem: Problem, theta: Floats, cov: Covariance, which: npt.NDArray[np.int_], places: Floats) -> Floats:
    """The least objective with theta[which] held at each of its places, from the conditional line, [k, places]."""
    low, high = problem.box()
    held = np.repeat(which, places.shape[1])
    at, rows = places.ravel(), np.arange(places.size)
    lows, highs = np.tile(low, (len(at), 1)), np.tile(high, (len(at), 1))
    lows[rows, held] = highs[rows, held] = at
    slope = np.where(cov.free, cov.matrix[held] / cov.matrix[held, held][:, None], 0.0)
    starts = theta + (at - theta[held])[:, None] * slope
    return minimise(problem, starts, low=lows, high=highs).value.reshape(places.shape)


def bootstrap_weights(clusters: npt.NDArray[np.int_], count: int, seed: int) -> Floats:
    """Weights of `count` resamples with replacement of clusters 0 ... k-1, [count, n].

    `RandomState` is used because its stream is frozen across versions of numpy.
    """
    total = int(clusters.max()) + 1
    drawn = np.random.RandomState(seed).randint(0, total, (count, total))
    weights = np.zeros((count, total))
    np.add.at(weights, (np.arange(count)[:, None], drawn), 1.0)
    return weights[:, clusters]


def bootstrap(problem: Problem, theta: Floats, clusters: npt.NDArray[np.int_], count: int, seed: int) -> Minima:
    """The fit of every resample, started at the fit of all rows; a held parameter is drawn by its own uncertainty."""
    weights = bootstrap_weights(clusters, count, seed) * problem.weights
    low, high = (np.tile(side, (count, 1)) for side in problem.box())
    for k, item in enumerate(problem.held):
        drawn = np.random.RandomState([seed, k]).standard_normal(count) * item.sd
        low[:, item.index] = high[:, item.index] = low[:, item.index] + drawn
    return minimise(problem, np.tile(theta, (count, 1)), weights, low, high)
