"""The difference of two recipes as a smooth function of x.

Paired runs. Both recipes see the same text, so both are taken to approach the same floor E; above it each is a power
law, and then log((L_B - E) / (L_A - E)) is exactly a line in log x. Given E, that line is a weighted least-squares fit
to the pairs, in which the noise they share has cancelled. E itself is poorly known on a short ladder, and fixing it, at
zero say, bends the line and misplaces the crossing. So the fit is averaged over a grid of floors from 0 to the smallest
loss, each weighted by the likelihood of the pairs' differences and of their means; the spread between floors is part of
the error. Whether that gives 90% is measured in docs/calibration.md.

Unpaired runs. Each recipe's own law is fitted to its own runs and the two are subtracted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from crossover.answers.comparison import Gap
from crossover.answers.crossing import Difference
from crossover.answers.decision import decide, decide_ahead
from crossover.answers.pairing import Pairs
from crossover.base.arrays import Floats
from crossover.belief.difference import Outlook
from crossover.laws.fit import Fitted
from crossover.laws.intervals import law_errors
from crossover.runs.estimates import CONFIDENCE, Estimate, interval

PAIRED = "a shared floor, and a line in log x through the log ratio of the losses above it"
BEYOND = "beyond the runs the difference goes on as it has wandered or trended from rung to rung"
_SAME = 1e-6
_FLOORS = 33
_HIGHEST = 0.97  # the largest floor tried, as a share of the smallest loss
_DOUBT = 0.05
_TINY = 1e-30
_DECADE = math.log(10)
_LARGEST = 300.0  # of the logarithm of a factor


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
    misfit, noise, pure_dof, lack_dof = False, floors.y.squares / dof, len(free.d) - rungs, rungs - 2
    if pure_dof and lack_dof and floors.pure > 0:
        lack = max(float(floors.y.squares[floors.weight.argmax()]) - floors.pure, 0.0) / lack_dof
        misfit = bool(special.fdtrc(lack_dof, pure_dof, lack * pure_dof / floors.pure) < _DOUBT)
    if misfit:
        dof, noise = lack_dof, np.maximum(floors.y.squares - floors.pure, 0.0) / lack_dof
    low, high = float(free.log_x.min()), float(free.log_x.max())
    at, factor = _averaged(floors, noise, dof), _factor(floors, noise, dof)
    return PairedDifference(Difference(at, low, high, factor, _slopes(floors)), misfit)


@dataclass(frozen=True)
class _Floors:
    """Fits at K floors, on log x less its mean and losses over their mean.

    y is log((L_B - E) / (L_A - E)) and m the mean of log(L_A - E) and log(L_B - E): both are lines in log x.
    """

    weight: Floats
    """Posterior weight of each floor, [K]."""
    y: "_Lines"
    m: "_Lines"
    pure: float
    """Sum of squares of the differences within rungs."""
    centre: float
    scale: float
    """The mean loss, which every fit is divided by."""


@dataclass(frozen=True)
class _Lines:
    """K weighted straight lines."""

    line: Floats
    """Intercept and slope, [K, 2]."""
    inverse: Floats
    """Inverse of the weighted normal matrix, [K, 2, 2]."""
    squares: Floats
    """Weighted sum of squares about the line, pairs within rungs included, [K]."""

    def at(self, powers: Floats, variance: Floats) -> tuple[Floats, Floats]:
        """Value and variance at powers of log x [2, m], where the squares have `variance` [K]; [K, m] each."""
        spread = np.einsum("im,kij,jm->km", powers, self.inverse, powers) * variance[:, None]
        return self.line @ powers, spread


def _fit_floors(free: Pairs) -> _Floors:
    """Fits over a grid of floors, narrowed until the floors that count are resolved."""
    scale = float(free.loss_a.mean())
    low, high = 0.0, _HIGHEST * float(min(free.loss_a.min(), free.loss_b.min())) / scale
    for _ in range(6):
        grid = np.linspace(low, high, _FLOORS)
        floors = _fit_grid(free, grid, scale)
        counted = np.flatnonzero(floors.weight > 1e-3 * floors.weight.max())
        if len(counted) > _FLOORS // 3:
            break
        low, high = grid[max(counted[0] - 1, 0)], grid[min(counted[-1] + 1, _FLOORS - 1)]
    return floors


def _fit_grid(free: Pairs, grid: Floats, scale: float) -> _Floors:
    a, counts = free.means(free.loss_a / scale)
    b, _ = free.means(free.loss_b / scale)
    log_x, _ = free.means(free.log_x)
    centre, floors = float(log_x.mean()), grid[:, None]
    weights = counts * (a - floors) * (b - floors)  # noise is even in L, so that of log(L - E) goes as 1/(L - E)
    log_a, log_b = np.log(a - floors), np.log(b - floors)
    pure = _within(free, free.d / scale)
    y = _weighted_lines(log_x - centre, log_b - log_a, weights, pure)
    m = _weighted_lines(
        log_x - centre, (log_a + log_b) / 2, weights, _within(free, (free.loss_a + free.loss_b) / 2 / scale)
    )
    score = -0.5 * max(len(free.d) - 2, 1) * (np.log(y.squares + _TINY) + np.log(m.squares + _TINY))
    weight = np.exp(score - score.max())  # Gaussian noise of unknown size, integrated out
    return _Floors(weight / weight.sum(), y, m, pure, centre, scale)


def _within(free: Pairs, values: Floats) -> float:
    means, _ = free.means(values)
    return float(((values - means[free.rung]) ** 2).sum())


def _weighted_lines(u: Floats, values: Floats, weights: Floats, within: float) -> _Lines:
    total, first, second = weights.sum(1), weights @ u, weights @ (u * u)
    determinant = total * second - first**2
    inverse = np.array([[second, -first], [-first, total]]).transpose(2, 0, 1) / determinant[:, None, None]
    target = np.stack([(weights * values).sum(1), (weights * values) @ u], 1)
    line = np.einsum("kij,kj->ki", inverse, target)
    residual = values - line[:, :1] - line[:, 1:] * u
    return _Lines(line, inverse, (weights * residual**2).sum(1) + within)


def _powers(floors: _Floors, log_x: Floats) -> Floats:
    return np.stack([np.ones_like(log_x), log_x - floors.centre])


def _mixed(weight: Floats, value: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of a mixture over floors; value and variance are [K, m]."""
    mean = weight @ value
    return mean, np.sqrt(weight @ (variance + (value - mean) ** 2))


