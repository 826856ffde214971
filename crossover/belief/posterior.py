"""What runs so far say of a law, as weighted members: uncertainty of its shape, of its coefficients and of its fit.

A law is linear in its coefficients c once its exponents are fixed, so each point of a grid of exponents is a Bayesian
linear regression in closed form (variable projection, Golub and Pereyra 1973, with a prior), and its evidence is its
weight. The grid is narrowed until the points that count are resolved. Members then differ within a basin of the fit and
across basins, without starts to choose. Two recipes are one model: the prior takes the differences of coefficients and
of log exponents to be small, the same way whichever recipe is named first.

No law is exact, and many cheap runs then agree on something that is wrong at the target. So the loss is the law plus a
discrepancy, a Gaussian process over the log inputs (Kennedy and O'Hagan 2001): nearly smooth, so that a trend carries
on beyond the runs, or rough, so that what runs show of it is true of their neighbourhood alone; of two recipes nearly
common, or half of it each one's own. Which one it is, its size and the noise's are not taken as known. Members are
spread over all of them by their evidence; with few runs, one best size is often far too small. The discrepancy is what
makes runs near the target worth their cost. Noise is Student's t with 4 degrees of freedom, so that a run that went
astray moves little (the EM weights of Lange, Little and Taylor 1989).

Priors are weak and in the runs' own units: inputs are divided by their geometric mean, so that every coefficient is a
share of the loss in the middle of the runs. Noise is relative to the expected loss.

The grid is coarse where there are four exponents, two recipes by a law of two inputs: six points along each, so that a
standard deviation can be a quarter too small.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.linalg import solve_triangular

from crossover.base.arrays import Floats
from crossover.laws.law import Law

Ints = npt.NDArray[np.int_]

_MEDIAN_EXPONENT = 0.25
_SPREAD_EXPONENT = 0.7  # of log exponent
_SPREAD_RATIO = 0.3  # of the log ratio of two recipes' exponents
_SPREAD_SHARE = 1.0  # of a coefficient, in losses
_SPREAD_DIFFERENCE = (0.03, 0.2)  # of two recipes' floors and of their other coefficients, in losses
_REACH = 3.0  # of the grid, in prior standard deviations
_POINTS = {0: 1, 1: 64, 2: 14, 3: 9, 4: 6}  # along each exponent
_ROUNDS = 8
_LIGHT = 1e-4  # relative weight below which a member is left out
_BLOCK = 1 << 21  # numbers held at once
_FREEDOM = 4.0  # of Student's t
_TAIL = float(np.sqrt(_FREEDOM / (_FREEDOM - 2)))  # its standard deviation over its scale
_LEAST_SD = 0.0003  # relative; what is said to be smaller is taken for this
_RANGE = 1.5 * np.log(10)  # of the discrepancy, in log inputs
_MEDIANS = np.array([0.005, 0.02])  # of the noise and of the discrepancy, relative, each known to a factor e
_LOG_SIZES = np.linspace(np.log(_LEAST_SD / _TAIL), np.log(0.3), 31)  # where sizes that count are looked for
_NODES = 4  # sizes of the noise, and of the discrepancy, that members have
_ROUGH = (0.03, 1.0)  # share of the discrepancy's variance that is rough: hardly any, or all
_APART = (0.02, 0.5)  # share of it that each of two recipes has for itself
_LEAST_LOSS = 0.1  # of the level, where the law would go below
_TURNS = 3  # of estimating sizes, shares and weights by the last members
_PAIRS = 2.0  # pairs that the prior share of common noise, one half, is worth


@dataclass(frozen=True)
class Rows:
    """Runs, finished or not: log inputs [inputs, n], recipe 0 or 1 [n], and for a pair its other run, or -1 [n].

    A partner is an earlier row of the same table whose noise is shared.
    """

    log_x: Floats
    recipe: Ints
    partner: Ints


@dataclass(frozen=True)
class Noise:
    """Relative s.d. of a run and of the discrepancy, and the share of a run's variance that a pair has in common."""

    sd: float
    shared: float = 0.0
    discrepancy: float = 0.0


