"""What runs so far say of a law, as weighted members: uncertainty of its shape and of its coefficients.

A law is linear in its coefficients c once its exponents are fixed, so each point of a grid of exponents is a Bayesian
linear regression in closed form (variable projection, Golub and Pereyra 1973, with a prior), and its evidence is its
weight. The grid is narrowed until the points that count are resolved. Members then differ within a basin of the fit and
across basins, without starts to choose. Two recipes are one model: coefficients and log exponents are a mean and a
difference, and the prior takes differences to be small, the same way whichever recipe is named first.

No law is exact, and many cheap runs then agree on something that is wrong at the target. So the loss is the law plus a
smooth discrepancy, a Gaussian process over the log inputs with a range of 1.5 decades (Kennedy and O'Hagan 2001),
whose size is estimated with the noise by their evidence. It is what makes runs near the target worth their cost.

Priors are weak and in the runs' own units: inputs are divided by their geometric mean, so that every coefficient is a
share of the loss in the middle of the runs. Noise is relative (normal on log loss to first order).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import special

from stages.fit.laws import Floats, Law

Ints = npt.NDArray[np.int_]

_MEDIAN_EXPONENT = 0.25
_SPREAD_EXPONENT = 0.7  # of log exponent
_SPREAD_RATIO = 0.3  # of the log ratio of two recipes' exponents
_SPREAD_SHARE = 1.0  # of a coefficient, in losses
_SPREAD_DIFFERENCE = (0.03, 0.2)  # of two recipes' floors and of their other coefficients, in losses
_REACH = 3.0  # of the grid, in prior standard deviations
_POINTS = {0: 2, 1: 64, 2: 14, 3: 9, 4: 6}  # along each exponent
_ROUNDS = 8
_LIGHT = 1e-5  # relative weight below which a member is left out
_BLOCK = 1 << 21  # numbers held at once
_RANGE = 1.5 * np.log(10)  # of the discrepancy, in log inputs
_KNOTS = 14
_MEDIAN_SD = 0.005  # of the noise, relative, known to a factor e
_MEDIAN_DISCREPANCY = 0.05  # likewise; with 0.005 advice trusts small runs too much (tests/replay)
_SIZES = np.geomspace(0.0003, 0.3, 31)
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
    """What the loss is linear in, once exponents are fixed."""

    law: Law
    recipes: int
    centre: Floats
    """Of the log inputs, [inputs]."""
    level: float
    """Geometric mean of the losses."""
    knots: Floats
    """Places that carry the discrepancy, [inputs, Z]."""

    def basis(self, eta_GxQ: Floats, log_x: Floats, recipe: Ints) -> Floats:
        """Derivative of the loss with respect to what it is linear in, [G, n, K + Z]."""
        width = eta_GxQ.shape[1] // self.recipes
        parts = []
        for r in range(self.recipes):
            terms = self.law.terms(log_x - self.centre[:, None], eta_GxQ[:, r * width : (r + 1) * width])
            shape = (len(eta_GxQ), log_x.shape[1])
            parts.append(np.stack([np.ones(shape) if t.log_phi is None else np.exp(t.log_phi) for t in terms], 2))
        phi = parts[0]
        if self.recipes == 2:
            second = (recipe == 1)[None, :, None]
            phi = np.where(second, parts[1], parts[0])
            phi = np.concatenate([phi, np.where(second, 0.5, -0.5) * phi], 2)
        smooth = np.broadcast_to(self._smooth(log_x), (len(eta_GxQ), log_x.shape[1], self.knots.shape[1]))
        return np.concatenate([phi, smooth], 2)

    def _smooth(self, log_x: Floats) -> Floats:
        """Features of a process of unit variance, [n, Z]: those of its knots (Nystrom)."""
        root = np.linalg.cholesky(_kernel(self.knots, self.knots) + 1e-6 * np.eye(self.knots.shape[1]))
        features: Floats = np.linalg.solve(root, _kernel(self.knots, log_x)).T
        return features

    def prior(self, discrepancy: float) -> tuple[Floats, Floats]:
        """Mean and standard deviation of what the loss is linear in, [K + Z]."""
        count, width = len(self.law.coefficients), self.knots.shape[1]
        mean, spread = [np.full(count, self.level / count)], [np.full(count, _SPREAD_SHARE * self.level)]
        if self.recipes == 2:
            floor = np.array([name in self.law.levels for name in self.law.coefficients])
            mean.append(np.zeros(count))
            spread.append(np.where(floor, *_SPREAD_DIFFERENCE) * self.level)
        mean.append(np.zeros(width))
        spread.append(np.full(width, max(discrepancy, 1e-9) * self.level))
        return np.concatenate(mean), np.concatenate(spread)


def _kernel(a: Floats, b: Floats) -> Floats:
    square = ((a[:, :, None] - b[:, None, :]) ** 2).sum(0)
    value: Floats = np.exp(-0.5 * square / _RANGE**2)
    return value


@dataclass(frozen=True)
class Belief:
    """G members of a law, or of two recipes' laws, after the runs."""

    model: Model
    eta_GxQ: Floats
    """Exponents of the recipes, one recipe after the other."""
    weight_G: Floats
    mean_GxK: Floats
    """Coefficients: means over the recipes, then (of two) differences, then the discrepancy's."""
    root_GxKxK: Floats
    """R with R R^T their covariance."""
    noise: Noise

    def at(self, log_x: Floats, recipe: Ints) -> tuple[Floats, Floats]:
        """Mean [m] and covariance [m, m] of the loss without noise: within members plus across them."""
        basis = self.model.basis(self.eta_GxQ, log_x, recipe)
        value_Gxm = np.einsum("gmk,gk->gm", basis, self.mean_GxK)
        mean = self.weight_G @ value_Gxm
        apart = (value_Gxm - mean) * np.sqrt(self.weight_G)[:, None]
        root = basis @ self.root_GxKxK * np.sqrt(self.weight_G)[:, None, None]
        flat = root.transpose(1, 0, 2).reshape(len(recipe), -1)
        return mean, flat @ flat.T + apart.T @ apart


