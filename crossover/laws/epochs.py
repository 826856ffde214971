"""The law of data that are repeated: what a token is worth when seen again, and a parameter beyond the data's need.

Muennighoff et al. 2023 (arXiv 2305.16264): with U unique tokens, D tokens seen in all and R = D/U - 1 repetitions, data
count as D' = U (1 + R_D (1 - exp(-R/R_D))); with n the parameters that are best for U tokens seen once, a model of N
counts as N' = n (1 + R_N (1 - exp(-(N/n - 1)/R_N))). R_D and R_N are how many repetitions it takes until a share 1/e of
their worth is left.
"""

import numpy as np

from crossover.base.arrays import Floats
from crossover.laws.law import LARGEST_EXPONENT, Law, Term, power

_FEWEST, _MOST = np.log(0.1), np.log(1e4)
_EXCESS = 50.0  # e-folds of a ratio, beyond which nothing is gained


class Epochs(Law):
    """Loss from model size, tokens seen and unique tokens."""

    name = "epochs"
    formula = "E + A/N'^a + B/D'^b, D' = U (1 + R_D (1 - exp(-(D/U - 1)/R_D))), N' alike"
    source = "Muennighoff et al. 2023, arXiv 2305.16264, eq. 5 and 6"
    inputs = ("N", "D", "U")
    coefficients = ("E", "A", "B")
    shape = ("a", "b", "R_D", "R_N")
    logged = ("R_D", "R_N")

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`; eta = (a, b, log R_D, log R_N). As if no parameter were in excess, which `terms_at` adds."""
        _, data = self._data(log_x, eta_Bxq)
        return [Term(), power(log_x[0], eta_Bxq, 0), data]

    def terms_at(self, log_x: Floats, theta_Bxp: Floats) -> list[Term]:
        """See `Law`: log n = (log a A - log b B + b log U) / a, where N and D gain alike for compute."""
        eta = theta_Bxp[:, 3:]
        unique, data = self._data(log_x, eta)
        a, b, log_r = eta[:, 0, None], eta[:, 1, None], eta[:, 3, None]
        log_n = (np.log(a) - np.log(b) + theta_Bxp[:, 1, None] - theta_Bxp[:, 2, None] + b * unique) / a
        log_excess = np.clip(log_x[0] - log_n, 0.0, _EXCESS)  # of N over n
        beyond = (log_excess > 0).astype(float)
        gain, by_excess, by_r = _saturate(log_excess, log_r)
        log_count = np.minimum(log_n, log_x[0]) + gain
        by_n = beyond * (1 - by_excess)  # d log N' / d log n
        slopes = (
            (0, -log_count - by_n * (1 / a - log_n)),  # d log n / da = (1/a - log n) / a
            (1, -by_n * (unique - 1 / b)),
            (3, -a * by_r),
            (-2, -by_n),
            (-1, by_n),
        )
        return [Term(), Term(-a * log_count, tuple((j, np.broadcast_to(s, log_count.shape)) for j, s in slopes)), data]

    @staticmethod
    def _data(log_x: Floats, eta_Bxq: Floats) -> tuple[Floats, Term]:
        """Log unique tokens [n], and the term of data."""
        unique = np.minimum(log_x[1], log_x[2])
        gain, _, by_r = _saturate(log_x[1] - unique, eta_Bxq[:, 2, None])
        log_count = unique + gain
        b = eta_Bxq[:, 1, None]
        return unique, Term(-b * log_count, ((1, -log_count), (2, -b * by_r)))

    def shape_box(self, log_x: Floats) -> tuple[Floats, Floats]:
        """See `Law`; R from a tenth of a repetition to ten thousand."""
        del log_x
        low = np.array([self.least_exponent, self.least_exponent, _FEWEST, _FEWEST])
        return low, np.array([LARGEST_EXPONENT, LARGEST_EXPONENT, _MOST, _MOST])

    def shape_grid(self, log_x: Floats) -> list[Floats]:
        """See `Law`."""
        del log_x
        exponents = np.geomspace(0.1, 1.0, 8)
        return [exponents, exponents, np.log([2.0, 6.0, 18.0, 100.0]), np.log([2.0, 6.0, 18.0])]


def _saturate(log_ratio: Floats, log_r: Floats) -> tuple[Floats, Floats, Floats]:
    """log(1 + R (1 - exp(-(ratio - 1)/R))), and its derivatives with respect to log ratio and log R."""
    r = np.exp(log_r)
    again = np.expm1(log_ratio) / r
    left = np.exp(-again)
    count = 1 - r * np.expm1(-again)
    return np.log(count), left * np.exp(log_ratio) / count, r * (-np.expm1(-again) - again * left) / count