@dataclass(frozen=True)
class Model:
    """The law as it is linear in its coefficients, once exponents are fixed, and the covariance of what it lacks."""

    law: Law
    recipes: int
    centre: Floats
    """Of the log inputs, [inputs]."""
    level: float
    """Geometric mean of the losses."""

    def basis(self, eta_GxQ: Floats, log_x: Floats, recipe: Ints) -> Floats:
        """Derivative of the loss with respect to the coefficients, [G, n, K]."""
        width = eta_GxQ.shape[1] // self.recipes
        parts = []
        for r in range(self.recipes):
            terms = self.law.terms(log_x - self.centre[:, None], eta_GxQ[:, r * width : (r + 1) * width])
            shape = (len(eta_GxQ), log_x.shape[1])
            parts.append(np.stack([np.ones(shape) if t.log_phi is None else np.exp(t.log_phi) for t in terms], 2))
        own = [phi * (recipe == r)[None, :, None] for r, phi in enumerate(parts)]
        return np.concatenate(own, 2)

    def prior(self) -> tuple[Floats, Floats]:
        """Mean [K] and precision [K, K] of the coefficients: those of the first recipe, then the second's."""
        count = len(self.law.coefficients)
        mean = np.full(count * self.recipes, self.level / count)
        common = np.full(count, (_SPREAD_SHARE * self.level) ** 2)
        if self.recipes == 1:
            return mean, np.diag(1 / common)
        floor = np.array([name in self.law.levels for name in self.law.coefficients])
        apart = (np.where(floor, *_SPREAD_DIFFERENCE) * self.level) ** 2
        here, across = np.diag(common + apart / 4), np.diag(common - apart / 4)
        return mean, np.linalg.inv(np.block([[here, across], [across, here]]))

    def covariance(self, a: Floats, b: Floats, of_a: Ints, of_b: Ints, kind: "_Kind") -> Floats:
        """Of a discrepancy of relative size one between places [inputs, m] and [inputs, n] of recipes, [m, n]."""
        square = ((a[:, :, None] - b[:, None, :]) ** 2).sum(0) / _RANGE**2
        value = (1 - kind.rough) * np.exp(-0.5 * square) + kind.rough * np.exp(-np.sqrt(square))
        alike: Floats = np.where(of_a[:, None] == of_b, self.level**2, self.level**2 * (1 - kind.apart))
        covariance: Floats = value * alike
        return covariance


@dataclass(frozen=True)
class _Kind:
    """Of a discrepancy: the share of its variance that is rough, and the share that each recipe has for itself."""

    rough: float
    apart: float


class _Runs:
    """Runs turned so that noise and discrepancy are independent from row to row, whatever their sizes.

    Noise has covariance s^2 N and the discrepancy d^2 C. With N = F F^T and F^-1 C F^-T = U diag(v) U^T, rows U^T F^-1
    of the losses have covariance s^2 I + d^2 diag(v). `scale` [n] is the noise of a run where s is one.
    """

    def __init__(self, model: Model, rows: Rows, loss: Floats, shared: float, scale: Floats, kind: _Kind) -> None:
        self.model, self.rows, self.kind = model, rows, kind
        later = np.flatnonzero(rows.partner >= 0)
        first = rows.partner[later]
        noise = np.diag(scale**2)
        noise[later, first] = noise[first, later] = shared * scale[later] * scale[first]
        factor = np.linalg.cholesky(noise)
        half = solve_triangular(factor, self.covariance(rows.log_x, rows.recipe), lower=True)
        spread, turn = np.linalg.eigh(solve_triangular(factor, half.T, lower=True))
        self.spread = np.maximum(spread, 0.0)
        self.turn = solve_triangular(factor, turn, lower=True, trans="T").T
        self.target = self.turn @ loss

    def covariance(self, log_x: Floats, recipe: Ints) -> Floats:
        """Of the discrepancy between places and the runs, [m, n]."""
        return self.model.covariance(log_x, self.rows.log_x, recipe, self.rows.recipe, self.kind)

    def basis(self, eta_GxQ: Floats) -> Floats:
        """The turned basis, [G, n, K]."""
        return _apply(self.turn, self.model.basis(eta_GxQ, self.rows.log_x, self.rows.recipe))

    def precision(self, sizes_Sx2: Floats) -> Floats:
        """Of every turned row at every size, [S, n]."""
        square = sizes_Sx2[:, :, None] ** 2
        precision: Floats = 1 / (square[:, 0] + square[:, 1] * self.spread)
        return precision


