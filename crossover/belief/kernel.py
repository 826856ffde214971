"""The Gaussian process of a difference along t: its covariances at sizes theta, and their algebra for many at once.

    exp(-phi t) [l + W(t) + int_0^t v]  and a rung's own misfit r e;  theta = (log s, log tau/q, log r, phi)

as `crossover.belief.difference` says. M members are handled together; times are zero at the last rung.
"""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.base.arrays import Floats

Ints = npt.NDArray[np.int_]

MEMORY = (0.0, 2.0, 5.0, 15.0, math.inf)
"""E-folds for which a slope is remembered; of the first there is none."""
JITTER = 1e-9
"""Added to variances in units of b^2, so that covariances of nearly one place can be factored."""
LEVEL = 10.0
"""S.d. of the level, in units of b."""


def spread_points(count: int) -> Floats:
    """Normal points that fill four dimensions evenly: the additive recurrence of the generalised golden ratio."""
    ratio = 1.1673039782614187  # the root of g^5 = g + 1
    places = (0.5 + np.outer(np.arange(1, count + 1), ratio ** -np.arange(1.0, 5.0))) % 1
    found: Floats = special.ndtri(places)
    return found


@cache
def draws(times: int, count: int) -> tuple[Floats, Floats]:
    """Standard normals [times, n], and what makes Student's t of them [times]; always the same."""
    generator = np.random.default_rng(0)
    return generator.standard_normal((times, count)), np.sqrt(4 / generator.chisquare(4, times))


def forward(lower: Floats, right: Floats) -> Floats:
    """Solve L X = R for M lower triangles at once; [M, K, n]."""
    out = np.array(right, float)
    for k in range(out.shape[1]):
        if k:
            out[:, k] -= np.matmul(lower[:, k, None, :k], out[:, :k])[:, 0]
        out[:, k] /= lower[:, k, k, None]
    return out


def own_misfit(theta_Mx4: Floats) -> Floats:
    """Variance of a rung's own misfit, [M, 1]."""
    variance: Floats = np.exp(2 * theta_Mx4[:, 2:3])
    return variance


def kernel(a: Floats, c: Floats, theta_Mx4: Floats, memory_M: Ints) -> Floats:
    """Covariance of D / b between times, [M, m, n]."""
    walk, slope = _sizes(theta_Mx4, memory_M)
    covariance: Floats = _trends(a[:, None], c)[memory_M]
    covariance *= slope[:, None, None]
    covariance += walk[:, None, None] * _walk(a[:, None], c)
    covariance += LEVEL**2
    fade = theta_Mx4[:, 3, None]
    covariance *= np.exp(-fade * a)[:, :, None]
    covariance *= np.exp(-fade * c)[:, None, :]
    return covariance


def variance_of(a: Floats, theta_Mx4: Floats, memory_M: Ints) -> Floats:
    """Variance of D / b at times, [M, n]."""
    walk, slope = _sizes(theta_Mx4, memory_M)
    variance: Floats = LEVEL**2 + walk[:, None] * np.abs(a) + slope[:, None] * _trends(a, a)[memory_M]
    return variance * np.exp(-2 * theta_Mx4[:, 3, None] * a)


def _sizes(theta_Mx4: Floats, memory_M: Ints) -> tuple[Floats, Floats]:
    """Variance of the walk per e-fold, and of the slope."""
    total, ratio = np.exp(2 * theta_Mx4[:, 0]), np.exp(2 * theta_Mx4[:, 1]) * (memory_M > 0)
    return total / (1 + ratio), total * ratio / (1 + ratio)


def _walk(a: Floats, c: Floats) -> Floats:
    """Covariance of a walk that is zero at the last rung and goes both ways from it."""
    shared: Floats = np.where(a * c > 0, np.minimum(np.abs(a), np.abs(c)), 0.0)
    return shared


def _trends(a: Floats, c: Floats) -> Floats:
    """Covariance of int_0^a v and int_0^c v for an Ornstein-Uhlenbeck slope v of unit variance, for every memory."""
    product = a * c
    memory = np.array(MEMORY[1:-1]).reshape(-1, *(1,) * product.ndim)
    far, near = np.abs(a) / memory, np.abs(c) / memory
    from_far, from_near = np.exp(-far), np.exp(-near)
    same = 2 * np.minimum(far, near) - 1 + from_far + from_near - np.exp(-np.abs(far - near))
    forgotten = memory**2 * np.where(product > 0, same, -(1 - from_far) * (1 - from_near))
    return np.concatenate([np.zeros_like(product)[None], forgotten, product[None]])


def roots(covariance: Floats, size: Floats) -> Floats:
    """Cholesky factors of M covariances, differences of ones of a size [M] that rounding may have put below zero."""
    diagonal, jitter = np.arange(covariance.shape[1]), JITTER
    while True:
        covariance[:, diagonal, diagonal] += jitter * size[:, None]
        try:
            return np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            jitter *= 30
