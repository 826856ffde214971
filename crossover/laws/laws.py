"""Scaling laws, each one small class: its formula, its parameters and where it was published.

Every law is a sum of positive terms, L = sum_k c_k phi_k(x; eta), linear in its coefficients c and non-linear in its
shape eta. Laws are evaluated in logarithms, batched over B parameter vectors and n rows, with analytic derivatives:
log L = logsumexp_k(log c_k + log phi_k). A new law states its terms' log phi and their derivative with respect to eta;
the solver, its starts (variable projection), intervals, bootstrap and command line follow from that.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest

LARGEST_EXPONENT = 4.0


@dataclass(frozen=True)
class Term:
    """log phi of one term, [B or 1, n], and its derivatives by position in eta; a constant term has neither."""

    log_phi: Floats | None = None
    slopes: tuple[tuple[int, Floats], ...] = ()


@dataclass(frozen=True)
class Point:
    """A law at B parameter vectors on n rows."""

    log_loss_Bxn: Floats
    gradient_Bxpxn: Floats
    """Derivative of log L with respect to theta."""
    shares: list[Floats]
    """Share of each term in L, [B, n]."""
    terms: list[Term]


class Law(ABC):
    """A law of one or more inputs. theta = (log c_1 ... log c_K, eta_1 ... eta_q) is what the solver moves."""

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    coefficients: ClassVar[tuple[str, ...]]
    """Names of c; in units of the loss times what phi's own unit asks for. All are positive."""
    shape: ClassVar[tuple[str, ...]]
    """Names of eta: exponents are dimensionless; logarithms of places carry the unit of the input."""
    levels: ClassVar[tuple[str, ...]] = ("E", "G")
    """Coefficients that are losses themselves; at most e^3 times the largest measured one."""

    least_exponent: ClassVar[float] = 1e-3

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the reported parameters, in the order of theta."""
        return (*self.coefficients, *self.shape)

    @abstractmethod
    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """The terms at log inputs [inputs, n]."""

    def shape_box(self, log_x: Floats) -> tuple[Floats, Floats]:
        """Lower and upper bounds of eta, [q] each; they may depend on where the data lie."""
        del log_x
        return np.full(len(self.shape), self.least_exponent), np.full(len(self.shape), LARGEST_EXPONENT)

    def shape_grid(self, log_x: Floats) -> list[Floats]:
        """Values of each eta from which variable projection starts."""
        low, high = self.shape_box(log_x)
        points = 24 if len(low) <= 2 else 12 if len(low) == 3 else 7
        return [self._spread(a, b, points) for a, b in zip(low, high, strict=True)]

    @staticmethod
    def _spread(low: float, high: float, points: int) -> Floats:
        inner = (max(low, 0.02), min(high, 1.5))
        return np.geomspace(*inner, points) if low > 0 else np.linspace(low, high, points)

    def box(self, log_x: Floats, log_y: Floats) -> tuple[Floats, Floats]:
        """Bounds of theta. A coefficient may not grow beyond what would explain the data many times over.

        Its lower bound is e^-14 of the smallest loss: a term there is absent.
        """
        low, high = self.shape_box(log_x)
        spread = LARGEST_EXPONENT * np.abs(log_x).max() + 5
        level = np.array([name in self.levels for name in self.coefficients])
        return (
            np.concatenate([log_y.min() - 14 - np.where(level, 0.0, spread), low]),
            np.concatenate([log_y.max() + np.where(level, 3.0, spread), high]),
        )

    def at(self, log_x: Floats, theta_Bxp: Floats) -> Point:
        """log L and its gradient at every parameter vector and row."""
        count = len(self.coefficients)
        terms = self.terms(log_x, theta_Bxp[:, count:])
        logits = [
            theta_Bxp[:, k, None] if term.log_phi is None else theta_Bxp[:, k, None] + term.log_phi
            for k, term in enumerate(terms)
        ]
        powers = [np.exp(np.minimum(logit, 600.0)) for logit in logits]
        total: Floats = np.zeros((len(theta_Bxp), log_x.shape[1])) + powers[0]
        for power in powers[1:]:
            total += power
        scale = 1.0 / total
        shares = [power * scale for power in powers]
        gradient = np.empty((len(theta_Bxp), len(self.params), log_x.shape[1]))
        gradient[:, count:] = 0.0
        for k, (term, share) in enumerate(zip(terms, shares, strict=True)):
            gradient[:, k] = share
            for j, slope in term.slopes:
                gradient[:, count + j] += share * slope
        return Point(np.log(total), gradient, shares, terms)

    def second_moment(self, point: Point, weights_Bxn: Floats) -> Floats:
        """Sum over rows and terms of weight x share_k x u_k u_k^T, [B, p, p], with u_k the gradient of logit k.

        The Hessian of log L, summed over weighted rows, is this less the weighted outer product of its gradient.
        """
        count = len(self.coefficients)
        out = np.zeros((len(weights_Bxn), len(self.params), len(self.params)))
        for k, (term, share) in enumerate(zip(point.terms, point.shares, strict=True)):
            weighted = weights_Bxn * share
            out[:, k, k] += weighted.sum(-1)
            for j, slope in term.slopes:
                cross = _row_sum(weighted, slope)
                out[:, k, count + j] += cross
                out[:, count + j, k] += cross
                for i, other in term.slopes:
                    out[:, count + i, count + j] += _row_sum(weighted, slope * other)
        return out

    def log_loss(self, log_x: Floats, theta_Bxp: Floats) -> Floats:
        """log L, [B, n]."""
        return self.at(log_x, theta_Bxp).log_loss_Bxn

    def report(self, theta: Floats) -> Floats:
        """Reported parameters of theta [..., p], same order."""
        count = len(self.coefficients)
        return np.concatenate([np.exp(theta[..., :count]), self.report_shape(theta)], -1)

    def report_shape(self, theta: Floats) -> Floats:
        """Reported shape parameters of theta."""
        return theta[..., len(self.coefficients) :]


def _row_sum(weights_Bxn: Floats, values: Floats) -> Floats:
    total: Floats = weights_Bxn @ values[0] if len(values) == 1 else np.einsum("bn,bn->b", weights_Bxn, values)
    return total


def _power(log_x: Floats, eta_Bxq: Floats, index: int) -> Term:
    """x^-eta[index]."""
    return Term(-eta_Bxq[:, index, None] * log_x, ((index, -log_x[None]),))


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
        return [_power(log_x[0], eta_Bxq, 0)]


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
        return [Term(), _power(log_x[0], eta_Bxq, 0)]


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
        return [Term(), _power(log_x[0], eta_Bxq, 0), _power(log_x[1], eta_Bxq, 1)]


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
        return [Term(), _power(log_x[0], eta_Bxq, 0), _power(log_x[1], eta_Bxq, 0)]


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

    def report_shape(self, theta: Floats) -> Floats:
        """c0, c1, d and f of theta."""
        return np.concatenate([theta[..., 2:4], np.exp(theta[..., 4:])], -1)


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


LAWS: dict[str, Law] = {
    law.name: law
    for law in (Power(), PowerFloor(), Chinchilla(), ChinchillaShared(), M4(), BrokenPower(), Optimum(), OptimumND())
}


def get_law(name: str) -> Law:
    """The registered law. Raises `UsageError` that names the nearest."""
    if name not in LAWS:
        raise UsageError(f"no law is called '{name}'; {nearest(name, list(LAWS))}")
    return LAWS[name]
