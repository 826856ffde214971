"""Power laws of loss in compute or width, with intervals.

L(x) = A x^-a is a straight line in logarithms: ordinary least squares and exact t intervals. L(x) = E + A x^-a is
linear in E and A once a is given, so it is fitted by a search over a alone (variable projection) with intervals from
the linearised model. The floor E is only fitted where at least two degrees of freedom remain; a ladder of four rungs
can be met by any floor.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

CONFIDENCE = 0.9
_SPARE = 2  # degrees of freedom that must remain beside a floor
_EXPONENTS = (1e-3, 3.0)
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Estimate:
    """A value with its two-sided interval at `CONFIDENCE`; bounds are None where no interval can be given."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Law:
    """A fitted law. `x` and `loss` are the rungs it was fitted to; `line` is the law on a grid of x, with its band."""

    law: str
    x_name: str
    params: dict[str, Estimate]
    dof: int
    rms_residual: float
    """Root mean square residual in nats."""
    x: list[float]
    loss: list[float]
    line: list[dict[str, float | None]] = field(repr=False)
    flags: list[str] = field(default_factory=list)


def t_factor(dof: int) -> float | None:
    """Half-width of a `CONFIDENCE` interval in standard errors, or None without degrees of freedom."""
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, dof)) if dof > 0 else None


def interval(value: float, error: float, dof: int) -> Estimate:
    """value +- t x error."""
    factor = t_factor(dof)
    if factor is None or not math.isfinite(error):
        return Estimate(value)
    return Estimate(value, value - factor * error, value + factor * error)


def fit_law(x: Floats, loss: Floats, x_name: str) -> Law | None:
    """The law the rungs can carry, or None for fewer than two of them. x > 0; loss > 0 in nats."""
    if len(x) < 2:
        return None
    if len(x) - 3 >= _SPARE:
        return _with_floor(x, loss, x_name)
    return _without_floor(x, loss, x_name)


def _without_floor(x: Floats, loss: Floats, x_name: str) -> Law:
    dof = len(x) - 2
    design = np.column_stack([np.ones_like(x), -np.log(x)])
    (log_a, exponent), covariance = least_squares(design, np.log(loss), dof)
    errors = np.sqrt(np.diag(covariance))
    log_band = interval(log_a, errors[0], dof)
    scale = Estimate(math.exp(log_a), *(None if b is None else math.exp(b) for b in (log_band.low, log_band.high)))
    grid = np.geomspace(x.min(), x.max(), 33)
    rows = np.column_stack([np.ones_like(grid), -np.log(grid)])
    spread = np.sqrt(np.einsum("ij,jk,ik->i", rows, covariance, rows))
    centre = rows @ [log_a, exponent]
    factor = t_factor(dof)
    flags = [f"no floor fitted: {len(x)} rungs leave fewer than {_SPARE} degrees of freedom for it"]
    return Law(
        law="A x^-a",
        x_name=x_name,
        params={"A": scale, "a": interval(exponent, errors[1], dof)},
        dof=dof,
        rms_residual=_rms(loss - np.exp(design @ [log_a, exponent])),
        x=x.tolist(),
        loss=loss.tolist(),
        line=_line(
            grid,
            np.exp(centre),
            np.exp(centre - (factor or 0) * spread),
            np.exp(centre + (factor or 0) * spread),
            factor,
        ),
        flags=flags,
    )


def _with_floor(x: Floats, loss: Floats, x_name: str) -> Law:
    dof = len(x) - 3

    def design(exponent: float) -> Floats:
        return np.column_stack([np.ones_like(x), (x / x.min()) ** -exponent])

    def misfit(exponent: float) -> float:
        return float(optimize.nnls(design(exponent), loss)[1])

    grid = np.geomspace(*_EXPONENTS, 200)
    best = int(np.argmin([misfit(exponent) for exponent in grid]))
    bracket = (grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)])
    exponent = float(optimize.minimize_scalar(misfit, bounds=bracket, method="bounded", options={"xatol": 1e-12}).x)
    (floor, scaled), _ = optimize.nnls(design(exponent), loss)

    def jacobian(at: Floats) -> Floats:
        ratio = at / x.min()
        return np.column_stack([np.ones_like(at), ratio**-exponent, -scaled * np.log(ratio) * ratio**-exponent])

    residual = loss - design(exponent) @ [floor, scaled]
    covariance = np.linalg.pinv(jacobian(x).T @ jacobian(x)) * float(residual @ residual) / dof
    errors = np.sqrt(np.diag(covariance))
    fine = np.geomspace(x.min(), x.max(), 33)
    centre = floor + scaled * (fine / x.min()) ** -exponent
    spread = np.sqrt(np.einsum("ij,jk,ik->i", jacobian(fine), covariance, jacobian(fine)))
    factor = t_factor(dof)
    at_bound = exponent < _EXPONENTS[0] * 1.1 or exponent > _EXPONENTS[1] / 1.1 or floor == 0
    return Law(
        law="E + A x^-a",
        x_name=x_name,
        params={
            "E": interval(float(floor), errors[0], dof),
            "A": Estimate(float(scaled * x.min() ** exponent)),
            "a": interval(exponent, errors[2], dof),
        },
        dof=dof,
        rms_residual=_rms(residual),
        x=x.tolist(),
        loss=loss.tolist(),
        line=_line(fine, centre, centre - (factor or 0) * spread, centre + (factor or 0) * spread, factor),
        flags=["a parameter lies at its bound"] if at_bound else [],
    )


def least_squares(design: Floats, target: Floats, dof: int) -> tuple[Floats, Floats]:
    """Ordinary least squares: coefficients and their covariance (nan without degrees of freedom)."""
    coefficients = np.linalg.lstsq(design, target, rcond=None)[0]
    residual = target - design @ coefficients
    variance = float(residual @ residual) / dof if dof > 0 else math.nan
    return coefficients, np.linalg.pinv(design.T @ design) * variance


def _line(x: Floats, loss: Floats, low: Floats, high: Floats, factor: float | None) -> list[dict[str, float | None]]:
    return [
        {
            "x": float(a),
            "loss": float(b),
            "low": float(c) if factor else None,
            "high": float(d) if factor else None,
        }
        for a, b, c, d in zip(x, loss, low, high, strict=True)
    ]


def _rms(residual: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(residual))))