def believe(
    law: Law,
    rows: Rows,
    loss: Floats,
    recipes: int,
    *,
    places: Floats | None = None,
    sd: float | None = None,
    noise: Noise | None = None,
) -> Belief:
    """The posterior after runs with `loss` [n].

    Args:
        law: one whose shape are exponents alone.
        rows: where the runs lie.
        loss: their losses, in any unit.
        recipes: 1, or 2 whose laws are of one form.
        places: log inputs [inputs, m] at which the belief will be asked, so that the discrepancy reaches them.
        sd: the relative noise of a run, where it is known.
        noise: all sizes, where they are known; nothing is estimated then.
    """
    every = rows.log_x if places is None else np.concatenate([rows.log_x, places], 1)
    model = Model(law, recipes, rows.log_x.mean(1), float(np.exp(np.log(loss).mean())), _spread_out(every))
    if noise is not None:
        return _posterior(model, rows, loss, noise)
    paired = bool((rows.partner >= 0).any())
    belief = _posterior(model, rows, loss, Noise(sd or 2 * _MEDIAN_SD, 0.5 if paired else 0.0, 2 * _MEDIAN_DISCREPANCY))
    for _ in range(3):
        found = _sizes(belief, rows, loss, _SIZES if sd is None else np.array([sd]))
        if found == belief.noise:
            break
        belief = _posterior(model, rows, loss, found)
    return belief


def _spread_out(log_x: Floats) -> Floats:
    """At most `_KNOTS` of some places, each as far from the others as can be."""
    places = np.unique(log_x.round(9), axis=1)
    chosen = [0]
    away = np.full(places.shape[1], np.inf)
    while len(chosen) < min(_KNOTS, places.shape[1]):
        away = np.minimum(away, ((places - places[:, chosen[-1:]]) ** 2).sum(0))
        chosen.append(int(away.argmax()))
    return places[:, chosen]


def _sizes(belief: Belief, rows: Rows, loss: Floats, sds: Floats) -> Noise:
    """Noise and discrepancy with the most evidence at the weightiest member, times their priors (MacKay 1992)."""
    model, top = belief.model, [int(belief.weight_G.argmax())]
    shared = _shared(belief, rows, loss)
    unit = Noise(1.0, shared)
    basis_GxnxK, target = _whitened(model, rows, loss, unit, belief.eta_GxQ[top])
    gram, right = basis_GxnxK[0].T @ basis_GxnxK[0], basis_GxnxK[0].T @ target
    best, found = -np.inf, belief.noise
    for discrepancy in _SIZES:
        prior, spread = model.prior(discrepancy)
        values, vectors = np.linalg.eigh(gram * np.outer(spread, spread))
        values = np.maximum(values, 0)[:, None]
        along = (vectors.T @ (spread * (right - gram @ prior)))[:, None]
        rest = target @ target - 2 * prior @ right + prior @ gram @ prior
        score = -len(loss) * np.log(sds) - 0.5 * np.log1p(values / sds**2).sum(0)
        score -= 0.5 * (rest - (along**2 / (values + sds**2)).sum(0)) / sds**2
        score -= 0.5 * np.log(sds / _MEDIAN_SD) ** 2 + 0.5 * np.log(discrepancy / _MEDIAN_DISCREPANCY) ** 2
        if score.max() > best:
            best, found = score.max(), Noise(float(sds[score.argmax()]), shared, float(discrepancy))
    return found


