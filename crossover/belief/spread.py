"""What a number may be, as a bounded mixture of Student's t: quantiles, moments, what choosing by its sign costs."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from crossover.base.arrays import Floats, sections

UNBOUNDED = 1e100
_FAR = 1e4  # bounds


@dataclass(frozen=True)
class Spread:
    """What a difference may be at one place: a mixture of Student's t with four degrees of freedom."""

    weight: Floats
    mean: Floats
    scale: Floats
    most: float = UNBOUNDED
    """How large it can be, either way; what the mixture holds beyond counts as this."""

    def with_noise(self, variance: float) -> "Spread":
        """The same of what is measured with noise of a variance."""
        if not variance:
            return self
        return Spread(self.weight, self.mean, np.sqrt(self.scale**2 + variance), self.most + 5 * math.sqrt(variance))

    @property
    def p_b_wins(self) -> float:
        """P(B's loss is the lower one)."""
        return self.below(0.0)

    def below(self, value: float) -> float:
        """P(D is less than a value)."""
        return float(self.weight @ student_cdf((value - self.mean) / self.scale))

    @property
    def median(self) -> float:
        """Its sign is that of the likelier side, and it moves with any unit that the difference is told in."""
        return float(self.quantiles(np.array([0.5]))[0])

    @property
    def expected(self) -> float:
        """Mean difference."""
        return sum(end * share for end, share in self._ends(0.0)) + self._moment(0.0, 1, -self.most, self.most)

    @property
    def sd(self) -> float:
        """Standard deviation."""
        mean = self.expected
        ends = sum(end**2 * share for end, share in self._ends(mean))
        return math.sqrt(max(ends + self._moment(mean, 2, -self.most, self.most), 0.0))

    @property
    def gains(self) -> tuple[float, float]:
        """E of max(D, 0) and of max(-D, 0): what is given away by choosing B, and by choosing A."""
        (low, below), (high, above) = self._ends(0.0)
        positive = high * above + self._moment(0.0, 1, 0.0, self.most)
        negative = -low * below - self._moment(0.0, 1, -self.most, 0.0)
        return max(positive, 0.0), max(negative, 0.0)

    def quantiles(self, shares: Floats) -> Floats:
        """Each lies between the least and the largest of its members', and within the bounds."""
        ends = self.mean[:, None] + self.scale[:, None] * special.stdtrit(4.0, shares)
        ends = np.clip(ends, -self.most, self.most)
        return sections(
            lambda tried: student_cdf((tried[..., None] - self.mean) / self.scale) @ self.weight < shares,
            ends.min(0), ends.max(0), rounds=6,
        )  # fmt: skip

    @cached_property
    def _tame(self) -> tuple[Floats, Floats]:
        """Means and scales; of members far beyond the bounds smaller ones, for their squares would leave no digits.

        Where beyond the bounds they lie matters little, and on which side of zero stays what it is.
        """
        shrink = np.minimum(1.0, _FAR * self.most / np.maximum(np.abs(self.mean), self.scale))
        return self.mean * shrink, self.scale * shrink

    def _ends(self, centre: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """The bounds from a centre, each with the share that lies beyond it."""
        mean, scale = self._tame
        low, high = (self.weight @ student_cdf((-self.most + sign * mean) / scale) for sign in (-1, 1))
        return (-self.most - centre, float(low)), (self.most - centre, float(high))

    def _moment(self, centre: float, power: int, low: float, high: float) -> float:
        """E of (D - centre)^power, of what lies between two values alone; power is 1 or 2."""
        mean, scale = self._tame
        off = mean - centre
        ends = [_integrals((end - mean) / scale) for end in (low, high)]
        share, first, second = (upper - lower for lower, upper in zip(*ends, strict=True))
        if power == 1:
            return float(self.weight @ (off * share + scale * first))
        return float(self.weight @ (off**2 * share + 2 * off * scale * first + scale**2 * second))


def _integrals(z: Floats) -> tuple[Floats, Floats, Floats]:
    """Of f, z f and z^2 f up to z, but for constants: f is Student's density of four degrees of freedom."""
    square = 4 + z * z
    return student_cdf(z), -4 * square**-1.5, (z / np.sqrt(square)) ** 3


def student_cdf(z: Floats) -> Floats:
    """Of Student's t with four degrees of freedom, in closed form."""
    ratio = z / np.sqrt(4 + z * z)
    share: Floats = 0.5 + 0.25 * ratio * (3 - ratio * ratio)
    return share