def _averaged(floors: _Floors, noise: Floats, dof: int) -> Callable[[Floats], tuple[Floats, Floats, Floats]]:
    """`at` of the difference: at each floor D = 2 e^m sinh(y / 2); then the mixture of all floors."""

    def at(log_x: Floats) -> tuple[Floats, Floats, Floats]:
        powers = _powers(floors, log_x)
        y, y_variance = floors.y.at(powers, noise)
        m, m_variance = floors.m.at(powers, floors.m.squares / dof)
        level = floors.scale * np.exp(np.minimum(m, 700.0))
        by_y, by_m = level * np.cosh(y / 2), 2 * level * np.sinh(y / 2)
        mean, error = _mixed(floors.weight, by_m, by_y**2 * y_variance + by_m**2 * m_variance)
        return mean, error, np.full(len(log_x), float(dof))

    return at


def _factor(floors: _Floors, noise: Floats, dof: int) -> Callable[[float], tuple[float, float, float] | None]:
    """log of the factor of x that takes A to B's loss: y over the slope of log(L_A - E), with its error and dof."""

    def factor(log_x: float) -> tuple[float, float, float] | None:
        powers = _powers(floors, np.array([log_x]))
        y = (floors.y.line @ powers)[:, 0]
        slope = floors.m.line[:, 1] - floors.y.line[:, 1] / 2
        if (slope[floors.weight > 1e-3 * floors.weight.max()] >= 0).any():
            return None
        by_y = powers[:, 0] / slope[:, None] + np.array([0.0, 0.5]) * (y / slope**2)[:, None]
        variance = np.einsum("ki,kij,kj->k", by_y, floors.y.inverse, by_y) * noise
        variance += (y / slope**2) ** 2 * floors.m.inverse[:, 1, 1] * floors.m.squares / dof
        mean, error = _mixed(floors.weight, (y / slope)[:, None], variance[:, None])
        return float(mean[0]), float(error[0]), float(dof)

    return factor


def _slopes(floors: _Floors) -> Callable[[float], tuple[float, float]]:
    """dL / dlog x of both recipes, averaged over the floors: L = E + e^(m -+ y / 2) for A and B."""

    def slopes(log_x: float) -> tuple[float, float]:
        powers = _powers(floors, np.array([log_x]))
        y, m = ((part.line @ powers)[:, 0] for part in (floors.y, floors.m))
        a, b = (
            np.exp(np.minimum(m + half * y, 700.0)) * (floors.m.line[:, 1] + half * floors.y.line[:, 1])
            for half in (-0.5, 0.5)
        )
        return float(floors.scale * floors.weight @ a), float(floors.scale * floors.weight @ b)

    return slopes


