"""What a number may be, as a mixture of Student's t: its mean, its quantiles, and what choosing by its sign costs."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from crossover.base.arrays import Floats, sections


@dataclass(frozen=True)
class Spread:
    """What a difference may be at one place: a mixture of Student's t with four degrees of freedom."""

    weight: Floats
    mean: Floats
    scale: Floats

    def with_noise(self, variance: float) -> "Spread":
        """The same of what is measured with noise of a variance."""
        return Spread(self.weight, self.mean, np.sqrt(self.scale**2 + variance)) if variance else self

    @property
    def p_b_wins(self) -> float:
        """P(B's loss is the lower one)."""
        return float(self.weight @ student_cdf(-self.mean / self.scale))

    @property
    def expected(self) -> float:
        """Mean difference."""
        return float(self.weight @ self.mean)

    @property
    def sd(self) -> float:
        """Standard deviation."""
        return math.sqrt(float(self.weight @ (2 * self.scale**2 + (self.mean - self.expected) ** 2)))

    def quantiles(self, shares: Floats) -> Floats:
        """Each lies between the least and the largest of its members'."""
        ends = self.mean[:, None] + self.scale[:, None] * special.stdtrit(4.0, shares)
        return sections(
            lambda tried: student_cdf((tried[..., None] - self.mean) / self.scale) @ self.weight < shares,
            ends.min(0), ends.max(0), rounds=6,
        )  # fmt: skip

    @property
    def gains(self) -> tuple[float, float]:
        """E of max(D, 0) and of max(-D, 0): what is given away by choosing B, and by choosing A."""
        z = self.mean / self.scale
        peak = self.scale * 0.5 * (1 + z * z / 4) ** -1.5  # density times (4 + z^2) / 3
        above = peak + self.mean * student_cdf(z)
        return float(self.weight @ above), float(self.weight @ (above - self.mean))


def student_cdf(z: Floats) -> Floats:
    """Of Student's t with four degrees of freedom, in closed form."""
    square = 4 + z * z
    ratio = z / np.sqrt(square)
    share: Floats = 0.5 + 0.25 * ratio * (3 - ratio * ratio)
    return share
