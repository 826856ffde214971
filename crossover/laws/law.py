"""What a scaling law is, and how it is evaluated.

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

LARGEST_EXPONENT = 4.0


@dataclass(frozen=True)
class Term:
    """log phi of one term, [B or 1, n], and its derivatives by position in eta; a constant term has neither.

    A position below zero is a coefficient's, counted from the last: -1 is that of the last one.
    """

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
    logged: ClassVar[tuple[str, ...]] = ()
    """Those of the shape that eta holds as logarithms."""

    least_exponent: ClassVar[float] = 1e-3

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the reported parameters, in the order of theta."""
        return (*self.coefficients, *self.shape)

    @abstractmethod
    def terms(self, log_x: Floats, eta_Bxq: Floats) -> list[Term]:
        """The terms at log inputs [inputs, n]."""

    def terms_at(self, log_x: Floats, theta_Bxp: Floats) -> list[Term]:
        """The same, for laws whose phi depend on coefficients too."""
        return self.terms(log_x, theta_Bxp[:, len(self.coefficients) :])

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
        terms = self.terms_at(log_x, theta_Bxp)
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
        gradient = np.zeros((len(theta_Bxp), len(self.params), log_x.shape[1]))
        for k, (term, share) in enumerate(zip(terms, shares, strict=True)):
            gradient[:, k] += share
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
        shape = theta[..., len(self.coefficients) :]
        return np.where([name in self.logged for name in self.shape], np.exp(shape), shape) if self.logged else shape


def _row_sum(weights_Bxn: Floats, values: Floats) -> Floats:
    total: Floats = weights_Bxn @ values[0] if len(values) == 1 else np.einsum("bn,bn->b", weights_Bxn, values)
    return total


def power(log_x: Floats, eta_Bxq: Floats, index: int) -> Term:
    """x^-eta[index]."""
    return Term(-eta_Bxq[:, index, None] * log_x, ((index, -log_x[None]),))
