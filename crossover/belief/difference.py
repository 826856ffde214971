"""What the rungs of two recipes say of their difference along x: the one mixture that every answer about a pair asks.

The difference D = loss(B) - loss(A) is followed along t = log x - log x_K, x_K the last rung that both have, in units
of b, the loss that the pair gains per e-fold of x there, so that floors, offsets and the loss's unit do not matter:

    D(t) / b = exp(-phi t) [l + W(t) + int_0^t v],    rung k: D(t_k) / b + r e_k + noise of its seeds

Its level l is free; W is a walk, of variance q^2 per e-fold; v is a slope of s.d. tau that is remembered for some
e-folds, or for ever, or there is none; every rung has a misfit of its own (how well it was tuned). Where nothing walks
and the slope lasts, this is the difference of two power laws of nearly one exponent phi above one floor; where all
walks, nothing but the last rung counts. Sizes theta = (log s, log tau/q, log r, phi), with s^2 = q^2 + tau^2, are
not fitted but averaged over, at points spread over their prior and weighted by how well they explain the rungs. A long
ladder is not taken at its whole word beyond it, for the future may be rougher than the past: its evidence counts to a
power below one there (the coarsened posterior of Miller and Dunson 2019), and every member is Student's t. What seeds
add to all rungs of a recipe alike is in the rungs and not in D; how much that is, the members differ in. Of a pair
nothing else is asked: what other recipes a table holds changes no answer.

The prior's constants are the sizes of published ladders, learned by `tests/decide/learn.py` as docs/decide.md says, in
units of b, so that none depends on a table's own units.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from scipy import special

from crossover.base.arrays import Floats
from crossover.belief.kernel import JITTER, Ints, Sizes, draws, forward, roots, spread_points
from crossover.belief.spread import UNBOUNDED, Spread, student_cdf


@dataclass(frozen=True)
class Prior:
    """What is expected of a pair's sizes theta before its rungs are seen."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    shares: tuple[float, ...]
    """Of each memory."""
    rungs: float
    """How many rungs' worth of evidence a ladder's own count for beyond it, at most."""


PRIOR = Prior(
    mean=(-2.64, 1.59, -4.4, 0.06),
    sd=(1.12, 0.99, 0.96, 0.38),
    shares=(0.08, 0.13, 0.18, 0.25, 0.36),
    rungs=1.58,
)

_R = 2  # log r among the sizes
_ALONE = (-3.0, 1.3)  # its mean and s.d. inside a ladder of single runs, whose noise is in it; held by `make calibrate`
_WHOLE = 0.3  # share of the whole ladder's slope in b
_APART = 0.4  # share of the difference itself in b: recipes that are far apart move far
MOST_RUNGS = 12
"""Of a track that is asked; more of them are merged."""
_POINTS = 192
_LEAST = 25  # points that must count, or new ones are drawn around those that do
_TURNS = 5
_WIDER = 1.25
_LEEWAY = 0.15
_LIGHT = 3e-3  # weight beside the heaviest, below which a point is left out
_FARTHEST = 5.0  # |D| outside the ladder at most, in units of b, per e-fold there and at its end
_SAME = 1e-6  # of log x: a place that is a rung
_GOLDEN = (math.sqrt(5) - 1) / 2
_DRAWS = 1000  # and as many mirrored


@dataclass(frozen=True)
class Lasting:
    """What the seeds of a recipe add to all its rungs alike."""

    variance: float
    """Of the differences, as the seeds show it."""
    freedom: int
    """Degrees of freedom of that variance, at least two."""

    def variances(self, count: int) -> Floats:
        """What it may be: scaled inverse chi-squares, at shares that fill the unit line evenly, [M]."""
        share = (0.5 + _GOLDEN * np.arange(count)) % 1
        found: Floats = self.variance * self.freedom / (2 * special.gammaincinv(self.freedom / 2, share))
        return found


