"""The laws by name, each one small class: its formula, its parameters and where it was published.

A new law states its terms' log phi and their derivative with respect to eta; the solver, its starts (variable
projection), intervals, bootstrap and command line follow from that.
"""

from typing import ClassVar

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.laws.epochs import Epochs
from crossover.laws.law import LARGEST_EXPONENT, Law, Term, power


class Power(Law):
    """A straight line in logarithms."""

    name = "power"
    formula = "A x^-a"
    source = "Hestness et al. 2017, arXiv 1712.00409, eq. 1 without its constant"
    inputs = ("x",)
    coefficients = ("A",)
    shape = ("a",)
    least_exponent = -LARGEST_EXPONENT  # a loss may grow with x

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`."""
        return [power(log_x[0], eta_Bxq, 0)]


class PowerFloor(Law):
    """A power law that ends in an irreducible loss."""

    name = "power_floor"
    formula = "E + A x^-a"
    source = "Hestness et al. 2017, arXiv 1712.00409, eq. 1"
    inputs = ("x",)
    coefficients = ("E", "A")
    shape = ("a",)

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`."""
        return [Term(), power(log_x[0], eta_Bxq, 0)]


class Chinchilla(Law):
    """Loss from model size and data: approach 3 of the Chinchilla paper."""

    name = "chinchilla"
    formula = "E + A/N^a + B/D^b"
    source = "Hoffmann et al. 2022, arXiv 2203.15556, eq. 2; refitted by Besiroglu et al. 2024, arXiv 2404.10102"
    inputs = ("N", "D")
    coefficients = ("E", "A", "B")
    shape = ("a", "b")

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`."""
        return [Term(), power(log_x[0], eta_Bxq, 0), power(log_x[1], eta_Bxq, 1)]


class ChinchillaShared(Law):
    """The same with one exponent, so that loss at a fixed ratio D/N is a power law of compute with a floor."""

    name = "chinchilla_shared"
    formula = "E + A/N^a + B/D^a"
    source = "Gadre et al. 2024, arXiv 2403.08540, eq. 4"
    inputs = ("N", "D")
    coefficients = ("E", "A", "B")
    shape = ("a",)

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`."""
        return [Term(), power(log_x[0], eta_Bxq, 0), power(log_x[1], eta_Bxq, 0)]


class ChinchillaPlus(Law):
    """The same with a third input that adds a term of its own, as vocabulary does; its exponent may be negative."""

    name = "chinchilla_z"
    formula = "E + A/N^a + B/D^b + C/Z^c"
    source = "Tao et al. 2024, arXiv 2407.13623, eq. 5 (Z: vocabulary parameters)"
    inputs = ("N", "D", "Z")
    coefficients = ("E", "A", "B", "C")
    shape = ("a", "b", "c")

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`."""
        return [Term(), *(power(log_x[j], eta_Bxq, j) for j in range(3))]

    def shape_box(self, log_x: Floats) -> tuple[Floats, Floats]:
        """See `Law`."""
        low, high = super().shape_box(log_x)
        return np.array([low[0], low[1], -high[2]]), high


class M4(Law):
    """A sigmoid from the loss at no training, E + G, to the floor E; alpha = 0 is the power law with a floor.

    With t = (L - E)/G, log t - alpha log(1 - t) = q - c log x, where q = log beta - (1 - alpha) log G. The left side
    is increasing in t, so t follows by Newton steps on its logit.
    """

    name = "m4"
    formula = "(L - E) / (E + G - L)^alpha = beta x^-c"
    source = "Alabdulmohsin et al. 2022, arXiv 2209.06640, eq. 3 (E0 = E + G)"
    inputs = ("x",)
    coefficients = ("E", "G")
    shape = ("alpha", "beta", "c")

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`; eta = (alpha, q, c)."""
        alpha, q, c = (eta_Bxq[:, j, None] for j in range(3))
        log_t, log_rest = _sigmoid_of_power(q - c * log_x[0], alpha)
        steep = np.exp(log_rest) + alpha * np.exp(log_t)  # d log t / d(right side) = (1 - t) / steep
        lean = np.exp(log_rest) / steep
        return [Term(), Term(log_t, ((0, lean * log_rest), (1, lean), (2, -lean * log_x[0])))]

    def shape_box(self, log_x: Floats) -> tuple[Floats, Floats]:
        """See `Law`."""
        reach = LARGEST_EXPONENT * np.abs(log_x[0]).max() + 10
        return np.array([1e-3, -reach, 1e-3]), np.array([10.0, reach, LARGEST_EXPONENT])

    def shape_grid(self, log_x: Floats) -> list[Floats]:
        """See `Law`; q is spread where the sigmoid bends within reach of the data."""
        c = np.geomspace(0.05, 1.0, 8)
        span = np.ptp(log_x[0]) + 1
        places = np.linspace(log_x[0].min() - 3 * span, log_x[0].max(), 10)
        return [np.array([0.1, 0.5, 1.0, 2.0]), (c[:, None] * places).ravel(), c]

    def report_shape(self, theta: Floats) -> Floats:
        """Alpha, beta and c of theta."""
        log_g, alpha, q, c = (theta[..., j] for j in range(1, 5))
        return np.stack([alpha, np.exp(q + (1 - alpha) * log_g), c], -1)


