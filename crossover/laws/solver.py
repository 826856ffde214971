"""Minimising an objective over a law's parameters: many problems at once, by damped Newton steps in a box.

B problems (starts, resamples, points of a profile) share the rows and the law and differ in weights, start or box. They
advance together in array operations, in blocks that stay in cache; finished ones leave their block. The Hessian is
exact for sums of power laws (log L is a log-sum-exp of functions linear in theta) and lacks one small term for laws
whose shape bends. Starts come from variable projection: over a grid of the non-linear shape alone, the coefficients
are solved for by non-negative least squares of the relative residual (Golub and Pereyra 1973).
"""

import math
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats
from crossover.laws.law import Law
from crossover.laws.objectives import Objective

_BLOCK = 1 << 15  # problems x rows that advance together: about 3 MB of temporaries
_MAX_STEPS = 300
_TOLERANCE = 1e-13  # of the objective, in predicted decrease


@dataclass(frozen=True)
class Held:
    """A parameter that is not fitted: its position in theta, its value there and its standard deviation."""

    index: int
    value: float
    sd: float = 0.0


@dataclass(frozen=True)
class Problem:
    """Rows to fit: log inputs [inputs, n], log losses [n] and weights [n]."""

    law: Law
    objective: Objective
    log_x: Floats
    log_y: Floats
    weights: Floats
    held: tuple[Held, ...] = ()

    def rows(self, chosen: npt.NDArray[Any]) -> "Problem":
        """The same problem on some rows."""
        return replace(self, log_x=self.log_x[:, chosen], log_y=self.log_y[chosen], weights=self.weights[chosen])

    def box(self) -> tuple[Floats, Floats]:
        """Bounds of theta, [p] each; those of a held parameter are one."""
        low, high = self.law.box(self.log_x, self.log_y)
        for item in self.held:
            low[item.index] = high[item.index] = max(item.value, low[item.index] if math.isinf(item.value) else -np.inf)
        return low, high

    def residual(self, log_loss_Bxn: Floats) -> Floats:
        """Predicted minus measured, as the objective sees it."""
        if self.objective.log:
            return log_loss_Bxn - self.log_y
        return np.exp(log_loss_Bxn) - np.exp(self.log_y)

    def value(self, theta_Bxp: Floats, weights: Floats | None = None) -> Floats:
        """The objective, [B]."""
        rho = self.objective.rho(self.residual(self.law.log_loss(self.log_x, theta_Bxp)))
        total: Floats = (rho * (self.weights if weights is None else weights)).sum(-1)
        return total


@dataclass(frozen=True)
class Minima:
    """Where B problems ended."""

    theta: Floats
    value: Floats
    converged: npt.NDArray[np.bool_]
    steps: npt.NDArray[np.int_]


