"""What a fit minimises, by name: a sum over rows of weight x rho(residual), never a mean.

A residual is predicted minus measured, of the logarithm of the loss (`log`) or of the loss itself. A mean instead of a
sum changes no minimum but stops first-order solvers early, and the printed value is then not comparable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest


@dataclass(frozen=True)
class Objective:
    """rho with its first two derivatives; `log` says whether residuals are of log loss."""

    name: str
    log: bool
    rho: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    bend: Callable[[Floats], Floats]
    """Second derivative of rho where it exists; never negative."""
    smoothing: tuple["Objective", ...] = ()
    """Smooth objectives to pass through, each from the last one's minimum."""

    @property
    def least_squares(self) -> bool:
        """True where likelihood intervals for Gaussian noise apply."""
        return self.name.startswith("squares")


def squares(log: bool) -> Objective:
    """rho = r^2."""
    return Objective(
        "squares_log" if log else "squares", log, np.square, lambda r: 2 * r, lambda r: np.full_like(r, 2.0)
    )


def huber_log(delta: float = 1e-3) -> Objective:
    """rho = r^2/2 within delta, delta (|r| - delta/2) beyond (Huber 1964; delta 1e-3 in Hoffmann et al. 2022)."""

    def rho(r: Floats) -> Floats:
        inside = np.clip(r, -delta, delta)
        result: Floats = inside * (r - 0.5 * inside)
        return result

    return Objective(
        f"huber_log(delta={delta:g})",
        True,
        rho,
        lambda r: np.clip(r, -delta, delta),
        lambda r: (np.abs(r) <= delta).astype(float),
    )


def lad_log() -> Objective:
    """rho = |r|, reached through Huber objectives of shrinking delta, scaled to slope 1."""

    def smooth(delta: float) -> Objective:
        huber = huber_log(delta)
        return Objective(
            "lad_log", True, lambda r: huber.rho(r) / delta, lambda r: huber.slope(r) / delta,
            lambda r: huber.bend(r) / delta,
        )  # fmt: skip

    *path, last = [smooth(10.0**-k) for k in range(2, 10)]
    return Objective("lad_log", True, np.abs, last.slope, last.bend, (*path, last))


def expectile_log(tau: float = 0.1) -> Objective:
    """Asymmetric least squares (Newey and Powell 1987): runs below the curve weigh 1 - tau, runs above it tau.

    With tau under 1/2 the curve follows the better runs, since a run can be worse than its recipe but not better.
    """

    def weight(r: Floats) -> Floats:
        return np.where(r > 0, 1 - tau, tau)

    return Objective(
        f"expectile_log(tau={tau:g})",
        True,
        lambda r: weight(r) * r * r,
        lambda r: 2 * weight(r) * r,
        lambda r: 2 * weight(r),
    )


NAMES = ("squares_log", "squares", "huber_log", "lad_log", "expectile_log")


def get_objective(name: str, delta: float = 1e-3, tau: float = 0.1) -> Objective:
    """The objective called `name`. Raises `UsageError` that names the nearest, or for a delta or tau out of range."""
    if name not in NAMES:
        raise UsageError(f"no objective is called '{name}'; {nearest(name, list(NAMES))}")
    if not delta > 0 or not 0 < tau < 1:
        raise UsageError(f"delta must be positive and tau between 0 and 1; got {delta:g} and {tau:g}")
    known: dict[str, Objective] = {
        "squares_log": squares(log=True),
        "squares": squares(log=False),
        "huber_log": huber_log(delta),
        "lad_log": lad_log(),
        "expectile_log": expectile_log(tau),
    }
    return known[name]
