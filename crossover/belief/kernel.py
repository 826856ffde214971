"""The Gaussian process of a difference along t: its covariances at sizes theta, and their algebra for many at once.

    exp(-phi t) [l + W(t) + int_0^t v]  and a rung's own misfit r e;  theta = (log s, log tau/q, log r, phi)

as `crossover.belief.difference` says. Times are zero at the last rung; members are handled together, on the last axis.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats

Ints = npt.NDArray[np.int_]

MEMORY = (0.0, 2.0, 5.0, 15.0, math.inf)
"""E-folds for which a slope is remembered; of the first there is none."""
JITTER = 1e-9
"""Added to variances in units of b^2, so that covariances of nearly one place can be factored."""
LEVEL = 10.0
"""S.d. of the level, in units of b."""


@cache
def spread_points(count: int, dimensions: int) -> Floats:
    """Points that fill the unit cube evenly, [n, d]: the additive recurrence of the generalised golden ratio."""
    ratio = 1.5
    for _ in range(60):  # to the root of g^(d + 1) = g + 1
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    places: Floats = (0.5 + np.outer(np.arange(1, count + 1), ratio ** -np.arange(1.0, dimensions + 1))) % 1
    return places


@cache
def draws(times: int, count: int) -> tuple[Floats, Floats]:
    """Standard normals [times, n], and what makes Student's t of them [times]; always the same."""
    generator = np.random.default_rng(0)
    return generator.standard_normal((times, count)), np.sqrt(4 / generator.chisquare(4, times))


def forward(lower_KxKxM: Floats, right_KxnxM: Floats) -> Floats:
    """Solve L X = R for M lower triangles at once."""
    out = np.array(right_KxnxM, float)
    for k, row in enumerate(lower_KxKxM):
        if k:
            out[k] -= np.einsum("jm,jnm->nm", row[:k], out[:k])
        out[k] /= row[k]
    return out


@dataclass(frozen=True)
class Sizes:
    """Sizes theta of M members, as covariances are made of them."""

    parts_6xM: Floats
    """Variance of the level, of the walk per e-fold, and of a slope of each memory."""
    fade_M: Floats
    misfit_M: Floats
    """Variance of a rung's own."""

    @classmethod
    def of(cls, theta_Mx4: Floats, memory_M: Ints) -> "Sizes":
        """From log s, log tau/q, log r, phi, and which memory."""
        total, ratio = np.exp(2 * theta_Mx4[:, 0]), np.exp(2 * theta_Mx4[:, 1]) * (memory_M > 0)
        walk = total / (1 + ratio)
        slopes = walk * ratio * (memory_M == np.arange(1, len(MEMORY))[:, None])
        parts = np.vstack([np.full(len(walk), LEVEL**2), walk, slopes])
        return cls(parts, theta_Mx4[:, 3], np.exp(2 * theta_Mx4[:, 2]))

    def of_members(self, kept: npt.NDArray[np.bool_]) -> "Sizes":
        """Of some of them."""
        return Sizes(self.parts_6xM[:, kept], self.fade_M[kept], self.misfit_M[kept])

    def covariance(self, a: Floats, c: Floats) -> Floats:
        """Of D / b between times whose shapes go together, [..., M]."""
        unit = unit_covariances(a, c)
        covariance: Floats = (unit.reshape(len(unit), -1).T @ self.parts_6xM).reshape(*unit.shape[1:], -1)
        for times in (a, c):
            covariance *= np.exp(-times[..., None] * self.fade_M)
        return covariance


def unit_covariances(a: Floats, c: Floats) -> Floats:
    """Of a level, a walk, and what slopes of each memory add up to, all of unit size, between two times [6, ...].

    The walk is zero at the last rung and goes both ways from it. A slope v is an Ornstein-Uhlenbeck process of unit
    variance, and what counts is int_0^a v.
    """
    product, far, near = a * c, np.abs(a), np.abs(c)
    least, same_side = np.minimum(far, near), product > 0
    unit = np.empty((len(MEMORY) + 1, *product.shape))
    unit[0] = 1.0
    unit[1] = np.where(same_side, least, 0.0)
    for of, memory in zip(unit[2:-1], MEMORY[1:-1], strict=True):
        from_far, from_near = np.exp(far / -memory), np.exp(near / -memory)
        same = least * (2 / memory) - 1 + from_far + from_near - np.exp(np.abs(far - near) / -memory)
        of[...] = memory**2 * np.where(same_side, same, -(1 - from_far) * (1 - from_near))
    unit[-1] = product
    return unit


def roots(covariance: Floats, size: Floats) -> Floats:
    """Cholesky factors of [M, n, n]: what is left of covariances of a size [M], put below zero perhaps by rounding."""
    diagonal, jitter = np.arange(covariance.shape[1]), JITTER
    while True:
        covariance[:, diagonal, diagonal] += jitter * size[:, None]
        try:
            return np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            jitter *= 30