@dataclass(frozen=True)
class Track:
    """Two recipes at the K >= 2 sizes that both were run at, ascending."""

    x: Floats
    difference: Floats
    """loss(B) - loss(A), means over runs."""
    loss: Floats
    """Mean of the two."""
    variance: Floats
    """Of the differences by the scatter of runs of one size; zero where there is one run."""
    noise: float
    """The same of the difference of a single run each."""
    lasting: Lasting | None = None

    @cached_property
    def log_x(self) -> Floats:
        """Natural logarithm of x."""
        logs: Floats = np.log(self.x)
        return logs

    @cached_property
    def unit(self) -> float:
        """b: loss gained per e-fold by the last three rungs, a share of the whole ladder's, and of the difference."""
        x, y, apart = (part[-3:] for part in (self.log_x, self.loss, self.difference))
        x = x - x.mean()
        near = float(x @ y / (x @ x))
        whole = float(self.loss[-1] - self.loss[0]) / float(self.log_x[-1] - self.log_x[0])
        parts = (near, _WHOLE * whole, _APART * math.sqrt(float(apart @ apart) / len(apart)))
        return math.hypot(*parts) + 1e-9 * (float(np.abs(self.loss).max()) or 1.0)

    def merged(self) -> "Track":
        """With at most 12 rungs: of a longer ladder neighbours are one, the more of them the farther from the top."""
        if len(self.x) <= MOST_RUNGS:
            return self
        share = 1 - np.sqrt((self.log_x[-1] - self.log_x) / (self.log_x[-1] - self.log_x[0]))
        steps = np.arange(MOST_RUNGS, 4 * MOST_RUNGS)[:, None]
        groups = np.cumsum(np.diff(np.minimum(share * steps, steps - 1).astype(int), prepend=0) > 0, axis=1)
        group = groups[np.flatnonzero(groups[:, -1] < MOST_RUNGS)[-1]]
        count = np.bincount(group)
        parts = (self.log_x, self.difference, self.loss, self.variance / count[group])
        log_x, difference, loss, variance = (np.bincount(group, part) / count for part in parts)
        return Track(np.exp(log_x), difference, loss, variance, self.noise, self.lasting)

    def without(self, rung: int) -> "Track | None":
        """The other rungs; None where fewer than two are left."""
        if len(self.log_x) < 3:
            return None
        kept = np.arange(len(self.x)) != rung
        x, variance = self.x[kept], self.variance[kept]
        return Track(x, self.difference[kept], self.loss[kept], variance, self.noise, self.lasting)