def law_difference(a: Fitted, b: Fitted, low: float, high: float) -> Difference:
    """Loss_B - loss_A of two independent fits; degrees of freedom by Welch and Satterthwaite."""

    def at(log_x: Floats) -> tuple[Floats, Floats, Floats]:
        left, error_a = law_errors(a.problem, a.theta, a.cov, log_x[None])
        right, error_b = law_errors(b.problem, b.theta, b.cov, log_x[None])
        error, dof = _welch(np.exp(left) * error_a, np.exp(right) * error_b, a.cov.dof, b.cov.dof)
        return np.exp(right) - np.exp(left), error, dof

    def factor(log_x: float) -> tuple[float, float, float] | None:
        from scipy import optimize  # which takes as long to import as all the rest of this package

        right, error_b = law_errors(b.problem, b.theta, b.cov, np.array([[log_x]]))

        def above(log_factor: float) -> float:
            return float(a.problem.law.log_loss(np.array([[log_x + log_factor]]), a.theta[None])[0, 0] - right[0])

        if above(-50.0) <= 0 or above(50.0) >= 0:
            return None
        found = float(optimize.brentq(above, -50, 50))
        _, error_a = law_errors(a.problem, a.theta, a.cov, np.array([[log_x + found]]))
        slope = (above(found + 1e-5) - above(found - 1e-5)) / 2e-5
        error, dof = _welch(error_a / abs(slope), error_b / abs(slope), a.cov.dof, b.cov.dof)
        return found, float(error[0]), float(dof[0])

    return Difference(at, low, high, factor, _law_slopes(a, b), parameters=int(a.cov.free.sum() + b.cov.free.sum()))


def _law_slopes(a: Fitted, b: Fitted) -> Callable[[float], tuple[float, float]]:
    """dL / dlog x of both laws, by central difference."""

    def slope(fitted: Fitted, log_x: float) -> float:
        ends = fitted.problem.law.log_loss(np.array([[log_x - 1e-5, log_x + 1e-5]]), fitted.theta[None])[0]
        return float(np.diff(np.exp(ends))[0] / 2e-5)

    return lambda log_x: (slope(a, log_x), slope(b, log_x))


def _welch(error_a: Floats, error_b: Floats, dof_a: int, dof_b: int) -> tuple[Floats, Floats]:
    total = np.hypot(error_a, error_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (error_b / total) ** 2
        dof = 1 / ((1 - share) ** 2 / dof_a + share**2 / dof_b)
    return total, np.where(np.isfinite(dof), dof, min(dof_a, dof_b))


def target_gap(a: str, b: str, difference: Difference | None, ahead: Outlook | None, target: float) -> Gap | None:
    """The difference of B from A at `target`; None where nothing is known of it.

    Beyond the last common rung by the outlook, elsewhere by the fitted difference.
    """
    place = math.log(target)
    if ahead is not None and place > ahead.track.log_x[-1] + _SAME:
        return _gap_ahead(a, b, difference, ahead, target)
    if difference is None:
        return None
    value, error, dof = (float(part[0]) for part in difference.at(np.array([place])))
    return Gap(
        lever_arm_decades=max(0.0, place - difference.high, difference.low - place) / _DECADE,
        x=target,
        difference=interval(value, error, dof),
        equivalent_compute=_equivalent(difference, place),
        p_b_beats_a=float(difference.probability_b_better(np.array([place]))[0]),
        decision=decide((a, b), value, error, dof, difference.slopes(place)),
    )


def _gap_ahead(a: str, b: str, difference: Difference | None, ahead: Outlook, target: float) -> Gap:
    """One run of each is compared there; compute by the slopes of the recipes' own laws, where they are known."""
    place = math.log(target)
    spread = ahead.at(place)
    low, high = map(float, spread.quantiles(np.array([0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])))
    value, p = spread.expected, spread.p_b_wins
    slopes = None if difference is None else difference.slopes(place)
    lever = (place - float(ahead.track.log_x[-1])) / _DECADE
    factor = None if difference is None else _as_factor((value, low, high), difference, place)
    decision = decide_ahead((a, b), p, spread.gains, slopes)
    return Gap(lever, target, Estimate(value, spread.sd, (low, high)), factor, p, decision, BEYOND)


def _as_factor(differences: tuple[float, float, float], difference: Difference, place: float) -> Estimate | None:
    """Factors of x that change A's loss by so much: by its law's slope where it meets the fitted difference."""
    found = difference.factor(place)
    start, fitted = (0.0, 0.0) if found is None else (found[0], float(difference.at(np.array([place]))[0][0]))
    slope = (difference.slopes(place + start) or (math.nan, math.nan))[0]
    logs = [start + (part - fitted) / slope for part in differences] if slope < 0 else [math.nan]
    if not all(abs(part) < _LARGEST for part in logs):
        return None
    value, low, high = map(math.exp, logs)
    return Estimate(value, None, (high, low))


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