def _apply(matrix: Floats, basis_GxnxK: Floats) -> Floats:
    """Matrix [m, n] times every basis, [G, m, K]; one product of matrices is many times faster than G small ones."""
    G, n, K = basis_GxnxK.shape
    flat = matrix @ basis_GxnxK.transpose(1, 0, 2).reshape(n, -1)
    return flat.reshape(len(matrix), G, K).transpose(1, 0, 2)


@dataclass(frozen=True)
class _Part:
    """Members with a discrepancy of one kind: G exponents at each of S sizes."""

    runs: _Runs
    sizes_Sx2: Floats
    """Relative s.d. of noise and of discrepancy."""
    weight_SxG: Floats
    mean_SxGxK: Floats
    """Coefficients of the first recipe, then (of two) the second's."""
    cov_SxGxKxK: Floats

    def at(self, eta_GxQ: Floats, log_x: Floats, recipe: Ints) -> tuple[Floats, Floats]:
        """Value of every member [S G, m], and the weighted sum of their covariances [m, m]."""
        model, runs = self.runs.model, self.runs
        here, there = model.basis(eta_GxQ, log_x, recipe), runs.basis(eta_GxQ)
        across = runs.covariance(log_x, recipe) @ runs.turn.T
        between = model.covariance(log_x, log_x, recipe, recipe, runs.kind)
        precision = runs.precision(self.sizes_Sx2)
        values, cov = [], np.zeros_like(between)
        for s, (_, size) in enumerate(self.sizes_Sx2):
            gain = size**2 * across * precision[s]
            left = here - _apply(gain, there)
            values.append((left @ self.mean_SxGxK[s, :, :, None])[:, :, 0] + gain @ runs.target)
            root = left @ np.linalg.cholesky(self.cov_SxGxKxK[s]) * np.sqrt(self.weight_SxG[s])[:, None, None]
            flat = root.transpose(1, 0, 2).reshape(len(recipe), -1)
            cov += self.weight_SxG[s].sum() * size**2 * (between - gain @ across.T) + flat @ flat.T
        return np.concatenate(values), cov


@dataclass(frozen=True)
class Belief:
    """Members of a law, or of two recipes' laws, after the runs. Their weights sum to one."""

    model: Model
    eta_GxQ: Floats
    """Exponents of the recipes, one recipe after the other."""
    parts: list[_Part]
    noise: Noise
    """Root mean squares over the members."""

    def at(self, log_x: Floats, recipe: Ints) -> tuple[Floats, Floats]:
        """Mean [m] and covariance [m, m] of the loss without noise: within members plus across them."""
        values, within = zip(*(part.at(self.eta_GxQ, log_x, recipe) for part in self.parts), strict=True)
        value, weight = np.concatenate(values), np.concatenate([part.weight_SxG.ravel() for part in self.parts])
        mean = weight @ value
        apart = (value - mean) * np.sqrt(weight)[:, None]
        return mean, sum(within) + apart.T @ apart

    def heaviest(self) -> "Belief":
        """The weightiest member alone."""
        part = max(self.parts, key=lambda part: float(part.weight_SxG.max()))
        s, g = np.unravel_index(int(part.weight_SxG.argmax()), part.weight_SxG.shape)
        at = (slice(s, s + 1), slice(g, g + 1))
        sizes = part.sizes_Sx2[at[0]]
        one = _Part(part.runs, sizes, np.ones((1, 1)), part.mean_SxGxK[at], part.cov_SxGxKxK[at])
        sd, discrepancy = sizes[0].tolist()
        return Belief(self.model, self.eta_GxQ[at[1]], [one], Noise(sd, self.noise.shared, discrepancy))


