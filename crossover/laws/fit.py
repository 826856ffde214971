"""One law fitted to rows: the best of many starts, how sure it is, what it predicts and how it did when it had to.

    fit("chinchilla", {"N": n, "D": d}, loss, objective="huber_log", bootstrap=4000)

Every result names its objective with its value, the share of starts that reached it, what was left out and why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.laws.intervals import Covariance, bootstrap, covariance, law_errors
from crossover.laws.law import Law
from crossover.laws.laws import get_law
from crossover.laws.objectives import Objective, get_objective
from crossover.laws.parameters import estimates, hold, open_ended
from crossover.laws.result import Fit, HeldOut, LinePoint, ObjectiveValue, Predicted, Starts, score
from crossover.laws.solver import Minima, Problem, minimise, projected_starts
from crossover.runs.estimates import Estimate, digest_arrays, percentiles, t_factor
from crossover.runs.rows import require_positive, same_length
from crossover.runs.table import LeftOut

STARTS = 32
_AGREE = 1e-6
_SPLITS = 12
_RESAMPLES = 100
_POINTS = 33  # of a line


@dataclass(frozen=True)
class Fitted:
    """A fit with what later computations need: the problem, theta and its covariance, or bootstrap replicates."""

    fit: Fit
    problem: Problem
    theta: Floats
    cov: Covariance
    replicates: Floats | None = None

    def predict(self, inputs: Mapping[str, float]) -> Predicted:
        """The law at one place, with intervals. Raises `UsageError` for a missing or non-positive input."""
        x = np.array([[_positive(inputs, name)] for name in self.problem.law.inputs])
        return self.predict_rows(x)[0]

    def predict_rows(self, x: Floats, measured: Floats | None = None) -> list[Predicted]:
        """The law at inputs [inputs, m]."""
        log_x = np.log(x)
        logs, errors = law_errors(self.problem, self.theta, self.cov, log_x)
        factor = t_factor(self.cov.dof)
        spread = self.cov.residual_sd / (1.0 if self.problem.objective.log else np.exp(logs))
        total = np.sqrt(errors**2 + spread**2)
        drawn = None if self.replicates is None else np.exp(self.problem.law.log_loss(log_x, self.replicates))
        out = []
        for i, value in enumerate(np.exp(logs)):
            if drawn is not None:
                estimate = percentiles(value, drawn[:, i])
            elif factor is None or not np.isfinite(errors[i]):
                estimate = Estimate(float(value))
            else:
                ends = np.exp(logs[i] + np.array([-factor, factor]) * errors[i])
                estimate = Estimate(float(value), float(value * errors[i]), (float(ends[0]), float(ends[1])))
            run = None
            if factor is not None and np.isfinite(total[i]):
                ends = np.exp(logs[i] + np.array([-factor, factor]) * total[i])
                run = (float(ends[0]), float(ends[1]))
            at = dict(zip(self.problem.law.inputs, x[:, i].tolist(), strict=True))
            known = None if measured is None else float(measured[i])
            out.append(Predicted(at, estimate, run, known, None if known is None else float(value / known - 1)))
        return out


def fit(
    law: str,
    inputs: Mapping[str, Floats],
    loss: Floats,
    *,
    objective: str = "squares_log",
    delta: float = 1e-3,
    tau: float = 0.1,
    weights: Floats | None = None,
    starts: int = STARTS,
    bootstrap: int = 0,
    clusters: npt.NDArray[np.int_] | None = None,
    seed: int = 0,
    fixed: Mapping[str, float | tuple[float, float]] | None = None,
    predict: Sequence[Mapping[str, float]] = (),
    heldout: tuple[Mapping[str, Floats], Floats] | None = None,
    roll_out: bool = True,
) -> Fit:
    """Fit a registered law to rows.

    Args:
        law: a name in `crossover.laws.laws.LAWS`.
        inputs: one array of n positive values per input of the law, by the law's name for it.
        loss: n positive losses, in any unit; the coefficients carry it.
        objective: a name in `crossover.laws.objectives.NAMES`, with `delta` (Huber) or `tau` (expectile).
        weights: relative weights of the rows; at the minimum a row of weight 2 is two equal rows, but it stays one
            row in degrees of freedom and resampling.
        starts: how many points of the shape grid to descend from.
        bootstrap: number of resamples; 0 for likelihood or sandwich intervals.
        clusters: n labels 0 ... k-1; resampling draws whole clusters (seeds, model sizes).
        seed: of the resampling.
        fixed: parameters that are held, each at a value or at (value, standard deviation).
        predict: places to predict at.
        heldout: inputs and losses that are predicted and compared, never fitted.
        roll_out: also predict each rung from those below it.

    Raises:
        UsageError: too few rows, a constant input, a non-positive value, an unknown name.
    """
    fitted = fit_law(
        law, inputs, loss, objective=get_objective(objective, delta, tau), weights=weights, starts=starts,
        resamples=bootstrap, clusters=clusters, seed=seed, fixed=fixed,
    )  # fmt: skip
    result = fitted.fit
    if heldout is not None:
        result = replace(result, heldout=_held_out(fitted, *heldout))
    if roll_out:
        result = replace(result, rollout=_roll_out(fitted))
    ahead = [place["x"] for place in predict if "x" in place]
    return replace(result, predictions=list(map(fitted.predict, predict)), line=line(fitted, *ahead))


def fit_law(
    law: str,
    inputs: Mapping[str, Floats],
    loss: Floats,
    *,
    objective: Objective,
    weights: Floats | None = None,
    starts: int = STARTS,
    resamples: int = 0,
    clusters: npt.NDArray[np.int_] | None = None,
    seed: int = 0,
    intervals: bool = True,
    fixed: Mapping[str, float | tuple[float, float]] | None = None,
) -> Fitted:
    """`fit` without its predictions, with the parts that further computations need."""
    if starts < 1 or resamples < 0:
        raise UsageError(f"starts must be positive and resamples not negative; got {starts} and {resamples}")
    problem, used, left_out = make_problem(get_law(law), inputs, loss, objective, weights, fixed)
    begin = projected_starts(problem, starts)
    minima = minimise(problem, begin)
    best = int(minima.value.argmin())
    theta, cov = minima.theta[best], covariance(problem, minima.theta[best])
    flags = _flags(problem, minima, begin[best], best, cov, resamples)
    replicates = None
    if resamples:
        labels = np.arange(len(used)) if clusters is None else np.asarray(clusters)
        kept = np.unique(labels[used], return_inverse=True)[1]
        refits = bootstrap_replicates(problem, theta, kept, resamples, seed, flags)
        replicates = refits.theta
    params, how = estimates(problem, theta, cov, replicates, intervals)
    flags += [f"the interval of {name} has no end on one side" for name in open_ended(params)]
    predicted = np.exp(problem.law.log_loss(problem.log_x, theta[None])[0])
    measured = np.exp(problem.log_y)
    result = Fit(
        law=problem.law.name,
        formula=problem.law.formula,
        inputs={name: name for name in problem.law.inputs},
        objective=ObjectiveValue(objective.name, float(minima.value[best])),
        params=params,
        interval=how,
        n_rows=len(measured),
        dof=cov.dof,
        starts=Starts(len(begin), _agreement(minima, problem)),
        condition=cov.condition,
        rms_residual=float(np.sqrt(np.mean((predicted - measured) ** 2))),
        mean_absolute_relative_error=float(np.mean(np.abs(predicted / measured - 1))),
        flags=flags,
        left_out=left_out,
        digest=digest_arrays(problem.log_x, problem.log_y, problem.weights),
        held=[problem.law.params[item.index] for item in problem.held],
    )
    return Fitted(result, problem, theta, cov, replicates)


def make_problem(
    law: Law,
    inputs: Mapping[str, Floats],
    loss: Floats,
    objective: Objective,
    weights: Floats | None = None,
    fixed: Mapping[str, float | tuple[float, float]] | None = None,
) -> tuple[Problem, npt.NDArray[np.bool_], list[LeftOut]]:
    """Checked rows, which they are, and what was left out: missing or infinite values. Raises `UsageError`."""
    missing = [name for name in law.inputs if name not in inputs]
    if missing:
        raise UsageError(f"law '{law.name}' = {law.formula} needs input {', '.join(missing)}")
    columns = same_length({**{name: inputs[name] for name in law.inputs}, "loss": loss})
    weight = np.ones(columns.shape[1]) if weights is None else np.asarray(weights, float)
    finite = np.isfinite(columns).all(0) & np.isfinite(weight)
    left_out = [LeftOut("a value is missing or infinite", int((~finite).sum()))] if not finite.all() else []
    if (weight[finite] < 0).any():
        raise UsageError("a weight is negative; weights count rows")
    used = finite & (weight > 0)
    if (weight[finite] == 0).any():
        left_out.append(LeftOut("weight 0", int((weight[finite] == 0).sum())))
    columns, weight = columns[:, used], weight[used]
    require_positive(dict(zip((*law.inputs, "loss"), columns, strict=True)))
    held = hold(law, fixed or {})
    have, need = columns.shape[1], len(law.params) - len(held)
    if have < need:
        raise UsageError(f"{have} usable rows are fewer than the {need} parameters of '{law.name}'; use a smaller law")
    for name, values in zip(law.inputs, columns, strict=False):
        if np.ptp(np.log(values)) < 1e-9:
            raise UsageError(f"{name} is the same in every row, so no law of it can be fitted")
    logs = np.log(columns)
    return Problem(law, objective, logs[:-1], logs[-1], weight, held), used, left_out


def _positive(inputs: Mapping[str, float], name: str) -> float:
    if name not in inputs or not 0 < inputs[name] < np.inf:
        raise UsageError(f"a prediction needs a positive, finite {name}; got {inputs.get(name)}")
    return inputs[name]


def _agreement(minima: Minima, problem: Problem) -> float:
    """Share of starts whose minimum is the best one, to 1e-6 of it (and to rounding, where the fit is exact)."""
    least = float(minima.value.min())
    return float(np.mean(minima.value <= least * (1 + _AGREE) + 1e-20 * problem.weights.sum()))


def _flags(problem: Problem, minima: Minima, start: Floats, best: int, cov: Covariance, resamples: int) -> list[str]:
    flags = []
    low, high = problem.box()
    theta = minima.theta[best]
    for name, value, bottom, top in zip(problem.law.params, theta, low, high, strict=True):
        if bottom < top and not bottom + 1e-9 < value < top - 1e-9:
            flags.append(f"{name} is at its {'lower' if value <= bottom + 1e-9 else 'upper'} bound")
    if not minima.converged[best]:
        flags.append("the solver stopped before it converged")
    if np.array_equal(np.clip(start, low, high), theta):
        flags.append("the best fit never moved from its start")
    if _agreement(minima, problem) < 0.1:
        flags.append("under a tenth of the starts reached this minimum")
    return [*flags, *_doubts(problem, theta, cov, resamples)]


def _doubts(problem: Problem, theta: Floats, cov: Covariance, resamples: int) -> list[str]:
    """What the rows cannot tell, and where they contradict the law."""
    flags = []
    if cov.condition > 1e8:
        flags.append(f"condition number {cov.condition:.0e}: these rows cannot tell the parameters apart")
    if cov.dof <= 0:
        flags.append("no degrees of freedom are left: the law passes through the rows, no interval")
    elif not resamples and not np.isfinite(cov.matrix[np.ix_(cov.free, cov.free)]).all():
        flags.append(f"no covariance at a minimum of {problem.objective.name}; ask for a bootstrap")
    for one, other in combinations(range(len(problem.law.inputs)), 2):
        if abs(float(np.corrcoef(problem.log_x[one], problem.log_x[other])[0, 1])) > 0.999:
            flags.append(f"{problem.law.inputs[one]} and {problem.law.inputs[other]} move together in these rows")
    if not resamples and not problem.objective.least_squares and cov.dof < 10 * len(theta):
        flags.append("sandwich intervals from so few rows are too narrow; they held the truth 66 to 85% of the time")
    lack = lack_of_fit(problem, theta)
    if lack is not None and lack.p < 0.01:
        flags.append("the law misses the sizes' means by more than repeated runs scatter (F test, 1%)")
    return flags


@dataclass(frozen=True)
class LackOfFit:
    """Scatter of places about the law against that of runs within places (F test)."""

    p: float
    dof: int
    inflation: float
    """Mean square about the law of the places over that of all rows."""


def lack_of_fit(problem: Problem, theta: Floats) -> LackOfFit | None:
    """For least squares with runs that repeat at one place; None for others."""
    residual = problem.residual(problem.law.log_loss(problem.log_x, theta[None]))[0]
    place = np.unique(problem.log_x.round(9), axis=1, return_inverse=True)[1].ravel()
    weight = np.bincount(place, problem.weights)
    within = residual - (np.bincount(place, problem.weights * residual) / weight)[place]
    pure, total = (float((problem.weights * part**2).sum()) for part in (within, residual))
    pure_dof, lack_dof = len(residual) - len(weight), len(weight) - len(theta)
    if pure_dof < 1 or lack_dof < 1 or not problem.objective.least_squares or pure <= 1e-20:
        return None
    lack = max(total - pure, 0.0) / lack_dof
    p = float(special.fdtrc(lack_dof, pure_dof, lack * pure_dof / pure))
    return LackOfFit(p, lack_dof, lack / (total / (pure_dof + lack_dof)))


def bootstrap_replicates(
    problem: Problem, theta: Floats, clusters: npt.NDArray[np.int_], count: int, seed: int, flags: list[str]
) -> Minima:
    """Refits of resamples; appends to `flags` where they deserve doubt. Raises `UsageError` for too few clusters."""
    total = int(clusters.max()) + 1
    if count < _RESAMPLES:
        raise UsageError(f"{count} resamples give no 90% interval; ask for {_RESAMPLES} or more")
    if total < 8:
        raise UsageError(
            f"a bootstrap over {total} rows or clusters would mislead; leave out --bootstrap for t intervals"
        )
    refits = bootstrap(problem, theta, clusters, count, seed)
    lost = 1 - refits.converged.mean()
    if lost > 0.01:
        flags.append(f"{lost:.0%} of the resamples did not converge")
    if total < 4 * len(theta):
        flags.append(f"bootstrap over only {total} rows or clusters: its intervals are too narrow")
    return refits


def _held_out(fitted: Fitted, inputs: Mapping[str, Floats], loss: Floats) -> HeldOut:
    missing = [name for name in fitted.problem.law.inputs if name not in inputs]
    if missing:
        raise UsageError(f"the held-out rows need input {', '.join(missing)}")
    columns = same_length({**{name: inputs[name] for name in fitted.problem.law.inputs}, "loss": loss})
    if not len(columns[0]) or not (np.isfinite(columns) & (columns > 0)).all():
        raise UsageError("held-out rows must exist, with positive, finite inputs and losses; filter the others out")
    return score(fitted.predict_rows(columns[:-1], columns[-1]))


def _sizes(log_x: Floats) -> Floats:
    """The size of each row: the product of its inputs, as a logarithm rounded to 1e-9 for grouping."""
    sizes: Floats = np.round(np.sum(log_x, axis=0), 9)
    return sizes


def _roll_out(fitted: Fitted) -> HeldOut | None:
    """Fit the lower rungs, predict the next, for every split the ladder allows (at most `_SPLITS`, evenly spread)."""
    problem = fitted.problem
    sizes = _sizes(problem.log_x)
    rungs = np.unique(sizes)
    least = len(problem.law.params) + 1
    splits = [k for k in range(2, len(rungs)) if (sizes < rungs[k]).sum() >= least]
    chosen = [splits[i] for i in np.unique(np.linspace(0, len(splits) - 1, min(_SPLITS, len(splits))).astype(int))]
    rows = []
    for k in chosen:
        below, there = np.flatnonzero(sizes < rungs[k]), np.flatnonzero(sizes == rungs[k])
        part = problem.rows(below)
        if (np.ptp(part.log_x, axis=1) < 1e-9).any():
            continue
        minima = minimise(part, np.vstack([projected_starts(part, 8), fitted.theta]))
        theta = minima.theta[minima.value.argmin()]
        lower = Fitted(fitted.fit, part, theta, covariance(part, theta))
        rows += lower.predict_rows(np.exp(problem.log_x[:, there]), np.exp(problem.log_y[there]))
    return score(rows) if rows else None


def line(fitted: Fitted, *targets: float) -> list[LinePoint]:
    """A law of one input along the range of its runs, and on to targets; nothing for laws of more."""
    if len(fitted.problem.law.inputs) > 1:
        return []
    ends = np.append(fitted.problem.log_x[0], np.log(targets))
    rows = fitted.predict_rows(np.exp(np.linspace(ends.min(), ends.max(), _POINTS))[None])
    return [LinePoint(row.at["x"], row.loss.value, *(row.loss.ci or (None, None))) for row in rows]
