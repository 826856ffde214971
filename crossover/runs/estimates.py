"""Numbers with their uncertainty, and the digest of what they came from. All of it serialises to plain JSON."""

import hashlib
import math
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import special

from crossover.base.arrays import Floats

CONFIDENCE = 0.9
ENDS = np.array([0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
"""Shares at which an interval ends."""


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error and its two-sided interval at `CONFIDENCE`.

    `ci` is None where no interval can be given; one of its ends is None where the interval has no end on that side.
    """

    value: float
    se: float | None = None
    ci: tuple[float | None, float | None] | None = None

    @property
    def sign(self) -> int:
        """-1 or 1 where the interval excludes zero, else 0."""
        if self.ci is None:
            return 0
        low, high = self.ci
        return int(low is not None and low > 0) - int(high is not None and high < 0)


class Serialisable:
    """A frozen dataclass that turns into its JSON."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; tuples become lists."""
        result: dict[str, Any] = plain(self)
        return result


def plain(value: Any) -> Any:
    """`value` as JSON's types: dataclasses by field, pydantic models, NaN as None.

    Fields that take no part in comparison are left out.
    """
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value) if item.compare}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@cache
def t_factor(dof: float) -> float | None:
    """Half-width of a `CONFIDENCE` interval in standard errors, or None without degrees of freedom."""
    return float(special.stdtrit(dof, 0.5 + CONFIDENCE / 2)) if dof > 0 else None


def interval(value: float, error: float, dof: float) -> Estimate:
    """value +- t x error."""
    factor = t_factor(dof)
    if factor is None or not math.isfinite(error):
        return Estimate(value)
    return Estimate(value, error, (value - factor * error, value + factor * error))


def percentiles(value: float, replicates: Floats) -> Estimate:
    """Standard deviation and central `CONFIDENCE` share of bootstrap replicates."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(replicates, [tail, 100 - tail])
    return Estimate(value, float(np.std(replicates, ddof=1)), (float(low), float(high)))


def digest_arrays(*arrays: Floats) -> str:
    """First 16 hex digits of the SHA-256 of float64 arrays, shapes included."""
    total = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array, np.float64)
        total.update(repr(values.shape).encode() + values.tobytes())
    return total.hexdigest()[:16]
