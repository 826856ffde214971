"""The reported parameters of a fit, each with its interval; those that are held have the one they were given."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import special

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.laws.intervals import Covariance, profile
from crossover.laws.law import Law
from crossover.laws.solver import Held, Problem
from crossover.runs.estimates import CONFIDENCE, Estimate, interval, percentiles


def hold(law: Law, fixed: Mapping[str, float | tuple[float, float]]) -> tuple[Held, ...]:
    """Parameters that are held, by their reported names, at a value or at a value with its standard deviation.

    Raises `UsageError` for a name that is no parameter, or a value that it cannot have.
    """
    return tuple(
        _held(law, name, *(given if isinstance(given, tuple) else (given, 0.0))) for name, given in fixed.items()
    )


def _held(law: Law, name: str, value: float, sd: float) -> Held:
    if name not in law.params:
        raise UsageError(f"'{name}' is no parameter of '{law.name}' = {law.formula}; {nearest(name, list(law.params))}")
    index = law.params.index(name)
    slopes = np.array([_report_slope(law, np.full(len(law.params), 0.5), j)[index] for j in range(len(law.params))])
    if np.count_nonzero(slopes) > 1:
        raise UsageError(f"{name} of '{law.name}' hangs on other parameters, and cannot be held alone")
    if not (math.isfinite(value) and 0 <= sd < math.inf):
        raise UsageError(f"{name} is held at a finite value with a standard deviation that is not negative")
    if not _is_log(law, name):
        return Held(index, value, sd)
    if value < 0 or (value == 0 and (sd > 0 or name in law.logged)):
        out = "; 0, to leave its term out, has no standard deviation" if name in law.coefficients else ""
        raise UsageError(f"{name} of '{law.name}' is positive and cannot be held at {value:g}{out}")
    return Held(index, math.log(value) if value else -math.inf, sd / value if value else 0.0)


def _is_log(law: Law, name: str) -> bool:
    """Whether theta holds it as a logarithm."""
    return name in law.coefficients or name in law.logged


def estimates(
    problem: Problem, theta: Floats, cov: Covariance, replicates: Floats | None, intervals: bool
) -> tuple[dict[str, Estimate], str]:
    """Reported parameters with their intervals, and how these were made."""
    law, values = problem.law, problem.law.report(theta)
    if replicates is not None:
        drawn = law.report(replicates)
        found = {name: percentiles(float(values[j]), drawn[:, j]) for j, name in enumerate(law.params)}
        return found, f"bootstrap percentiles, {len(replicates)} resamples"
    slopes = np.array([_report_slope(law, theta, j) for j in range(len(theta))]).T  # [reported, theta]
    found = _by_covariance(law, theta, cov, slopes)
    if not problem.objective.least_squares or not intervals:
        how = f"t intervals from the {'sandwich ' * (not problem.objective.least_squares)}covariance"
    else:
        found, how = _by_profile(problem, theta, cov, slopes, found), "profile likelihood (t)"
    return _widened(law, found, cov.pull @ slopes.T), how


def _by_covariance(law: Law, theta: Floats, cov: Covariance, slopes: Floats) -> dict[str, Estimate]:
    known = np.where(np.isfinite(np.diag(cov.matrix)), 1.0, 0.0)
    matrix = np.where(known[:, None] * known > 0, cov.matrix, 0.0)
    errors = np.sqrt(np.maximum(np.einsum("ri,ij,rj->r", slopes, matrix, slopes), 0))
    errors = np.where(np.abs(slopes) @ (1 - known) > 0, np.nan, errors)
    values = law.report(theta)
    found = {n: interval(float(v), float(e), cov.dof) for n, v, e in zip(law.params, values, errors, strict=True)}
    for j, name in enumerate(law.params):
        if _is_log(law, name):  # positive, so the interval is made on its logarithm
            log = interval(float(theta[j]), float(np.sqrt(matrix[j, j])) if known[j] else np.nan, cov.dof)
            if log.ci is not None:
                low, high = (_exp(end) for end in log.ci)
                found[name] = replace(found[name], ci=(low, high))
    return found


def _by_profile(
    problem: Problem, theta: Floats, cov: Covariance, slopes: Floats, plain_t: dict[str, Estimate]
) -> dict[str, Estimate]:
    law, ends = problem.law, profile(problem, theta, cov)
    params = {}
    for j, name in enumerate(law.params):
        estimate = plain_t[name]
        moved = np.array([law.report(np.where(np.arange(len(theta)) == j, end, theta))[j] for end in ends[j]])
        if cov.free[j] and cov.dof > 0 and np.count_nonzero(slopes[j]) == 1 and estimate.ci is not None:
            floor = 0.0 if j < len(law.coefficients) else None  # a coefficient is positive, so its set ends at 0
            low, high = (float(end) if np.isfinite(end) else None for end in moved)
            estimate = replace(estimate, ci=(floor if low is None else low, high))
        params[name] = estimate
    return params


def _widened(law: Law, found: dict[str, Estimate], pull: Floats) -> dict[str, Estimate]:
    """Intervals with what the standard deviations of held parameters add, of which `pull` says how far they move."""
    shifts = np.sqrt((pull**2).sum(0))
    return {
        name: _wider(item, float(shift), _is_log(law, name)) if shift > 0 else item
        for (name, item), shift in zip(found.items(), shifts, strict=True)
    }


def _wider(item: Estimate, shift: float, log: bool) -> Estimate:
    """On the scale of its interval, halves and the normal half-width of the shift add as squares."""
    more = float(special.ndtri(0.5 + CONFIDENCE / 2)) * (shift / item.value if log else shift)
    ends: list[float | None] = []
    for end, sign in zip(item.ci or (item.value, item.value), (-1, 1), strict=True):
        if end is None or (log and end == 0):
            ends.append(end)
            continue
        half = sign * (math.log(end / item.value) if log else end - item.value)
        half = sign * math.hypot(half, more)
        ends.append(item.value * math.exp(half) if log else item.value + half)
    return Estimate(item.value, math.hypot(item.se or 0.0, shift), (ends[0], ends[1]))


def _exp(end: float | None) -> float | None:
    """e^end, or None where it is beyond every number."""
    return None if end is None or end > 700 else float(np.exp(end))


def _report_slope(law: Law, theta: Floats, j: int) -> Floats:
    """Derivative of the reported parameters with respect to theta[j], by central difference."""
    step = 1e-6 * max(1.0, abs(float(theta[j])))
    ahead, behind = theta.copy(), theta.copy()
    ahead[j] += step
    behind[j] -= step
    slope: Floats = (law.report(ahead) - law.report(behind)) / (2 * step)
    return slope


def open_ended(params: dict[str, Estimate]) -> list[str]:
    """Those whose interval has no end on a side."""
    return [name for name, item in params.items() if item.ci is not None and None in item.ci]