def _sigmoid_of_power(right: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    """log t and log(1 - t) with log t - alpha log(1 - t) = right, by Newton steps on s = logit t."""
    s = np.where(right < 0, right, right / alpha)
    for _ in range(60):
        log_t, log_rest = -np.logaddexp(0, -s), -np.logaddexp(0, s)
        step = (log_t - alpha * log_rest - right) / (np.exp(log_rest) + alpha * np.exp(log_t))
        s = s - step
        if np.all(np.abs(step) <= 1e-14 * (1 + np.abs(s))):
            break
    return -np.logaddexp(0, -s), -np.logaddexp(0, s)


class BrokenPower(Law):
    """A power law whose exponent changes from c0 to c0 + c1 at x = d, over a range of f in log x, above a floor."""

    name = "bnsl"
    formula = "E + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f)"
    source = "Caballero et al. 2022, arXiv 2210.14891, eq. 1 with one break"
    inputs = ("x",)
    coefficients = ("E", "b")
    shape = ("c0", "c1", "d", "f")
    logged = ("d", "f")

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`; eta = (c0, c1, log d, log f)."""
        c0, c1, log_d, log_f = (eta_Bxq[:, j, None] for j in range(4))
        f = np.exp(log_f)
        v = (log_x[0] - log_d) / f
        soft = np.logaddexp(0, v)
        gate = np.exp(-np.logaddexp(0, -v))
        slopes = ((0, -log_x), (1, -f * soft), (2, c1 * gate), (3, -c1 * f * (soft - gate * v)))
        return [Term(), Term(-c0 * log_x[0] - c1 * f * soft, slopes)]

    def shape_box(self, log_x: Floats) -> tuple[Floats, Floats]:
        """See `Law`; the break lies within the data and is no sharper than a tenth of an e-fold."""
        return (
            np.array([-LARGEST_EXPONENT, -LARGEST_EXPONENT, log_x[0].min(), np.log(0.1)]),
            np.array([LARGEST_EXPONENT, LARGEST_EXPONENT, log_x[0].max(), np.log(10)]),
        )

    def shape_grid(self, log_x: Floats) -> list[Floats]:
        """See `Law`."""
        places = np.quantile(log_x[0], [0.15, 0.3, 0.5, 0.7, 0.85])
        bends = np.array([-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0])
        return [np.geomspace(0.02, 1.5, 9), bends, places, np.log([0.3, 1.0, 3.0])]


class Optimum(Law):
    """How a best setting (learning rate, batch, width) moves with one input."""

    name = "optimum"
    formula = "c x^p"
    source = "Kaplan et al. 2020, arXiv 2001.08361, section 5.1 (critical batch)"
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    coefficients = ("c",)
    shape: ClassVar[tuple[str, ...]] = ("p",)
    least_exponent = -LARGEST_EXPONENT

    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """See `Law`."""
        return [Term(eta_Bxq @ log_x, tuple((j, row[None]) for j, row in enumerate(log_x)))]


class OptimumND(Optimum):
    """How a best setting moves with model size and data."""

    name = "optimum_nd"
    formula = "c N^p D^q"
    source = "Li et al. 2025 (Step Law), arXiv 2503.04715, eq. 1"
    inputs = ("N", "D")
    shape = ("p", "q")


_ALL: tuple[Law, ...] = (
    *(Power(), PowerFloor(), Chinchilla(), ChinchillaShared(), ChinchillaPlus(), Epochs()),
    *(M4(), BrokenPower(), Optimum(), OptimumND()),
)
LAWS = {law.name: law for law in _ALL}


def get_law(name: str) -> Law:
    """The registered law. Raises `UsageError` that names the nearest."""
    if name not in LAWS:
        raise UsageError(f"no law is called '{name}'; {nearest(name, list(LAWS))}")
    return LAWS[name]
