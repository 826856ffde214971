"""What curves of small runs say of another size's: one Gaussian process over size, effective tokens and a falling rate.

    loss = level + power law in tokens + power law in size - what a falling rate paid
           + a curve that all sizes share + one that changes with size + how a fall of the rate pays
           + a run's level and drift

Coefficients and curves have Gaussian priors and are integrated out; eleven numbers of the kernel, among them the
exponent of tokens and how far a larger model starts later, are chosen by the likelihood of the ladder with priors on
each. So the forecast of a run, what it should do next given what it has done, and how far it may be off, are all one
Gaussian.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from crossover.base.arrays import Floats
from crossover.curves.course import PAYS, Course

_SIZE_EXPONENT = 0.3  # of the power law in size; others are within reach of the curve that changes with size
_COEFFICIENTS = np.array([3.0, 3.0, 2.0, 0.5, *[0.5 / len(PAYS) ** 0.5] * len(PAYS), *[0.3] * len(PAYS)])
"""S.d. of level, tokens, size, their product, what a fall pays, and how that changes with log size; in units."""
_FALLING = 0.5  # s.d. of how a fall pays, per share of it, in units
_FALLING_RANGE = (0.3, 2.0)  # along the fall, and along log size
_SLOPE = 0.15  # s.d. of how losses change per e-fold of size beyond the power law, in units
_MEAN = np.log([0.3, 1.0, 0.3, 1.0, 0.15, 1.0, 2.0, 0.03, 0.7, 0.02, 1.0])
_SD = np.array([0.4, 0.1, 1.0, 0.6, 0.5, 0.6, 0.2, 0.8, 0.6, 0.8, 0.5])
_UNIT = 4.0  # nats at the end of the runs that the priors were chosen on
_STEPS = 40
_REACH = 4.0  # prior standard deviations within which the numbers are looked for
_NUGGET = 1e-5  # losses are foreseen to no better than .003 units, however smooth the curves


@dataclass(frozen=True)
class _Rows:
    """Blocks of several runs, [m] each; run -1 is one that is none of the ladder's."""

    log_s: Floats
    log_n: Floats
    paid: Floats
    run: Floats

    @classmethod
    def of(cls, courses: Sequence[Course], first: int = 0) -> "_Rows":
        return cls(
            np.concatenate([item.log_s for item in courses]),
            np.concatenate([np.full(len(item.x), item.log_n) for item in courses]),
            np.concatenate([item.paid for item in courses]),
            np.concatenate([np.full(len(item.x), first + i) for i, item in enumerate(courses)]),
        )


@dataclass(frozen=True)
class _Kernel:
    """Covariance of losses in units, at theta."""

    theta: Floats
    """Logs of: exponent of tokens; [1], itself: delay of a size, e-folds of tokens per e-fold of size; s.d. and range
    of the shared curve; of the one that changes with size, and its range in log size; of a run's drift; s.d. of a run's
    level; noise, as a multiple of what the curves show."""
    centre: tuple[float, float]
    """Log size and log effective tokens."""

    def between(self, a: _Rows, b: _Rows) -> Floats:
        """[m, n]."""
        (basis_a, u_a, n_a), (basis_b, u_b, n_b) = self._at(a), self._at(b)
        _, _, shared, far, own, near, sizes, drift, lasts, level, _ = np.exp(self.theta)
        du, dn = (u_a[:, None] - u_b) ** 2, (n_a[:, None] - n_b) ** 2
        total = (basis_a * _COEFFICIENTS**2) @ basis_b.T
        total += shared**2 * np.exp(-0.5 * du / far**2)
        by_size = own**2 * np.exp(-0.5 * dn / sizes**2) + _SLOPE**2 * n_a[:, None] * n_b
        total += by_size * np.exp(-0.5 * du / near**2)
        fall_a, fall_b = a.paid[:, 0], b.paid[:, 0]
        if fall_a.any() and fall_b.any():
            along, across = _FALLING_RANGE
            alike = np.exp(-0.5 * (fall_a[:, None] - fall_b) ** 2 / along**2 - 0.5 * dn / across**2)
            total += _FALLING**2 * fall_a[:, None] * fall_b * alike
        apart = np.abs(a.log_s[:, None] - b.log_s)
        total += np.where(a.run[:, None] == b.run, drift**2 * np.exp(-apart / lasts) + level**2, 0.0)
        result: Floats = total
        return result

    def _at(self, rows: _Rows) -> tuple[Floats, Floats, Floats]:
        n = rows.log_n - self.centre[0]
        u = rows.log_s - self.centre[1] - self.theta[1] * n
        tokens, size = np.exp(-np.exp(self.theta[0]) * u), np.exp(-_SIZE_EXPONENT * n)
        columns = [np.ones_like(u), tokens, size, size * tokens, *(-rows.paid.T), *(-rows.paid.T * n)]
        return np.stack(columns, 1), u, n