def minimise(
    problem: Problem,
    starts_Bxp: Floats,
    weights_Bxn: Floats | None = None,
    low: Floats | None = None,
    high: Floats | None = None,
) -> Minima:
    """Minimise from every start, through the objective's smoothing path where it has one.

    `weights_Bxn` defaults to the problem's; `low` and `high` ([p] or [B, p]) to the law's box.
    """
    box_low, box_high = problem.box()
    count = len(starts_Bxp)
    low_Bxp = np.broadcast_to(box_low if low is None else low, starts_Bxp.shape)
    high_Bxp = np.broadcast_to(box_high if high is None else high, starts_Bxp.shape)
    size = max(1, _BLOCK // max(1, len(problem.log_y)))
    parts = []
    for first in range(0, count, size):
        block = slice(first, first + size)
        weights = problem.weights[None] if weights_Bxn is None else weights_Bxn[block]
        theta = np.clip(starts_Bxp[block], low_Bxp[block], high_Bxp[block])
        for objective in problem.objective.smoothing or (problem.objective,):
            with np.errstate(all="ignore"):  # a trial step may overflow; it is then not taken
                part = _descend(problem, objective, theta, weights, low_Bxp[block], high_Bxp[block])
            theta = part.theta
        parts.append(part)
    joined = Minima(*(np.concatenate([getattr(part, name) for part in parts]) for name in Minima.__annotations__))
    if problem.objective.smoothing:
        value = problem.value(joined.theta, problem.weights if weights_Bxn is None else weights_Bxn)
        return Minima(joined.theta, value, joined.converged, joined.steps)
    return joined


@dataclass
class _State:
    """Problems in progress. `scale` is the Hessian of the quadratic that touches the objective from above: it is
    positive, follows the valley, and is what a damped step falls back on."""

    theta: Floats
    value: Floats
    gradient: Floats
    hessian: Floats
    scale: Floats
    damping: Floats

    def keep(self, chosen: npt.NDArray[np.bool_]) -> "_State":
        return _State(*(getattr(self, name)[chosen] for name in _State.__annotations__))

    def take(self, other: "_State", better: npt.NDArray[np.bool_]) -> None:
        for name in ("theta", "value", "gradient", "hessian", "scale"):
            getattr(self, name)[better] = getattr(other, name)[better]


def _descend(
    problem: Problem, objective: Objective, theta: Floats, weights: Floats, low: Floats, high: Floats
) -> Minima:
    """Damped Newton steps (Levenberg 1944) in a box; a step is taken only where it lowers the objective."""
    weights = np.broadcast_to(weights, (len(theta), len(problem.log_y)))
    done = Minima(theta.copy(), np.empty(len(theta)), np.zeros(len(theta), bool), np.full(len(theta), _MAX_STEPS))
    active = np.arange(len(theta))
    state = _expand(problem, objective, theta, weights)
    for step in range(_MAX_STEPS):
        move, predicted = _newton_step(state, low, high)
        trial = _expand(problem, objective, state.theta + move, weights)
        gain = state.value - trial.value
        better = gain > 0
        small = (predicted >= 0) & (predicted <= _TOLERANCE * np.abs(state.value) + 1e-300)
        stuck = ~better & (state.damping > 1e12)
        good = better & (gain > 0.5 * predicted)
        state.take(trial, better)
        state.damping = np.where(good, np.where(state.damping < 1e-3, 0.0, state.damping / 10), state.damping)
        state.damping = np.where(~better & ~small, np.maximum(state.damping * 4, 0.1), state.damping)
        over = small | stuck
        if over.any() or step == _MAX_STEPS - 1:
            leaving = over if step < _MAX_STEPS - 1 else np.ones(len(active), bool)
            done.theta[active[leaving]] = state.theta[leaving]
            done.value[active[leaving]] = state.value[leaving]
            done.converged[active[leaving]] = over[leaving]
            done.steps[active[leaving]] = step + 1
            stay = ~leaving
            if not stay.any():
                break
            active, state, weights = active[stay], state.keep(stay), weights[stay]
            low, high = low[stay], high[stay]
    return done


def _expand(problem: Problem, objective: Objective, theta: Floats, weights: Floats) -> _State:
    """The objective with its gradient and Hessian at theta."""
    law, point = problem.law, problem.law.at(problem.log_x, theta)
    residual: Floats
    if objective.log:
        residual, loss = point.log_loss_Bxn - problem.log_y, None
    else:
        loss = np.exp(point.log_loss_Bxn)
        residual = loss - np.exp(problem.log_y)
    slope = weights * objective.slope(residual)
    bend = weights * objective.bend(residual)
    if loss is not None:  # chain rule from L to log L
        bend = bend * loss * loss + slope * loss
        slope = slope * loss
    jacobian = point.gradient_Bxpxn
    gradient = (jacobian @ slope[:, :, None])[:, :, 0]
    hessian = _weighted(jacobian, bend - slope) + law.second_moment(point, slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        chord = np.where(residual == 0, bend, np.abs(slope / residual) * (1.0 if loss is None else loss))
    scale = _weighted(jacobian, chord)
    index = np.arange(theta.shape[1])
    scale[:, index, index] *= 1 + 1e-9
    scale[:, index, index] += 1e-12
    value = (weights * objective.rho(residual)).sum(-1)
    return _State(theta, value, gradient, hessian, scale, np.zeros(len(theta)))


def _weighted(jacobian_Bxpxn: Floats, weights_Bxn: Floats) -> Floats:
    """Sum over rows of weight x outer product of the gradient, [B, p, p]."""
    total: Floats = (jacobian_Bxpxn * weights_Bxn[:, None, :]) @ jacobian_Bxpxn.transpose(0, 2, 1)
    return total


def _newton_step(state: _State, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """The damped step within the box and the decrease that it promises; parameters pressed to a bound stay there."""
    pressed = ((state.theta <= low) & (state.gradient > 0)) | ((state.theta >= high) & (state.gradient < 0))
    free = ~(pressed | (low >= high))
    system = state.hessian + (state.damping[:, None, None] + 1e-15) * state.scale
    system *= free[:, :, None] & free[:, None, :]
    index = np.arange(state.theta.shape[1])
    system[:, index, index] += ~free
    descent = -state.gradient * free
    try:
        move = np.linalg.solve(system, descent[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        move = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(system, descent, strict=True)])
    move = np.clip(state.theta + move, low, high) - state.theta
    promised = (descent * move).sum(-1) - 0.5 * np.einsum("bi,bij,bj->b", move, state.hessian, move)
    return move, promised


def projected_starts(problem: Problem, count: int) -> Floats:
    """The `count` best points of the shape grid, each with its best coefficients, [count, p]."""
    low, high = problem.box()
    first = len(problem.law.coefficients)
    grid = np.array(list(product(*problem.law.shape_grid(problem.log_x))))
    if problem.held:
        grid = np.unique(np.clip(grid, low[first:], high[first:]), axis=0)
    thetas = np.concatenate([_coefficients(problem, part, low) for part in np.array_split(grid, -(-len(grid) // 256))])
    thetas = np.clip(thetas, low, high)
    values = np.concatenate([problem.value(part) for part in np.array_split(thetas, -(-len(thetas) // 256))])
    best: Floats = thetas[np.argsort(values, kind="stable")[:count]]
    return best


def _coefficients(problem: Problem, eta_Bxq: Floats, low: Floats) -> Floats:
    """theta with coefficients by non-negative least squares of (predicted - measured) / measured.

    With at most three coefficients every active set is tried, for all shapes at once.
    """
    terms = problem.law.terms(problem.log_x, eta_Bxq)
    shape = (len(eta_Bxq), len(problem.log_y))
    logs = [np.zeros(shape) if t.log_phi is None else np.broadcast_to(t.log_phi, shape) for t in terms]
    tops = np.stack([(log - problem.log_y).max(-1) for log in logs], -1)  # scaled to 1 at most, so nothing overflows
    basis = np.stack([np.exp(log - problem.log_y - tops[:, k, None]) for k, log in enumerate(logs)], 1)
    gram = (basis * problem.weights) @ basis.transpose(0, 2, 1)
    target = basis @ problem.weights
    best, best_fit = np.zeros(tops.shape), np.full(len(tops), np.inf)
    for size in range(1, len(terms) + 1):
        for subset in combinations(range(len(terms)), size):
            part = np.ix_(range(len(tops)), subset, subset)
            matrix = gram[part] + 1e-12 * np.eye(size)
            solved = np.linalg.solve(matrix, target[:, list(subset), None])[:, :, 0]
            fit = -(solved * target[:, list(subset)]).sum(-1)
            better = (solved > 0).all(-1) & (fit < best_fit)
            best[better] = 0
            best[np.ix_(better, subset)] = solved[better]
            best_fit = np.where(better, fit, best_fit)
    with np.errstate(divide="ignore"):
        coefficients = np.maximum(np.log(best) - tops, low[: len(terms)])
    return np.concatenate([coefficients, eta_Bxq], 1)
