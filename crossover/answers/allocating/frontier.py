"""Approach 3 of the Chinchilla paper: the best N and D under C = k N D by a fitted law L = E + A/N^a + B/D^b.

Hoffmann et al. 2022 (arXiv 2203.15556), eq. 4: N* = G (C/k)^(b/(a+b)), D* = (C/k)^(a/(a+b)) / G and
G = (aA / (bB))^(1/(a+b)). For a model that will be served, Sardana et al. 2024 (arXiv 2401.00448): the least compute
of training and serving, k N D + 2 N T, that reaches the loss of the best model of budget C.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from crossover.base.arrays import Floats
from crossover.laws.fit import Fitted
from crossover.laws.laws import Chinchilla, ChinchillaShared

LAWS = (Chinchilla.name, ChinchillaShared.name)
"""Laws whose best allocation has this form."""
_STEP = 1e-6


@dataclass(frozen=True)
class Frontier:
    """What theta says of the best allocation; compute is `per` N D in training, `served` N per token served."""

    log_e: float
    log_a: float
    log_b: float
    a: float
    b: float
    per: float = 6.0
    served: float = 2.0

    @classmethod
    def of(cls, theta: Floats, per: float, served: float = 2.0) -> "Frontier":
        """From theta = (log E, log A, log B, a[, b]); with one exponent both are it."""
        log_e, log_a, log_b, a = (float(value) for value in theta[:4])
        return cls(log_e, log_a, log_b, a, float(theta[-1]), per, served)

    @property
    def exponent(self) -> float:
        """Of N* in compute."""
        return self.b / (self.a + self.b)

    def log_n(self, c: float) -> float:
        """log N* at a budget."""
        gain = math.log(self.a) + self.log_a - math.log(self.b) - self.log_b
        return (gain + self.b * math.log(c / self.per)) / (self.a + self.b)

    def loss(self, log_n: float, log_d: float) -> float:
        """The law."""
        return sum(map(math.exp, (self.log_e, self.log_a - self.a * log_n, self.log_b - self.b * log_d)))

    def least(self, c: float) -> float:
        """The loss of the best allocation."""
        return self.at(self.log_n(c), c)

    def at(self, log_n: float, c: float) -> float:
        """The loss of a model of so many parameters with the tokens that the budget leaves."""
        return self.loss(log_n, math.log(c / self.per) - log_n)

    def worth(self, loss: float) -> float:
        """The compute at which the best allocation has a loss: least(c) - E is K c^-(ab/(a+b))."""
        power = self.a * self.b / (self.a + self.b)
        level = self.least(self.per) - math.exp(self.log_e)
        return self.per * float(((loss - math.exp(self.log_e)) / level) ** (-1 / power))

    def log_d_for(self, log_n: float, loss: float) -> float:
        """log D at which a model of so many parameters reaches a loss; infinite where none do."""
        left = loss - math.exp(self.log_e) - math.exp(self.log_a - self.a * log_n)
        return (self.log_b - math.log(left)) / self.b if left > 0 else math.inf

    def serve(self, c: float, tokens: float) -> float:
        """log N of the model as good as the best of budget c whose training and serving together cost least."""
        best, loss = self.log_n(c), self.least(c)
        floor = (self.log_a - math.log(loss - math.exp(self.log_e))) / self.a  # below it no data are enough
        found = optimize.minimize_scalar(
            lambda log_n: self.lifetime(log_n, loss, tokens), bounds=(floor, best), method="bounded",
            options={"xatol": 1e-9},
        )  # fmt: skip
        return float(found.x)

    def lifetime(self, log_n: float, loss: float, tokens: float) -> float:
        """log of the compute of training to a loss and serving so many tokens."""
        log_d = self.log_d_for(log_n, loss)
        if not math.isfinite(log_d) or log_d > 500:
            return 1e3
        return log_n + math.log(self.per * math.exp(log_d) + self.served * tokens)


Ask = Callable[[Frontier], float]


def spread(fitted: Fitted, ask: Ask, best: Frontier) -> tuple[float, Floats | None]:
    """The standard error of a quantity by the delta method, or its bootstrap replicates."""
    if fitted.replicates is not None:
        return math.nan, np.array([ask(Frontier.of(theta, best.per, best.served)) for theta in fitted.replicates])
    slope = np.zeros(len(fitted.theta))
    for j in range(len(slope)):
        move = np.eye(len(slope))[j] * _STEP * max(1.0, abs(float(fitted.theta[j])))
        ahead, behind = (ask(Frontier.of(fitted.theta + sign * move, best.per, best.served)) for sign in (1, -1))
        slope[j] = (ahead - behind) / (2 * float(move[j]))
    free = fitted.cov.free
    variance = slope[free] @ fitted.cov.matrix[np.ix_(free, free)] @ slope[free]
    variance += ((fitted.cov.pull @ slope) ** 2).sum()
    return float(np.sqrt(variance)) if variance >= 0 else math.nan, None