@dataclass(frozen=True)
class Forecast:
    """A run's losses before they come: mean [M] and covariance [M, M] of its blocks, noise included."""

    mean: Floats
    cov: Floats

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Forecast":
        """Of some blocks."""
        return Forecast(self.mean[chosen], self.cov[np.ix_(chosen, chosen)])

    @property
    def sd(self) -> Floats:
        """Of each block."""
        result: Floats = np.sqrt(np.diag(self.cov))
        return result

    def innovations(self, loss: Floats) -> Floats:
        """How far the first m blocks are from what all before them and the ladder say, in standard deviations, [m]."""
        count = len(loss)
        lower = cholesky(self.cov[:count, :count], lower=True)
        result: Floats = solve_triangular(lower, loss - self.mean[:count], lower=True)
        return result

    def after(self, loss: Floats) -> "Forecast":
        """Of the blocks that are left, once the first m have come."""
        count = len(loss)
        lower = cholesky(self.cov[:count, :count], lower=True)
        across = solve_triangular(lower, self.cov[:count, count:], lower=True)
        moved = across.T @ solve_triangular(lower, loss - self.mean[:count], lower=True)
        return Forecast(self.mean[count:] + moved, self.cov[count:, count:] - across.T @ across)


@dataclass(frozen=True)
class Ladder:
    """A process after the curves of small runs."""

    kernel: _Kernel
    rows: _Rows
    lower: Floats
    """Cholesky factor of the covariance of their blocks."""
    turned: Floats
    """The same, applied inversely to their losses in units less the mean."""
    mean: float
    unit: float

    def reaches(self, log_n: float) -> bool:
        """Whether its runs say anything of a size: of that one, or of two others."""
        sizes = np.unique(self.rows.log_n)
        return len(sizes) > 1 or float(sizes[0]) == log_n

    def forecast(self, course: Course) -> Forecast:
        """Of a run that is none of the ladder's."""
        rows = _Rows.of([course], first=-1)
        across = solve_triangular(self.lower, self.kernel.between(self.rows, rows), lower=True)
        cov = self.kernel.between(rows, rows) - across.T @ across
        noise = np.exp(self.kernel.theta[-1]) * course.noise / self.unit
        cov[np.diag_indices_from(cov)] += noise**2 + _NUGGET
        return Forecast(self.unit * (self.mean + across.T @ self.turned), self.unit**2 * cov)


def climb(courses: Sequence[Course], coarse: Sequence[Course] | None = None) -> Ladder:
    """The process after runs of a ladder; its numbers are chosen on `coarse`, the same runs in fewer blocks."""
    chosen = courses if coarse is None else coarse
    unit = _unit(courses)
    rows = _Rows.of(chosen)
    centre = (float(np.median(np.unique(rows.log_n))), float(rows.log_s.mean()))
    loss, noise = _losses(chosen, unit)
    bounds = optimize.Bounds(_MEAN - _REACH * _SD, _MEAN + _REACH * _SD)
    found = optimize.minimize(
        _misfit, _MEAN, args=(centre, rows, loss, noise), method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}
    )
    kernel, rows = _Kernel(found.x, centre), _Rows.of(courses)
    loss, noise = _losses(courses, unit)
    lower = _factor(kernel, rows, noise)
    mean = float(loss.mean())
    return Ladder(kernel, rows, lower, solve_triangular(lower, loss - mean, lower=True), mean, unit)


def _unit(courses: Sequence[Course]) -> float:
    """What the priors' numbers are in: a share of the loss at the end, or of its range where that is about nothing."""
    level = abs(float(np.median([item.loss[-1] for item in courses])))
    span = float(np.ptp(np.concatenate([item.loss for item in courses])))
    return max(level if level > 0.1 * span else span, 1e-9) / _UNIT


def _losses(courses: Sequence[Course], unit: float) -> tuple[Floats, Floats]:
    return tuple(np.concatenate([getattr(item, name) for item in courses]) / unit for name in ("loss", "noise"))  # type: ignore[return-value]


def _factor(kernel: _Kernel, rows: _Rows, noise: Floats) -> Floats:
    cov = kernel.between(rows, rows)
    cov[np.diag_indices_from(cov)] += (np.exp(kernel.theta[-1]) * noise) ** 2 + _NUGGET
    result: Floats = cholesky(cov, lower=True)
    return result


def _misfit(theta: Floats, centre: tuple[float, float], rows: _Rows, loss: Floats, noise: Floats) -> float:
    """Minus the log likelihood and the log prior of theta, but for constants."""
    try:
        lower = _factor(_Kernel(theta, centre), rows, noise)
    except LinAlgError:
        return 1e6
    turned = solve_triangular(lower, loss - loss.mean(), lower=True)
    return float(0.5 * turned @ turned + np.log(np.diag(lower)).sum() + 0.5 * (((theta - _MEAN) / _SD) ** 2).sum())