@dataclass(frozen=True)
class Members:
    """Sizes theta that may hold for a pair, each with what the rungs say by it; weights sum to one."""

    track: Track
    sizes: Sizes
    lower_KxKxM: Floats
    """Cholesky factor of the rungs' covariance."""
    solved_KxM: Floats
    """The rungs, solved by it."""
    evidence_M: Floats
    """Its logarithm."""
    weight_M: Floats

    @classmethod
    def of(cls, track: Track, sizes: Sizes) -> "Members":
        """Conditioned on the rungs, and weighted alike."""
        t, b, count = track.log_x - track.log_x[-1], track.unit, len(sizes.fade_M)
        covariance, diagonal = sizes.covariance(t[:, None], t), np.arange(len(t))
        covariance[diagonal, diagonal] += sizes.misfit_M + (track.variance[:, None] / b**2 + JITTER)
        if track.lasting:
            covariance += track.lasting.variances(count) / b**2
        lower = np.ascontiguousarray(np.linalg.cholesky(covariance.transpose(2, 0, 1)).transpose(1, 2, 0))
        solved = forward(lower, np.broadcast_to(track.difference[:, None, None] / b, (len(t), 1, count)))[:, 0]
        evidence = -0.5 * (solved**2).sum(0) - np.log(lower[diagonal, diagonal]).sum(0)
        return cls(track, sizes, lower, solved, evidence, np.full(count, 1 / count))

    def weighted(self, weight_M: Floats) -> "Members":
        """Those that count by new weights."""
        kept = weight_M > _LIGHT * weight_M.max()
        parts = (self.lower_KxKxM[..., kept], self.solved_KxM[:, kept], self.evidence_M[kept])
        return Members(self.track, self.sizes.of_members(kept), *parts, weight_M[kept] / weight_M[kept].sum())

    @property
    def times(self) -> Floats:
        """Of the rungs."""
        times: Floats = self.track.log_x - self.track.log_x[-1]
        return times

    def along(self, log_x: Floats, misfit: bool) -> tuple[Floats, Floats]:
        """Mean and variance of D / b, or of that and a rung's misfit, at places [n], [n, M]."""
        times, places = self.times, log_x - self.track.log_x[-1]
        across = self.sizes.covariance(times[:, None], places)
        variance = self.sizes.covariance(places, places)
        if misfit:
            own = self.sizes.misfit_M
            if self.track.noise:  # without repeated runs a misfit may as well be the noise of one
                across += own * (np.abs(times[:, None] - places) < _SAME)[:, :, None]
            variance += own
        known = forward(self.lower_KxKxM, across)
        mean = np.einsum("knm,km->nm", known, self.solved_KxM)
        return mean, np.maximum(variance - np.einsum("knm,knm->nm", known, known), 1e-12)

    def jointly(self, log_x: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean [M, n] and covariance [M, n, n] of D / b, and the size of what was subtracted to get it [M]."""
        places = log_x - self.track.log_x[-1]
        known = forward(self.lower_KxKxM, self.sizes.covariance(self.times[:, None], places))
        own = self.sizes.covariance(places[:, None], places)
        mean = np.einsum("knm,km->nm", known, self.solved_KxM)
        known_MxnxK = known.transpose(2, 1, 0)
        latent = own.transpose(2, 0, 1) - known_MxnxK @ known_MxnxK.transpose(0, 2, 1)
        return mean.T, latent, own.max((0, 1))


@dataclass(frozen=True)
class Outlook:
    """What the rungs of one pair say of its difference at any place."""

    track: Track
    prior: Prior = PRIOR

    @cached_property
    def beyond(self) -> Members:
        """For places beyond the last rung: a long ladder is not taken at its whole word."""
        return _members(self._seen, self.prior, min(1.0, self.prior.rungs / len(self.track.x)))

    @cached_property
    def inside(self) -> Members:
        """For places among the rungs, which speak for themselves."""
        if self.track.noise:
            return _members(self._seen, self.prior, 1.0)
        prior = _alone(self.prior)
        return _members(_see(self.track, prior), prior, 1.0)

    @cached_property
    def _seen(self) -> Members:
        return _see(self.track, self.prior)

    def at(self, log_x: float, runs: int | None = None) -> Spread:
        """The difference at a place, a rung's misfit included; of the means of `runs` runs of each, where it is said.

        Without `runs` it is that of the recipes, which as many runs as one likes would show. At a measured size with
        repeated runs the misfit is that of its rung, elsewhere one that nobody has seen.
        """
        rung = np.flatnonzero(np.abs(self.track.log_x - log_x) < _SAME)
        spread = self._rungs[rung[0]] if len(rung) else self._spread(log_x, misfit=True)
        return spread if runs is None else spread.with_noise(self.track.noise / runs)

    def itself(self, log_x: float) -> Spread:
        """The difference itself at a place, without the misfit of a rung."""
        return self._spread(log_x, misfit=False)

    @cached_property
    def misfit(self) -> float | None:
        """S.d. of a rung's own misfit, in losses, where rungs show more of it than was to be expected."""
        share = float(self.inside.weight_M @ self.inside.sizes.misfit_M)
        usual = math.exp(2 * (self.prior.mean[_R] + self.prior.sd[_R]))
        return self.track.unit * math.sqrt(share) if share > usual else None

    def lead(self, log_x: Floats) -> Floats:
        """P(D < 0) of the difference itself at ascending places [n]: a half where the recipes cross."""
        ahead = log_x > self.track.log_x[-1] + _SAME
        parts = [np.empty(0)]
        for places, beyond in ((log_x[~ahead], False), (log_x[ahead], True)):
            if len(places):
                members = self.beyond if beyond else self.inside
                mean, variance = members.along(places, misfit=False)
                parts.append(student_cdf(-mean / np.sqrt(variance)) @ members.weight_M)
        return np.concatenate(parts)

    def opposed(self, log_x: Floats) -> tuple[Floats, tuple[float, float]]:
        """Of places [n] among the rungs: P(D > 0 at one and D < 0 at another) [n, n]; P(D > 0 at all), P(D < 0 at all).

        By draws from all places at once; each has its mirror image, so that exchanged recipes give exchanged answers.
        """
        members = self.inside
        mean, latent, size = members.jointly(log_x)
        member = np.searchsorted(np.cumsum(members.weight_M), (np.arange(_DRAWS) + 0.5) / _DRAWS)
        used, member = np.unique(np.minimum(member, len(members.weight_M) - 1), return_inverse=True)
        normal, width = draws(_DRAWS, len(log_x))
        off = np.einsum("dij,dj->di", roots(latent[used], size[used])[member], normal) * width[:, None]
        positive = np.concatenate([mean[used][member] + off > 0, mean[used][member] - off > 0]).astype(float)
        everywhere = float(positive.all(1).mean()), float((1 - positive).all(1).mean())
        return positive.T @ (1 - positive) / len(positive), everywhere

    def tells(self, log_x: float, target: float, runs: int = 1) -> float:
        """Share of the variance of the difference at a target that `runs` more pairs at a place would take off."""
        members = self.beyond
        places = np.array([log_x, target])
        mean, latent, _ = members.jointly(places)
        size = np.sqrt(mean**2 + 2 * latent[:, [0, 1], [0, 1]])
        within = np.minimum(1.0, self._most(places) / (self.track.unit * size))  # what is out of bounds counts as these
        mean, latent = mean * within, latent * within[:, :, None] * within[:, None, :]
        off = mean - members.weight_M @ mean
        spread = 2 * latent + off[:, :, None] * off[:, None, :]
        cov = self.track.unit**2 * np.einsum("m,mij->ij", members.weight_M, spread)
        misfit = 2 * self.track.unit**2 * float(members.weight_M @ members.sizes.misfit_M)
        return float(cov[0, 1] ** 2 / (cov[0, 0] + misfit + self.track.noise / runs) / cov[1, 1])

    @cached_property
    def _rungs(self) -> list[Spread]:
        """At every rung."""
        return self._spreads(self.inside, self.track.log_x, misfit=True)

    def _spread(self, log_x: float, misfit: bool) -> Spread:
        members = self.beyond if log_x > self.track.log_x[-1] + _SAME else self.inside
        return self._spreads(members, np.array([log_x]), misfit)[0]

    def _spreads(self, members: Members, log_x: Floats, misfit: bool) -> list[Spread]:
        mean, variance = members.along(log_x, misfit)
        means, scales = self.track.unit * mean, self.track.unit * np.sqrt(variance)
        parts = zip(means, scales, self._most(log_x).tolist(), strict=True)
        return [Spread(members.weight_M, *part) for part in parts]

    def _most(self, log_x: Floats) -> Floats:
        """How large the difference can be at places [n].

        Where it is thought to fade or to grow by a power of x, a few members let it grow without end, and far out
        these alone would make every mean. Of 12,000 questions about published ladders of language and vision models
        none went farther than 1.8 units; nothing is bounded below what the rungs themselves differ by.
        """
        rungs = self.track.log_x
        outside = np.maximum(log_x - rungs[-1], rungs[0] - log_x)
        largest = max(self.track.unit * _FARTHEST, float(np.abs(self.track.difference).max()))
        return np.where(outside > _SAME, largest * (1 + outside), UNBOUNDED)


def _alone(prior: Prior) -> Prior:
    """For rungs of single runs."""
    mean, sd = (list(part) for part in (prior.mean, prior.sd))
    mean[_R], sd[_R] = _ALONE
    return replace(prior, mean=tuple(mean), sd=tuple(sd))


@cache
def _points(prior: Prior) -> tuple[Floats, Floats, Ints]:
    """Standard normals that fill four dimensions evenly, sizes theta by them, and memories, by their shares as even."""
    places = spread_points(_POINTS, 5)
    normal = special.ndtri(places[:, :4])
    theta = np.array(prior.mean) + normal * np.array(prior.sd)
    return normal, theta, np.searchsorted(np.cumsum(prior.shares)[:-1], places[:, 4])


def _see(track: Track, prior: Prior) -> Members:
    """Points spread over a prior, conditioned on the rungs."""
    _, theta, memory = _points(prior)
    return Members.of(track, Sizes.of(theta, memory))


def _members(seen: Members, prior: Prior, power: float) -> Members:
    """Those points, weighted; where too few of them count, others from around those that do or nearly do."""
    normal, theta, memory = _points(prior)
    members, sd = seen, np.array(prior.sd)
    for turn in range(_TURNS):
        expected, proposed = (-0.5 * (part**2).sum(1) for part in ((theta - np.array(prior.mean)) / sd, normal))
        score = power * members.evidence_M + expected - proposed
        weight = _weights(score)
        if 1 / (weight**2).sum() >= _LEAST or turn == _TURNS - 1:
            break
        theta = _around(theta, _weights(score, _LEAST), sd, normal)
        members = Members.of(seen.track, Sizes.of(theta, memory))
    return members.weighted(weight)


def _weights(score: Floats, least: float = 0.0) -> Floats:
    """By their logarithms; of these as large a share as lets so many of them count."""
    score = score - score.max()
    while True:
        weight: Floats = np.exp(score)
        weight /= weight.sum()
        if 1 / (weight**2).sum() >= least:
            return weight
        score *= 0.7


def _around(theta_Mx4: Floats, weight_M: Floats, sd: Floats, normal_Mx4: Floats) -> Floats:
    """Points about weighted ones: somewhat wider, and with some of the prior's own width."""
    middle = weight_M @ theta_Mx4
    off = theta_Mx4 - middle
    spread = _WIDER**2 * (off.T * weight_M) @ off + np.diag((_LEEWAY * sd) ** 2)
    points: Floats = middle + normal_Mx4 @ np.linalg.cholesky(spread).T
    return points
