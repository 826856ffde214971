"""What the rungs of two recipes say of their difference beyond the runs: one mixture, for `compare` and `predict`.

The difference D = loss(B) - loss(A) is followed along t = log x - log x_K, x_K the last rung that both have, in units
of b, the loss that the pair gains per e-fold of x there, so that floors, offsets and the loss's unit do not matter:

    D(t) / b = exp(-phi t) [l + W(t) + int_0^t v],    rung k: D(t_k) / b + r exp(-psi t_k) e_k + noise of its seeds

Its level l is free; W is a walk, of variance q^2 per e-fold; v is a slope of s.d. tau that is remembered for some
e-folds, or for ever, or there is none; every rung has a misfit of its own (how well it was tuned). Where nothing walks
and the slope lasts, this is the difference of two power laws of nearly one exponent phi above one floor; where all
walks, nothing but the last rung counts. Sizes theta = (log s, log tau/q, log r, phi, psi), with s^2 = q^2 + tau^2, are
not fitted but averaged over, at points spread over their prior and weighted by how well they explain the rungs. The
future may be rougher than the past, so every member is Student's t. Of a pair nothing else is asked: what other recipes
a table holds changes no answer.

The prior's constants were chosen by hand on the ladders of docs/decide.md, which says how well they do there; on no
others. They are the sizes of published ladders, in units of b, so none depends on a table's own units.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.base.arrays import Floats

Ints = npt.NDArray[np.int_]

MEAN = np.array([-1.8, 1.3, -4.4, 0.2, 0.1])
"""Prior mean of theta."""
SPREAD = np.array([1.1, 1.27, 1.7, 0.3, 0.18])
"""Its s.d."""
MEMORY = (0.0, 5.0, math.inf)
"""E-folds for which a slope is remembered; of the first there is none."""
SHARES = np.array([0.7, 0.15, 0.15])
"""Prior of the memories."""
FREEDOM = 4.0
"""Of Student's t."""

_LEVEL = 10.0  # s.d. of the level, in units of b
_WHOLE = 0.3  # share of the whole ladder's slope in b
_APART = 0.4  # share of the difference itself in b: recipes that are far apart move far
_RUNGS = 12  # the last ones, that are looked at
_POINTS = 510
_LEAST = 40  # points that must count, or new ones are drawn around those that do
_LIGHT = 1e-4
_JITTER = 1e-9


@dataclass(frozen=True)
class Track:
    """Two recipes at the K >= 2 sizes that both were run at, ascending."""

    log_x: Floats
    difference: Floats
    """loss(B) - loss(A), means over runs."""
    loss: Floats
    """Mean of the two."""
    variance: Floats
    """Of the differences by the scatter of runs of one size; zero where there is one run."""
    noise: float
    """The same of the difference of a single run each."""

    @cached_property
    def unit(self) -> float:
        """b: loss gained per e-fold by the last three rungs, a share of the whole ladder's, and of the difference."""
        x, y, apart = (part[-3:] for part in (self.log_x, self.loss, self.difference))
        x = x - x.mean()
        near = float(x @ y / (x @ x))
        whole = float(self.loss[-1] - self.loss[0]) / float(self.log_x[-1] - self.log_x[0])
        parts = (near, _WHOLE * whole, _APART * math.sqrt(float(apart @ apart) / len(apart)))
        return math.hypot(*parts) + 1e-9 * (1 + float(np.abs(self.loss).max()))


@dataclass(frozen=True)
class Spread:
    """What one mean of runs each will differ by at one place: a mixture of Student's t."""

    weight: Floats
    mean: Floats
    scale: Floats
    freedom: float

    @property
    def p_b_wins(self) -> float:
        """P(B's loss is the lower one)."""
        return float(self.weight @ special.stdtr(self.freedom, -self.mean / self.scale))

    @property
    def expected(self) -> float:
        """Mean difference."""
        return float(self.weight @ self.mean)

    @property
    def sd(self) -> float:
        """Standard deviation."""
        within = self.scale**2 * self.freedom / (self.freedom - 2)
        return math.sqrt(float(self.weight @ (within + (self.mean - self.expected) ** 2)))

    def quantiles(self, shares: Floats) -> Floats:
        """By bisection: each lies between the least and the largest of its members'."""
        ends = self.mean[:, None] + self.scale[:, None] * special.stdtrit(self.freedom, shares)
        low, high = ends.min(0), ends.max(0)
        for _ in range(30):
            middle = (low + high) / 2
            score = (middle - self.mean[:, None]) / self.scale[:, None]
            below = self.weight @ special.stdtr(self.freedom, score) < shares
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found: Floats = (low + high) / 2
        return found

    @property
    def gains(self) -> tuple[float, float]:
        """E of max(D, 0) and of max(-D, 0): what is given away by choosing B, and by choosing A."""
        z, n = self.mean / self.scale, self.freedom
        log = special.gammaln((n + 1) / 2) - special.gammaln(n / 2) - (n + 1) / 2 * np.log1p(z * z / n)
        peak = self.scale * np.exp(log) / math.sqrt(n * math.pi) * (n + z * z) / (n - 1)
        above = peak + self.mean * special.stdtr(n, z)
        return float(self.weight @ above), float(self.weight @ (above - self.mean))