def believe(
    law: Law, rows: Rows, loss: Floats, recipes: int, *, sd: float | None = None, noise: Noise | None = None
) -> Belief:
    """The posterior after runs with `loss` [n].

    Args:
        law: one whose shape are exponents alone.
        rows: where the runs lie.
        loss: their losses, in any unit.
        recipes: 1, or 2 whose laws are of one form.
        sd: the relative standard deviation of a run, where it is known; at least 0.0003.
        noise: all sizes, where they are known; nothing is estimated then, and noise is normal and equal for all runs.
    """
    model = Model(law, recipes, rows.log_x.mean(1), float(np.exp(np.log(loss).mean())))
    paired = bool((rows.partner >= 0).any())
    sd = None if sd is None else max(sd, _LEAST_SD) / _TAIL
    start = noise or Noise(sd or 2 * _MEDIANS[0], 0.5 if paired else 0.0, 2 * _MEDIANS[1])
    kinds = [_Kind(rough, apart) for rough in _ROUGH for apart in (_APART if recipes == 2 else (0.0,))]
    scale = np.full(len(loss), model.level)  # of the expected loss, once there is one; a measured one may be far off
    runs = [_Runs(model, rows, loss, start.shared, scale, kind) for kind in kinds]
    belief = _posterior([_Option(one, np.array([[start.sd, start.discrepancy]])) for one in runs], start.shared)
    if noise:
        return belief
    for _ in range(_TURNS):
        best = belief.heaviest()
        scale, shared = _scatter(best, rows, loss)
        runs = [_Runs(model, rows, loss, shared, scale, kind) for kind in kinds]
        belief = _posterior([_sizes(one, best.eta_GxQ, sd) for one in runs], shared)
    return replace(belief, noise=replace(belief.noise, sd=float(belief.noise.sd * _TAIL)))


def _scatter(belief: Belief, rows: Rows, loss: Floats) -> tuple[Floats, float]:
    """The noise of each run for s = 1, and the share of it that a partner has too, by what runs are off the belief.

    It is the expected loss times a width, the root of (4 + r^2) / (4 + 1), where r^2 is expected in noise variances. A
    share is the partners' covariance over their variance.
    """
    mean, cov = belief.at(rows.log_x, rows.recipe)
    usual, unit = np.maximum(mean, _LEAST_LOSS * belief.model.level), belief.noise.sd
    off, doubt = (loss - mean) / usual, np.maximum(np.diag(cov), 0.0) / usual**2
    width = np.sqrt((_FREEDOM + (off**2 + doubt) / unit**2) / (_FREEDOM + 1))
    later = np.flatnonzero(rows.partner >= 0)
    if not len(later):
        return usual * width, 0.0
    second, first = (off / width)[later], (off / width)[rows.partner[later]]
    prior = _PAIRS * unit**2
    share = (0.5 * prior + (first * second).sum()) / (prior + 0.5 * (first**2 + second**2).sum())
    return usual * width, float(np.clip(share, 0.0, 0.95))


@dataclass(frozen=True)
class _Option:
    """Runs with a discrepancy of one kind, and the sizes at which members are asked for."""

    runs: _Runs
    sizes_Sx2: Floats
    log_cell: float = 0.0
    """Log of the area, in log sizes, that each of the sizes stands for."""


def _sizes(runs: _Runs, eta: Floats, sd: float | None) -> _Option:
    """A grid over the sizes of noise and discrepancy that count at exponents [1, Q]."""
    known = None if sd is None else np.log([sd])
    log_sizes = np.array(list(product(_LOG_SIZES if known is None else known, _LOG_SIZES)))
    score = _regress(_Option(runs, np.exp(log_sizes)), eta)[0][:, 0]
    counted = log_sizes[score > score.max() + np.log(0.05)]
    half = (_LOG_SIZES[1] - _LOG_SIZES[0]) / 2
    ends = np.linspace(counted.min(0) - half, counted.max(0) + half, _NODES + 1)
    first, second = ((ends[1:] + ends[:-1]) / 2).T
    log_cell = float(np.log(ends[1] - ends[0])[0 if known is None else 1 :].sum())
    return _Option(runs, np.exp(list(product(first if known is None else known, second))), log_cell)


