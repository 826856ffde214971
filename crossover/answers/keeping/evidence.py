"""What runs of one size say for a gain, however often they are looked at: an e-value (Ramdas et al. 2023).

Losses of a size are a recipe's level and a seed's, which recipes share, and noise that all have alike. The gain of B
over A, in standard deviations of the difference of two runs, is delta; under "B is no better" it is zero or less, under
"B is better" it is thought to be half normal. Levels and the unit of the noise are unknown and drop out of Student's t,
so the ratio of its densities under the two is a likelihood ratio of all that does not depend on them. It is expected to
be one at most where B is no better, however many runs there are, whoever decided to make them and for whatever
reason: that it ever reaches 20 has a probability of a twentieth (Ville 1939; for t: Perez-Ortiz et al. 2024, and
Lai 1976, for a two-sided test).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.base.arrays import Floats

_EXPECTED = 2.0  # s.d. of the gain where there is one, in s.d. of the difference of two runs
_KNOWN = 1e7  # degrees of freedom of a noise that was told
_COPIES = 1e-12  # of a loss: what rounding leaves of equal ones
_MOST = 300.0  # of a logarithm, so that products of a few sizes are numbers
_FIRST = 0.7  # of the weight, for all sizes together


@dataclass(frozen=True)
class Contrast:
    """The gain of B over A at one size by least squares: loss(A) - loss(B)."""

    gain: float
    pairs: float
    """As many pairs of runs of their own as tell it as well; 0 where the runs do not tell it."""
    squares: float
    """Of residuals, summed; 0 where repeated runs are the same to twelve digits, and so are copies of each other."""
    dof: int

    @property
    def sd(self) -> float:
        """Standard deviation of the difference of two runs; nan where no run is repeated."""
        return math.sqrt(2 * self.squares / self.dof) if self.dof else math.nan

    def evidence(self, least: float = 0.0, noise: float | None = None) -> float:
        """Natural logarithm of the e-value for a gain of more than `least`; `noise` is a run's known s.d."""
        if not self.pairs:
            return 0.0
        sd, dof = (self.sd, self.dof) if noise is None else (math.sqrt(2) * noise, _KNOWN)
        if not sd > 0:
            return 0.0
        t = (self.gain - least) * math.sqrt(self.pairs) / sd
        return float(np.clip(log_evalue(np.array(t), self.pairs, dof), -_MOST, _MOST))

    def reversed(self) -> "Contrast":
        """That of A over B."""
        return Contrast(-self.gain, self.pairs, self.squares, self.dof)


def log_evalue(t: Floats, pairs: Floats | float, dof: Floats | float) -> Floats:
    """Natural logarithm of the e-value of Student's t, elementwise, in closed form.

    With n pairs, nu degrees of freedom, delta half normal of s.d. tau, r = n tau^2 / (1 + n tau^2) and y^2 = t^2 /
    (nu + t^2): 2 (1 + n tau^2)^-1/2 (1 - r y^2)^-(nu + 1)/2 F(y sqrt((nu + 1) r / (1 - r y^2))), where F is Student's
    distribution of nu + 1 degrees of freedom.
    """
    share = pairs * _EXPECTED**2 / (1 + pairs * _EXPECTED**2)
    y = t / np.hypot(np.sqrt(dof), t)
    rest = 1 - share * y**2
    tail = special.stdtr(dof + 1.0, y * np.sqrt((dof + 1.0) * share / rest))
    density = math.log(2) + 0.5 * np.log1p(-share) - 0.5 * (dof + 1.0) * np.log(rest)
    log: Floats = density + np.log(np.maximum(tail, 1e-300))
    return log


def contrast(
    loss: Floats, recipe: npt.NDArray[np.object_], seed: npt.NDArray[np.object_] | None, a: str, b: str
) -> Contrast:
    """The gain of B over A by losses [n] of one size, of whatever recipes; those beside A and B tell of the noise.

    Seeds are levels of their own where they are given; with `None` all runs of a recipe are alike.
    """
    if not len(loss):
        return Contrast(0.0, 0.0, 0.0, 0)
    names, row = np.unique(recipe.astype(str), return_inverse=True)
    column = np.zeros(len(loss), int) if seed is None else np.unique(seed.astype(str), return_inverse=True)[1]
    count = np.zeros((len(names), int(column.max(initial=0)) + 1))
    np.add.at(count, (row, column), 1.0)
    runs = count.sum(1)
    mean = np.bincount(row, loss, len(names)) / runs
    share = count / runs[:, None]
    left = np.diag(count.sum(0)) - count.T @ share  # what the recipes' levels leave of the seeds' normal equations
    inverse = np.linalg.pinv(left, rcond=1e-9, hermitian=True)
    levels = inverse @ (np.bincount(column, loss - mean[row], count.shape[1]))
    residual = loss - mean[row] - levels[column] + (share @ levels)[row]
    rank = len(names) + round(float(np.trace(left @ inverse)))
    dof = len(loss) - rank
    squares = float((residual**2).sum()) if np.abs(residual).max() > _COPIES * np.abs(loss).max() else 0.0
    if not {a, b} <= set(names):
        return Contrast(0.0, 0.0, squares, dof)
    i, j = (int(np.searchsorted(names, name)) for name in (a, b))
    apart = share[i] - share[j]
    told = float(np.abs(apart - left @ (inverse @ apart)).max()) < 1e-6
    gain = float(mean[i] - mean[j] - apart @ levels)
    variance = float(1 / runs[i] + 1 / runs[j] + apart @ inverse @ apart)
    return Contrast(gain, 2 / variance if told else 0.0, squares, dof)


def together(log_evalues: Floats) -> float:
    """Of the logarithms at sizes in ascending order, that of all: B is nowhere better, or somewhere.

    A mean over the smallest size that counts: evidence of sizes is multiplied, and where B is better from some size on
    those below it must not hide that. The weights, .7 for all sizes and .3 / (j (j - 1)) from the j-th on, are fixed
    before there is a run, so the mean is an e-value again.
    """
    products = np.cumsum(log_evalues[::-1])[::-1]
    order = np.arange(2, len(products) + 1)
    weights = np.concatenate([[_FIRST], (1 - _FIRST) / (order * (order - 1.0))])
    return float(special.logsumexp([*(np.log(weights) + products), math.log(1 - weights.sum())]))