@dataclass(frozen=True)
class Outlook:
    """What the rungs of one pair say, by members with weights that sum to one."""

    track: Track
    theta_Mx5: Floats
    memory_M: Ints
    weight_M: Floats

    def at(self, log_x: float, runs: int = 1) -> Spread:
        """The difference of the means of `runs` runs of each at a place."""
        t, place, b = _times(self.track), np.array([log_x - self.track.log_x[-1]]), self.track.unit
        lower, solved, _ = _explain(self.track, self.theta_Mx5, self.memory_M)
        across = _kernel(t, place, self.theta_Mx5, self.memory_M)
        known = _forward(lower, across)[:, :, 0]
        here = _kernel(place, place, self.theta_Mx5, self.memory_M)[:, 0, 0]
        latent = np.maximum(here - (known**2).sum(1), 1e-12)
        total = latent + _misfit(place, self.theta_Mx5)[:, 0] + self.track.noise / runs / b**2
        return Spread(self.weight_M, b * (known * solved).sum(1), b * np.sqrt(total), FREEDOM)


def outlook(track: Track) -> Outlook:
    """Members from the prior; where too few of them count, from around those that do."""
    standard, memory = _points(_POINTS), np.arange(_POINTS) % len(MEMORY)
    theta, log_prior = MEAN + standard * SPREAD, np.log(SHARES)[memory]
    for _ in range(4):
        log = _explain(track, theta, memory)[2] + log_prior
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        if 1 / (weight**2).sum() >= _LEAST:
            break
        centre = weight @ theta
        theta = centre + standard * (1.5 * np.sqrt(weight @ (theta - centre) ** 2) + 0.15 * SPREAD)
        prior, proposed = (-0.5 * (part**2).sum(1) for part in ((theta - MEAN) / SPREAD, standard))
        log_prior = prior - proposed + np.log(SHARES)[memory]
    kept = weight > _LIGHT
    return Outlook(track, theta[kept], memory[kept], weight[kept] / weight[kept].sum())


def _points(count: int) -> Floats:
    """Normal points that fill five dimensions evenly: the additive recurrence of the generalised golden ratio."""
    ratio = 1.1347241384015194  # the root of g^6 = g + 1
    places = (0.5 + np.outer(np.arange(1, count + 1), ratio ** -np.arange(1.0, 6.0))) % 1
    found: Floats = special.ndtri(places)
    return found


def _times(track: Track) -> Floats:
    times: Floats = track.log_x[-_RUNGS:] - track.log_x[-1]
    return times


def _explain(track: Track, theta_Mx5: Floats, memory_M: Ints) -> tuple[Floats, Floats, Floats]:
    """Cholesky factor of the rungs' covariance [M, K, K], the rungs solved by it [M, K], and log evidence [M]."""
    t, b = _times(track), track.unit
    covariance = _kernel(t, t, theta_Mx5, memory_M)
    diagonal = np.arange(len(t))
    covariance[:, diagonal, diagonal] += _misfit(t, theta_Mx5) + track.variance[-_RUNGS:] / b**2 + _JITTER
    lower = np.linalg.cholesky(covariance)
    rungs = np.broadcast_to(track.difference[-_RUNGS:, None] / b, (len(theta_Mx5), len(t), 1))
    solved = _forward(lower, rungs)[:, :, 0]
    evidence = -0.5 * (solved**2).sum(1) - np.log(lower[:, diagonal, diagonal]).sum(1)
    return lower, solved, evidence


def _forward(lower: Floats, right: Floats) -> Floats:
    """Solve L X = R for M lower triangles at once; [M, K, n]."""
    out = np.array(right, float)
    for k in range(out.shape[1]):
        if k:
            out[:, k] -= np.matmul(lower[:, k, None, :k], out[:, :k])[:, 0]
        out[:, k] /= lower[:, k, k, None]
    return out


def _misfit(t: Floats, theta_Mx5: Floats) -> Floats:
    """Variance of a rung's own misfit, [M, n]."""
    variance: Floats = np.exp(2 * (theta_Mx5[:, 2:3] - theta_Mx5[:, 4:5] * t))
    return variance


def _kernel(a: Floats, c: Floats, theta_Mx5: Floats, memory_M: Ints) -> Floats:
    """Covariance of D / b between times, [M, m, n]."""
    total, ratio = np.exp(2 * theta_Mx5[:, 0]), np.exp(2 * theta_Mx5[:, 1]) * (memory_M > 0)
    walk, slope = total / (1 + ratio), total * ratio / (1 + ratio)
    trends = np.stack([_trend(a[:, None], c, memory) for memory in MEMORY])
    inner = _LEVEL**2 + walk[:, None, None] * _walk(a[:, None], c) + slope[:, None, None] * trends[memory_M]
    fade = theta_Mx5[:, 3, None]
    covariance: Floats = inner * np.exp(-fade * a)[:, :, None] * np.exp(-fade * c)[:, None, :]
    return covariance


def _walk(a: Floats, c: Floats) -> Floats:
    """Covariance of a walk that is zero at the last rung and goes both ways from it."""
    shared: Floats = np.where(a * c > 0, np.minimum(np.abs(a), np.abs(c)), 0.0)
    return shared


def _trend(a: Floats, c: Floats, memory: float) -> Floats:
    """Covariance of int_0^a v and int_0^c v for an Ornstein-Uhlenbeck slope v of unit variance."""
    if math.isinf(memory):
        return a * c
    if memory == 0:
        return np.zeros_like(a * c)
    far, near = np.abs(a) / memory, np.abs(c) / memory
    same = 2 * np.minimum(far, near) - 1 + np.exp(-far) + np.exp(-near) - np.exp(-np.abs(far - near))
    other = -np.expm1(-far) * np.expm1(-near)
    covariance: Floats = memory**2 * np.where(a * c > 0, same, other)
    return covariance