def _posterior(options: list[_Option], shared: float) -> Belief:
    """Narrow the grid of exponents until the members that count are many."""
    model = options[0].runs.model
    dims = len(model.law.shape) * model.recipes
    spread = np.full(dims, _SPREAD_EXPONENT)
    spread[len(model.law.shape) :] = _SPREAD_RATIO
    low, high = -_REACH * spread, _REACH * spread
    for _ in range(_ROUNDS):
        axes = [np.linspace(a, b, _POINTS[dims]) for a, b in zip(low, high, strict=True)]
        grid = np.array(list(product(*axes)))
        eta = _exponents(grid, model.recipes)
        found = [_regress(option, eta) for option in options]
        scores = [score - 0.5 * ((grid / spread) ** 2).sum(1) for score, _, _ in found]
        best = max(score.max() for score in scores)
        height = np.max([score.max(0) - best for score in scores], axis=0)
        counted = grid[height > np.log(1e-3)]
        step = (high - low) / max(_POINTS[dims] - 1, 1)
        narrow = np.maximum(counted.min(0) - step, low), np.minimum(counted.max(0) + step, high)
        if (narrow[1] - narrow[0] > 0.6 * (high - low)).all():
            break
        low, high = narrow
    kept = height > np.log(_LIGHT)
    weights = [np.exp(score - best)[:, kept] for score in scores]
    sized = [weight.max(1) > _LIGHT for weight in weights]
    total = sum(weight[rows].sum() for weight, rows in zip(weights, sized, strict=True))
    parts = [
        _Part(option.runs, option.sizes_Sx2[rows], weight[rows] / total, mean[rows][:, kept], cov[rows][:, kept])
        for option, weight, rows, (_, mean, cov) in zip(options, weights, sized, found, strict=True)
        if rows.any()
    ]
    sd, discrepancy = np.sqrt(sum(part.weight_SxG.sum(1) @ part.sizes_Sx2**2 for part in parts))
    return Belief(model, eta[kept], parts, Noise(float(sd), shared, float(discrepancy)))


def _exponents(grid: Floats, recipes: int) -> Floats:
    """Exponents of every recipe from the grid of log means (over the prior median) and log ratios."""
    middle = np.log(_MEDIAN_EXPONENT) + grid[:, : grid.shape[1] // recipes]
    if recipes == 2:
        half = grid[:, grid.shape[1] // 2 :] / 2
        middle = np.concatenate([middle - half, middle + half], 1)
    exponents: Floats = np.exp(middle)
    return exponents


def _regress(option: _Option, eta: Floats) -> tuple[Floats, Floats, Floats]:
    """Log evidence [S, G], and mean [S, G, K] and covariance [S, G, K, K] of the coefficients, at every size.

    Terms with large exponents differ by many powers of ten along the runs. This costs no digits because recipes have
    columns of their own and nothing large is subtracted.
    """
    runs, sizes = option.runs, option.sizes_Sx2
    prior, known = runs.model.prior()
    precision = runs.precision(sizes)
    block = max(1, _BLOCK // (len(runs.target) * len(prior) ** 2))
    parts = []
    for i in range(0, len(eta), block):
        basis = runs.basis(eta[i : i + block])
        products = (basis[:, :, :, None] * basis[:, :, None, :]).reshape(*basis.shape[:2], -1)
        gram = (precision @ products).transpose(1, 0, 2).reshape(len(sizes), -1, *known.shape) + known
        right = (precision * runs.target @ basis).transpose(1, 0, 2) + known @ prior
        cov = np.linalg.inv(gram)
        mean = np.einsum("sgij,sgj->sgi", cov, right)
        square = precision @ runs.target**2 + prior @ known @ prior
        score = 0.5 * ((right * mean).sum(2) - square[:, None] - np.linalg.slogdet(gram)[1])
        parts.append((score + _positive(mean, cov), mean, cov))
    score, mean, cov = (np.concatenate(part, 1) for part in zip(*parts, strict=True))
    likely = 0.5 * np.log(precision).sum(1) - 0.5 * (np.log(np.maximum(sizes, 1e-9) / _MEDIANS) ** 2).sum(1)
    return score + likely[:, None] + option.log_cell, mean, cov


def _positive(mean: Floats, cov: Floats) -> Floats:
    """Log of the chance that the coefficients are positive, taken as if they were independent."""
    sd = np.sqrt(np.einsum("sgii->sgi", cov))
    chance: Floats = special.log_ndtr(mean / sd).sum(2)
    return chance
