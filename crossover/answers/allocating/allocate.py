"""How large a model, and how many tokens, for a budget of compute; what being off costs, and what serving changes.

    allocate(n, d, loss, c=1e22)

Two answers stand beside each other: by a law in N and D (approach 3 of the Chinchilla paper), and by a parabola at each
budget (approach 2), with the bias that parabolas have where the law holds. Approach 1, the envelope of training curves,
cannot be had from final losses.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from crossover.answers.allocating.frontier import LAWS, Ask, Frontier, spread
from crossover.answers.allocating.isoflop import IsoFlop, find_budgets, fit_budget, on_log, through_vertices
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.numerals import short
from crossover.laws.fit import Fitted, fit_law
from crossover.laws.objectives import get_objective
from crossover.laws.result import Fit
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import Estimate, interval, percentiles
from crossover.runs.rows import require_positive, same_length

if TYPE_CHECKING:
    from crossover.plots.house import Figure

OFF = (0.25, 0.5, 2.0, 4.0)
"""Sizes beside the best one, as multiples of it."""
_SAME = 0.3  # e-folds within which compute per parameter and token is one number
_FLAT = 0.01  # an exponent under which a term does not fall
_BEYOND = math.log(1e5)  # e-folds from the runs' sizes


@dataclass(frozen=True)
class Off:
    """A model of another size than the best, with the tokens that the budget leaves."""

    times: float
    n: float
    d: float
    loss_lost: float
    """Loss above the best."""
    compute_lost: float
    """Share of the budget that the best allocation would not need for this loss."""


@dataclass(frozen=True)
class Served:
    """The model that costs least over its life, at the loss of the best one of the budget."""

    tokens: float
    """That it will serve."""
    n: Estimate
    d: float
    train: float
    """Compute of its training; more than the budget."""
    saved: float
    """Share of the compute of training and serving that it saves against the best model of the budget."""
    loss_lost: float
    """Loss above the best where it is trained with the budget and no more."""


@dataclass(frozen=True)
class Allocation(Answer):
    """The best model and data of a budget."""

    c: float
    """The budget, in the unit of `per` x N x D."""
    per: float
    """Compute per parameter and token of training."""
    n: Estimate
    d: Estimate
    exponent: Estimate
    """Of N* in compute; that of D* is one less it."""
    loss: Estimate
    """Of the best allocation."""
    off: list[Off]
    served: Served | None
    isoflop: IsoFlop | None
    """What parabolas say; None where fewer than three budgets have runs of five sizes with a lowest point."""
    fit: Fit
    by_law: float
    """Loss of the best allocation by this law alone."""
    beyond: float
    """The budget over the largest that was run."""
    below: float
    """The smallest that was run over the budget."""
    drawn: tuple[Floats, Floats, Floats] = field(repr=False, compare=False)
    """N, compute and loss of the runs, for the figure; not part of the JSON."""
    frontier: Frontier = field(repr=False, compare=False)

    def said(self) -> Iterator[Block]:
        """The allocation, what it rests on, what being off costs."""
        from crossover.answers.allocating.words import allocation_said

        return allocation_said(self)

    def draw(self) -> "Figure":
        """Loss against size at the budgets that were run, and at the one that was asked for."""
        from crossover.plots.budgets import draw_allocation

        return draw_allocation(self)


def allocate(
    n: Floats, d: Floats, loss: Floats, c: float, *, flops: Floats | None = None, per: float | None = None,
    served: float = 2.0, serve: float | None = None, law: str = "chinchilla", objective: str = "squares_log",
    delta: float = 1e-3, bootstrap: int = 0, seed: int = 0,
    fixed: Mapping[str, float | tuple[float, float]] | None = None,
) -> Allocation:  # fmt: skip
    """The best N and D of a budget.

    Args:
        n: parameters of r runs.
        d: their training tokens.
        loss: their losses, positive.
        c: the budget, in FLOPs where `per` is FLOPs per parameter and token.
        flops: compute of the runs, to group them into budgets; `per` x n x d where absent.
        per: compute per parameter and token of training; where absent what `flops` says, else 6.
        served: compute per parameter and token that is served.
        serve: tokens that the model will serve.
        law: `chinchilla` or `chinchilla_shared`.
        objective: a name in `crossover.laws.objectives.NAMES`, with `delta` (Huber).
        bootstrap: resamples; 0 for intervals from the covariance.
        seed: of the resampling.
        fixed: parameters that are held.

    Raises:
        UsageError: another law, a budget that is not positive, too few runs.
    """
    per = _measured(n, d, flops) if per is None else per
    columns = _checked(n, d, loss, per * n * d if flops is None else flops)
    _require_answerable(columns, law, {"the budget": c, "compute per token": per, "tokens served": serve}, fixed)
    fitted = fit_law(
        law, {"N": columns[0], "D": columns[1]}, columns[2], objective=get_objective(objective, delta),
        resamples=bootstrap, seed=seed, fixed=fixed,
    )  # fmt: skip
    best = Frontier.of(fitted.theta, per, served)
    _require_optimum(fitted, best, c, columns)
    runs = columns[:, np.isfinite(columns).all(0)]
    log_n, left = best.log_n(c), math.log(c / per)
    return Allocation(
        c=c,
        per=per,
        n=_in_log(fitted, lambda it: it.log_n(c), best),
        d=_in_log(fitted, lambda it: math.log(c / per) - it.log_n(c), best),
        exponent=_plainly(fitted, lambda it: it.exponent, best),
        loss=fitted.predict({"N": math.exp(log_n), "D": math.exp(left - log_n)}).loss,
        off=[_off(best, c, times) for times in OFF],
        served=None if serve is None else _served(fitted, best, c, serve),
        isoflop=_parabolas(runs[0], runs[1], runs[2], runs[3], c, best),
        fit=fitted.fit,
        by_law=best.least(c),
        beyond=c / float(runs[3].max()),
        below=float(runs[3].min()) / c,
        drawn=(runs[0], runs[3], runs[2]),
        frontier=best,
    )


def _checked(n: Floats, d: Floats, loss: Floats, flops: Floats) -> Floats:
    """N, D, loss and compute [4, r]."""
    columns = {"N": n, "D": d, "loss": loss, "compute": flops}
    require_positive(columns)
    return same_length(columns)


def _measured(n: Floats, d: Floats, flops: Floats | None) -> float:
    """Compute per parameter and token, as measured. Raises `UsageError` where it is not about the same in all runs."""
    if flops is None:
        return 6.0
    with np.errstate(all="ignore"):
        ratio = flops / (n * d)
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    if not len(ratio) or np.ptp(np.log(ratio)) > _SAME:
        span = f" from {short(ratio.min())} to {short(ratio.max())}" if len(ratio) else ""
        raise UsageError(f"compute per parameter and token goes{span}; state one by --per, or leave out --flops")
    return float(np.exp(np.log(ratio).mean()))


def _require_answerable(
    columns: Floats,
    law: str,
    numbers: Mapping[str, float | None],
    fixed: Mapping[str, float | tuple[float, float]] | None,
) -> None:
    """Raise `UsageError` for another law, a number that is not positive, or N and D that move together."""
    if law not in LAWS:
        raise UsageError(f"the best allocation is known for {' and '.join(LAWS)}; '{law}' is another law")
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be positive and finite; got {value:g}")
    log_n, log_d = np.log(columns[:2, np.isfinite(columns).all(0)])
    apart = np.ptp(log_n) > 0 and np.ptp(log_d) > 0
    if apart and not fixed and abs(float(np.corrcoef(log_n, log_d)[0, 1])) > 0.999:
        raise UsageError(
            "N and D move together in these runs, so they cannot tell how to divide a budget; run other tokens per "
            "parameter, or hold both exponents by --fix"
        )


def _require_optimum(fitted: Fitted, best: Frontier, c: float, columns: Floats) -> None:
    """Raise `UsageError` where a term is absent, or the best size is beyond what any run could tell."""
    low, _ = fitted.problem.law.box(fitted.problem.log_x, fitted.problem.log_y)
    absent = [name for name, value, end in zip("EAB", fitted.theta, low, strict=False) if value <= end + 1e-6]
    if {"A", "B"} & set(absent) or min(best.a, best.b) < _FLAT:
        raise UsageError("the fitted law does not fall with N, or not with D, so no size is the best of a budget")
    far = abs(best.log_n(c) - float(np.log(columns[0, np.isfinite(columns[0])]).mean()))
    if far > _BEYOND:
        raise UsageError(
            f"by this law N = {short(math.exp(best.log_n(c)))} would be best at {short(c)}, a factor of "
            f"{short(math.exp(far), 2)} from the runs: they do not tell it"
        )


def _in_log(fitted: Fitted, ask: Ask, best: Frontier) -> Estimate:
    """A positive quantity, from its logarithm."""
    error, drawn = spread(fitted, ask, best)
    value = ask(best)
    return on_log(value, error, fitted.cov.dof) if drawn is None else percentiles(math.exp(value), np.exp(drawn))


def _plainly(fitted: Fitted, ask: Ask, best: Frontier) -> Estimate:
    error, drawn = spread(fitted, ask, best)
    value = ask(best)
    return interval(value, error, fitted.cov.dof) if drawn is None else percentiles(value, drawn)


def _off(best: Frontier, c: float, times: float) -> Off:
    log_n = best.log_n(c) + math.log(times)
    loss = best.at(log_n, c)
    n = math.exp(log_n)
    return Off(times, n, c / best.per / n, loss - best.least(c), 1 - best.worth(loss) / c)


def _served(fitted: Fitted, best: Frontier, c: float, tokens: float) -> Served:
    log_n, loss = best.serve(c, tokens), best.least(c)
    d = math.exp(best.log_d_for(log_n, loss))
    plain = c + best.served * math.exp(best.log_n(c)) * tokens
    return Served(
        tokens=tokens,
        n=_in_log(fitted, lambda it: it.serve(c, tokens), best),
        d=d,
        train=best.per * math.exp(log_n) * d,
        saved=1 - math.exp(best.lifetime(log_n, loss, tokens)) / plain,
        loss_lost=best.at(log_n, c) - loss,
    )


def _parabolas(n: Floats, d: Floats, loss: Floats, compute: Floats, c: float, best: Frontier) -> IsoFlop | None:
    rows = find_budgets(compute, n)
    budgets = [fit_budget(compute[some], n[some], loss[some]) for some in rows]
    found = through_vertices(budgets, c)
    if found is None:
        return None
    exact = np.array([best.loss(float(a), float(b)) for a, b in zip(np.log(n), np.log(d), strict=True)])
    ideal = through_vertices([fit_budget(compute[some], n[some], exact[some]) for some in rows], c)
    told = IsoFlop(budgets, *found)
    if ideal is None:
        return told
    return replace(told, bias_exponent=ideal[0].value - best.exponent, bias_n=ideal[1].value / math.exp(best.log_n(c)))