def _shared(belief: Belief, rows: Rows, loss: Floats) -> float:
    """The share of a run's noise that its partner has too: their covariance over their variance, about the belief."""
    later = np.flatnonzero(rows.partner >= 0)
    if not len(later):
        return 0.0
    value = np.einsum("gnk,gk->gn", belief.model.basis(belief.eta_GxQ, rows.log_x, rows.recipe), belief.mean_GxK)
    off = (loss - belief.weight_G @ value) / loss
    second, first = off[later], off[rows.partner[later]]
    prior = _PAIRS * belief.noise.sd**2
    share = (0.5 * prior + (first * second).sum()) / (prior + 0.5 * (first**2 + second**2).sum())
    return float(np.clip(share, 0.0, 0.95))


def _posterior(model: Model, rows: Rows, loss: Floats, noise: Noise) -> Belief:
    """Narrow the grid until the members that count are many."""
    dims = len(model.law.shape) * model.recipes
    spread = np.full(dims, _SPREAD_EXPONENT)
    spread[len(model.law.shape) :] = _SPREAD_RATIO
    low, high = -_REACH * spread, _REACH * spread
    for _ in range(_ROUNDS):
        axes = [np.linspace(a, b, _POINTS[dims]) for a, b in zip(low, high, strict=True)]
        grid = np.array(list(product(*axes)))
        score, mean, root = _regress(model, rows, loss, noise, _exponents(grid, model.recipes))
        score = score - 0.5 * ((grid / spread) ** 2).sum(1)
        weight = np.exp(score - score.max())
        counted = grid[weight > 1e-3]
        step = (high - low) / (_POINTS[dims] - 1)
        narrow = np.maximum(counted.min(0) - step, low), np.minimum(counted.max(0) + step, high)
        if (narrow[1] - narrow[0] > 0.6 * (high - low)).all():
            break
        low, high = narrow
    kept = weight > _LIGHT
    return Belief(
        model, _exponents(grid[kept], model.recipes), weight[kept] / weight[kept].sum(), mean[kept], root[kept], noise
    )


def _exponents(grid: Floats, recipes: int) -> Floats:
    """Exponents of every recipe from the grid of log means (over the prior median) and log ratios."""
    middle = np.log(_MEDIAN_EXPONENT) + grid[:, : grid.shape[1] // recipes]
    if recipes == 2:
        half = grid[:, grid.shape[1] // 2 :] / 2
        middle = np.concatenate([middle - half, middle + half], 1)
    exponents: Floats = np.exp(middle)
    return exponents


def _whitened(model: Model, rows: Rows, loss: Floats, noise: Noise, eta: Floats) -> tuple[Floats, Floats]:
    """Basis [G, n, K] and losses [n] with independent noise of unit variance."""
    basis = model.basis(eta, rows.log_x, rows.recipe)
    later = np.flatnonzero(rows.partner >= 0)
    scale = loss.copy()
    scale[later] = scale[rows.partner[later]] = np.sqrt(loss[later] * loss[rows.partner[later]])
    lean = np.where(rows.partner >= 0, noise.shared, 0.0)
    sd = noise.sd * scale * np.sqrt(1 - lean**2)  # what is left of a run's noise once its partner's is known
    if lean.any():
        basis = basis - lean[:, None] * basis[:, rows.partner]
    return basis / sd[:, None], (loss - lean * loss[rows.partner]) / sd


def _regress(model: Model, rows: Rows, loss: Floats, noise: Noise, eta: Floats) -> tuple[Floats, Floats, Floats]:
    """Log evidence [G], and mean [G, K] and root [G, K, K] of the coefficients at every point of the grid.

    In units of the prior's standard deviations, so that the matrix to be factored is the identity plus what runs tell.
    """
    prior, spread = model.prior(noise.discrepancy)
    size = max(1, _BLOCK // (len(loss) * len(prior)))
    parts = []
    for i in range(0, len(eta), size):
        basis, target = _whitened(model, rows, loss, noise, eta[i : i + size])
        off = target - basis @ prior
        scaled = basis * spread
        factor = np.linalg.cholesky(scaled.transpose(0, 2, 1) @ scaled + np.eye(len(prior)))
        inverse = np.linalg.inv(factor)
        along = np.einsum("gij,gnj,gn->gi", inverse, scaled, off, optimize=True)
        root = spread[:, None] * inverse.transpose(0, 2, 1)
        mean = prior + np.einsum("gij,gj->gi", root, along)
        score = 0.5 * (along**2).sum(1) - 0.5 * (off**2).sum(1) - np.log(np.einsum("gii->gi", factor)).sum(1)
        parts.append((score + _positive(mean, root, len(model.law.coefficients)), mean, root))
    score, mean, root = (np.concatenate(part) for part in zip(*parts, strict=True))
    return score, mean, root


def _positive(mean: Floats, root: Floats, count: int) -> Floats:
    """Log of the chance that the first coefficients are positive, taken as if they were independent."""
    sd = np.sqrt((root[:, :count] ** 2).sum(2))
    chance: Floats = special.log_ndtr(mean[:, :count] / sd).sum(1)
    return chance
