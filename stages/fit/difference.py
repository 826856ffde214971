"""The difference of two recipes as a smooth function of x.

Paired runs. Both recipes see the same text, so both are taken to approach the same floor E; above it each is a power
law, and then log((L_B - E) / (L_A - E)) is exactly a line in log x. Given E, that line is a weighted least-squares fit
to the pairs, in which the noise they share has cancelled. E itself is poorly known on a short ladder, and fixing it, at
zero say, bends the line and misplaces the crossing. So the fit is averaged over a grid of floors from 0 to the smallest
loss, each weighted by the likelihood of the pairs' differences and of their means; the spread between floors is part of
the error. Whether that gives 90% is measured in docs/calibration.md.

Unpaired runs. Each recipe's own law is fitted to its own runs and the two are subtracted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from stages.fit.crossing import Difference
from stages.fit.fitting import Fitted
from stages.fit.intervals import law_errors
from stages.fit.laws import Floats
from stages.fit.pairing import Pairs

PAIRED = "a shared floor, and a line in log x through the log ratio of the losses above it"
_FLOORS = 33
_HIGHEST = 0.97  # the largest floor tried, as a share of the smallest loss
_DOUBT = 0.05


@dataclass(frozen=True)
class PairedDifference:
    """The fitted difference. Where `misfit`, the rungs contradict it, and their scatter about it is the noise."""

    difference: Difference
    misfit: bool


def paired_difference(free: Pairs) -> PairedDifference | None:
    """D(x) = loss_B - loss_A through all pairs; None for one rung or without degrees of freedom."""
    rungs = int(free.rung.max()) + 1 if len(free.d) else 0
    dof = len(free.d) - 2
    if rungs < 2 or dof < 1:
        return None
    floors = _fit_floors(free)
    misfit, variance, pure_dof, lack_dof = False, floors.squares / dof, len(free.d) - rungs, rungs - 2
    if pure_dof and lack_dof and floors.pure > 0:
        lack = max(float(floors.squares[floors.weight.argmax()]) - floors.pure, 0.0) / lack_dof
        misfit = bool(special.fdtrc(lack_dof, pure_dof, lack * pure_dof / floors.pure) < _DOUBT)
    if misfit:
        dof, variance = lack_dof, np.maximum(floors.squares - floors.pure, 0.0) / lack_dof
    low, high = float(free.log_x.min()), float(free.log_x.max())
    return PairedDifference(Difference(_averaged(floors, variance, dof), low, high), misfit)


@dataclass(frozen=True)
class _Floors:
    """Fits at K floors, on log x less its mean: y, the log ratio above the floor, and the level of the mean."""

    weight: Floats
    """Posterior weight of each floor, [K]."""
    line: Floats
    """Intercept and slope of y, [K, 2]."""
    inverse: Floats
    """Inverse of the weighted normal matrix, [K, 2, 2]; its weights are in units of the loss squared."""
    level: Floats
    """Intercept and slope of the logarithm of the mean above the floor, [K, 2]."""
    squares: Floats
    """Sum of squares about the fitted difference, pairs within rungs included, [K]."""
    pure: float
    """The part of it within rungs."""
    centre: float


def _fit_floors(free: Pairs) -> _Floors:
    """Fits over a grid of floors, narrowed until the floors that count are resolved."""
    low, high = 0.0, _HIGHEST * float(min(free.loss_a.min(), free.loss_b.min()))
    for _ in range(6):
        grid = np.linspace(low, high, _FLOORS)
        floors = _fit_grid(free, grid)
        counted = np.flatnonzero(floors.weight > 1e-3 * floors.weight.max())
        if len(counted) > _FLOORS // 3:
            break
        low, high = grid[max(counted[0] - 1, 0)], grid[min(counted[-1] + 1, _FLOORS - 1)]
    return floors


def _fit_grid(free: Pairs, grid: Floats) -> _Floors:
    a, counts = free.means(free.loss_a)
    b, _ = free.means(free.loss_b)
    log_x, _ = free.means(free.log_x)
    centre, floors = float(log_x.mean()), grid[:, None]
    above = (a + b) / 2 - floors
    weights = counts * above**2  # the noise of a loss is even, so that of its logarithm above E goes as 1/(L - E)
    mean_line, mean_squares, _ = _weighted_line(log_x - centre, np.log(above), weights)
    line, squares, inverse = _weighted_line(log_x - centre, np.log(b - floors) - np.log(a - floors), weights)
    pure = _within(free, free.d)
    mean_pure = _within(free, (free.loss_a + free.loss_b) / 2)
    spare = max(len(free.d) - 2, 1)
    fits = np.log(mean_squares + mean_pure + 1e-300) + np.log(squares + pure + 1e-300)
    score = -0.5 * spare * fits  # Gaussian noise of unknown size, integrated out
    weight = np.exp(score - score.max())
    return _Floors(weight / weight.sum(), line, inverse, mean_line, squares + pure, pure, centre)


def _within(free: Pairs, values: Floats) -> float:
    means, _ = free.means(values)
    return float(((values - means[free.rung]) ** 2).sum())


def _weighted_line(u: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """K weighted straight lines [K, 2], their sums of squares [K], and inverse normal matrices [K, 2, 2]."""
    total, first, second = weights.sum(1), weights @ u, weights @ (u * u)
    determinant = total * second - first**2
    inverse = np.array([[second, -first], [-first, total]]).transpose(2, 0, 1) / determinant[:, None, None]
    target = np.stack([(weights * y).sum(1), (weights * y) @ u], 1)
    line = np.einsum("kij,kj->ki", inverse, target)
    residual = y - line[:, :1] - line[:, 1:] * u
    return line, (weights * residual**2).sum(1), inverse


def _averaged(floors: _Floors, variance: Floats, dof: int) -> Callable[[Floats], tuple[Floats, Floats, Floats]]:
    """`at` of the difference: at each floor d = 2 R sinh(y / 2), with R the level above it; then the mixture of all."""

    def at(log_x: Floats) -> tuple[Floats, Floats, Floats]:
        powers = np.stack([np.ones_like(log_x), log_x - floors.centre])
        y = floors.line @ powers
        level = np.exp(floors.level @ powers)
        error = np.sqrt(np.einsum("im,kij,jm->km", powers, floors.inverse, powers) * variance[:, None])
        value, spread = 2 * level * np.sinh(y / 2), level * np.cosh(y / 2) * error
        mean = floors.weight @ value
        total = floors.weight @ (spread**2 + (value - mean) ** 2)
        return mean, np.sqrt(total), np.full(len(log_x), float(dof))

    return at


def law_difference(a: Fitted, b: Fitted, low: float, high: float) -> Difference:
    """Loss_B - loss_A of two independent fits; degrees of freedom by Welch and Satterthwaite."""

    def at(log_x: Floats) -> tuple[Floats, Floats, Floats]:
        left, error_a = law_errors(a.problem, a.theta, a.cov, log_x[None])
        right, error_b = law_errors(b.problem, b.theta, b.cov, log_x[None])
        parts = (np.exp(left) * error_a) ** 2, (np.exp(right) * error_b) ** 2
        variance = parts[0] + parts[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            dof = variance**2 / (parts[0] ** 2 / a.cov.dof + parts[1] ** 2 / b.cov.dof)
        least = min(a.cov.dof, b.cov.dof)
        return np.exp(right) - np.exp(left), np.sqrt(variance), np.where(np.isfinite(dof), dof, least)

    return Difference(at, low, high)
