"""Which runs to make next for a budget, and when to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.answers.advising.advise import Advice
from crossover.answers.advising.advise import advise as advise_arrays
from crossover.answers.advising.arms import ArmsAdvice, advise_arms
from crossover.answers.advising.choices import SURE, Candidates
from crossover.api.columns import law_and_columns
from crossover.api.places import Place, read_places
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.runs.losses import name_lost, read_losses
from crossover.runs.roles import recipe_column
from crossover.runs.table import LeftOut, Runs, Tabular, read_runs


def advise(
    table: Tabular,
    candidates: Tabular | None = None,
    *,
    at: Place | Sequence[Place],
    budget: float,
    loss: str = "loss",
    x: str | None = None,
    n: str | None = None,
    d: str | None = None,
    cost: str | None = None,
    by: str | None = None,
    pair: str | None = None,
    law: str | None = None,
    noise: float | None = None,
    sure: float = SURE,
    where: str | None = None,
) -> Advice | ArmsAdvice:
    """Which of some candidate cells to run next, in order, and whether they are worth it.

    The cells within the budget that tell most about the loss at a target, or about which of several recipes wins there.

    Args:
        table: finished runs: a file's path, a DataFrame, or columns by name as arrays of one length.
        candidates: cells that could be run, with the same columns less the loss; the rows without a loss where absent.
            Those of a pair label that is among the runs of their recipe and size are left out.
        at: places whose loss is wanted: {"N": 7e9, "D": 2e12}, "N=7e9,D=2e12", or 1e22; of two recipes one.
        budget: what the cells may cost together, in the unit of `cost`.
        loss: column or expression of positive losses.
        x: column or expression of the law's one input, in any unit.
        n: column or expression: parameters.
        d: column or expression: training tokens.
        cost: column or expression of a cell's cost; 6 N D, or x, where absent.
        by: column that names the recipe; "none" pools several on purpose. Of three or more, along x, losers are
            dropped, and law and noise are not asked.
        pair: column that pairs runs of one size: the seed.
        law: `power`, `power_floor`, `chinchilla`, `chinchilla_shared`; by default `chinchilla` with N and D, else
            `power_floor`.
        noise: standard deviation of a run's loss; estimated where absent.
        sure: probability at which a decision is taken as settled.
        where: keep finished runs that satisfy this.

    Raises:
        UsageError: no candidate, too few runs, three recipes with N and D, a value that is not positive.

    Source: knowledge gradient, Frazier, Powell and Dayanik 2008; sequential design for scaling laws, Li et al. 2026
    (arXiv 2604.22753).

    >>> import numpy as np
    >>> flops = np.repeat(np.geomspace(1e16, 1e18, 4), 2)
    >>> loss = 20 * flops**-0.05 * np.tile([1.002, 0.998], 4)
    >>> found = advise({"flops": flops, "loss": loss}, {"flops": [3e16, 1e19]}, x="flops", at=1e21, budget=2e19)
    >>> f"{found.steps[0].at['x']:.2g}", found.stop
    ('1e+19', False)
    """
    chosen, columns = law_and_columns(law, x, n, d)
    runs = read_runs(table, where)
    recipes = recipe_column(runs, by, loss, *columns.values())
    runs, cells = (runs, read_runs(candidates)) if candidates is not None else _without_loss(runs, loss)
    places = {name: cells.numbers(text) for name, text in columns.items()}
    given = Candidates(
        places, cells.numbers(cost) if cost else _compute(places), _labels(cells, recipes), _labels(cells, pair)
    )
    inputs = {name: runs.numbers(text) for name, text in columns.items()}
    losses, names, seeds = read_losses(runs, loss), _labels(runs, recipes), _labels(runs, pair)
    done = {cell for cell, found in zip(_cells(inputs, names, seeds), losses, strict=True) if np.isfinite(found)}
    rows = _not_yet_run(given, cells.path, done)
    known = len(given.cost) - len(rows)
    repeated = [LeftOut("candidates that are among the runs", known)] if known else []
    given = _chosen(given, rows)
    targets = read_places(at, columns)
    advice: Advice | ArmsAdvice
    if "x" in inputs and names is not None and len(set(names)) > 2:
        if len(targets) != 1:
            raise UsageError("which of several recipes wins is asked at one target; name one")
        advice = advise_arms(inputs["x"], losses, names, seeds, given, targets[0]["x"], budget, sure)
    else:
        advice = advise_arrays(
            inputs, losses, given, targets, budget, law=chosen, recipe=names, pair=seeds, noise=noise, sure=sure
        )
    lost = name_lost(advice.left_out, runs, None, loss, *columns.values())
    axes = (" × ".join(columns.values()), loss)
    advice = replace(advice, left_out=[*runs.left_out, *repeated, *lost], pair=pair)
    return _renumbered(advice, rows).on_axes(axes)


def _not_yet_run(given: Candidates, path: str, done: set[tuple[Any, ...]]) -> npt.NDArray[np.intp]:
    """Row numbers of candidates that are not among the finished runs: a seed would give there what it gave."""
    if given.pair is None:
        return np.arange(len(given.cost))
    rows = [i for i, cell in enumerate(_cells(given.inputs, given.recipe, given.pair)) if cell not in done]
    if len(given.cost) and not rows:
        raise UsageError(f"{path}: every candidate is among the runs already; name other cells, or other seeds")
    return np.array(rows, int)


def _chosen(given: Candidates, rows: npt.NDArray[np.intp]) -> Candidates:
    recipe, pair = (None if labels is None else [labels[i] for i in rows] for labels in (given.recipe, given.pair))
    return Candidates({name: values[rows] for name, values in given.inputs.items()}, given.cost[rows], recipe, pair)


def _renumbered(advice: Advice | ArmsAdvice, rows: npt.NDArray[np.intp]) -> Advice | ArmsAdvice:
    """The same, with row numbers of all candidates."""
    if isinstance(advice, ArmsAdvice):
        return replace(advice, steps=[replace(step, cell=int(rows[step.cell])) for step in advice.steps])
    return replace(advice, steps=[replace(step, cells=[int(rows[i]) for i in step.cells]) for step in advice.steps])


def _cells(inputs: Mapping[str, Floats], recipe: Any, pair: Any) -> list[tuple[Any, ...]]:
    """What tells one cell from another."""
    return list(zip(*inputs.values(), *(labels for labels in (recipe, pair) if labels is not None), strict=True))


def _labels(runs: Runs, column: str | None) -> Any:
    return None if column is None else runs.labels(column)


def _compute(places: dict[str, Any]) -> Any:
    """6 N D, or x itself."""
    return 6.0 * places["N"] * places["D"] if "N" in places else places["x"]


def _without_loss(runs: Runs, loss: str) -> tuple[Runs, Runs]:
    """Finished runs, and rows without a loss, which are the candidates."""
    empty = np.isnan(runs.numbers(loss))
    if not empty.any():
        raise UsageError(f"{runs.path}: no row has an empty '{loss}' to be a candidate; name --candidates FILE")
    return Runs(runs.path, runs.table[~empty], runs.left_out), Runs(runs.path, runs.table[empty])
