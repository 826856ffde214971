"""A scaling law on anybody's runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from crossover.answers.advising.standing import await_losses, is_believed
from crossover.api.columns import law_and_columns
from crossover.api.fixed import Fixed, read_fixed
from crossover.api.places import Place, read_places
from crossover.api.recipes import ByRecipe, by_recipe
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.laws.fit import fit as fit_arrays
from crossover.laws.laws import get_law
from crossover.laws.link import fit_link, metric_of
from crossover.laws.result import Drawn, Fit, Predicted
from crossover.runs.estimates import Estimate
from crossover.runs.losses import find_checkpoints, name_lost, read_losses
from crossover.runs.roles import recipe_column
from crossover.runs.rows import require_positive
from crossover.runs.table import Runs, Tabular, read_runs


def fit(
    table: Tabular,
    *,
    law: str | None = None,
    loss: str = "loss",
    x: str | None = None,
    n: str | None = None,
    d: str | None = None,
    u: str | None = None,
    z: str | None = None,
    by: str | None = None,
    fix: Fixed | str | Sequence[str] | None = None,
    objective: str = "squares_log",
    delta: float = 1e-3,
    tau: float = 0.1,
    weights: str | None = None,
    where: str | None = None,
    heldout: str | None = None,
    at: Place | Sequence[Place] | None = None,
    metric: str | None = None,
    link: str = "sigmoid",
    chance: float | None = None,
    best: float | None = None,
    bootstrap: int = 0,
    cluster: str | None = None,
    starts: int = 32,
    seed: int = 0,
) -> Fit | ByRecipe[Fit]:
    """Fit a scaling law, with 90% intervals: of all runs, or of each recipe where `by` names their column.

    Args:
        table: one row per run: a file's path, a DataFrame, or columns by name as arrays of one length n.
        law: `power`, `power_floor`, `chinchilla`, `chinchilla_shared`, `chinchilla_z`, `epochs`, `m4`, `bnsl`,
            `optimum`, `optimum_nd`; by default `chinchilla` with N and D, `epochs` with U and `chinchilla_z` with Z
            beside them, else `power_floor`.
        loss: column, or expression of columns, of n positive losses.
        x: column or expression of the law's one input, n positive values in any unit: FLOPs, tokens, parameters.
        n: column or expression: parameters.
        d: column or expression: training tokens.
        u: column or expression: unique tokens, where data are repeated.
        z: column or expression: a third input, such as vocabulary or batch.
        by: column that names the recipe; "none" pools several on purpose.
        fix: parameters that are held: {"E": 1.6}, {"E": (1.6, 0.05)} with a standard deviation, "E=1.6±0.05".
        objective: `squares_log`, `squares`, `huber_log`, `lad_log`, `expectile_log`.
        delta: of `huber_log`.
        tau: of `expectile_log`.
        weights: column of relative weights.
        where: keep rows that satisfy this, as `flops > 1e18`.
        heldout: rows that satisfy this are predicted, not fitted.
        at: places to predict the loss at: {"N": 7e9, "D": 2e12}, "N=7e9,D=2e12", or 1e22 where x is the one input.
            By least squares of log loss the prediction is that of `predict`: of every law of a form like this that the
            runs leave open, and of what such laws lack. It stands beside the fitted law's own.
        metric: column or expression of a metric that follows the loss, rising or falling; it is predicted wherever the
            loss is, with what is not known of the loss, of the curve between the two and of a run.
        link: that curve: `sigmoid` (OLMo ladder, arXiv 2412.04403), or `exponential` (Gadre et al., arXiv 2403.08540).
        chance: the metric of a model that knows nothing, where it is known; at high loss the curve ends there.
        best: the metric that no model exceeds, where it is known; at low loss a sigmoid ends there.
        bootstrap: resamples; 0 for likelihood or sandwich intervals.
        cluster: column; the bootstrap draws whole clusters.
        starts: how many starts to descend from.
        seed: of the bootstrap.

    Raises:
        UsageError: a column that is not there, an input without one, too few rows, several recipes and no `by`.

    Source: Hoffmann et al. 2022 (arXiv 2203.15556), approach 3, and Besiroglu et al. 2024 (arXiv 2404.10102).

    >>> import numpy as np
    >>> flops = np.geomspace(1e16, 1e20, 9)
    >>> found = fit({"flops": flops, "loss": 1.7 + 30 * flops**-0.1}, x="flops", at=1e22)
    >>> {name: round(item.value, 3) for name, item in found.params.items()}
    {'E': 1.7, 'A': 30.0, 'a': 0.1}
    >>> round(found.predictions[0].loss.value, 3)
    1.889
    """
    chosen, columns = law_and_columns(law, x, n, d, u=u, z=z)
    fixed, places = read_fixed(fix), read_places(at, columns)
    if metric is None and (chance, best, link) != (None, None, "sigmoid"):
        raise UsageError("--link, --chance and --best speak of a metric; name it by --metric")

    def of(runs: Runs) -> Fit:
        some, held = runs.split(heldout)
        inputs, values = _columns(some, columns), read_losses(some, loss)
        require_positive({loss: values})
        result = fit_arrays(
            chosen, inputs, values, objective=objective, delta=delta, tau=tau, starts=starts, bootstrap=bootstrap,
            weights=None if weights is None else some.numbers(weights), seed=seed,
            fixed=fixed, clusters=None if cluster is None else np.unique(some.labels(cluster), return_inverse=True)[1],
            predict=places, heldout=(_columns(held, columns), read_losses(held, loss)) if heldout else None,
        )  # fmt: skip
        if objective == "squares_log" and weights is None and not bootstrap and not fixed:
            result = replace(result, predictions=_believed(result, inputs, values))
        if metric is not None:
            told = fit_link(values, some.numbers(metric), link, chance, best)
            count = int(np.isfinite(values + some.numbers(metric)).sum())
            noise = result.rms_residual / float(np.nanmean(values))
            out = None if result.heldout is None else (result.heldout.rows, held.numbers(metric))
            result = replace(result, metric=metric_of(told, metric, result.predictions, noise, count, out))
        lost = name_lost(result.left_out, some, None, loss, *columns.values())
        drawn = Drawn(inputs["x"], values, loss) if "x" in inputs else Drawn(name=loss)
        flags = (
            result.flags if cluster else [*result.flags, *find_checkpoints(some, columns[get_law(chosen).inputs[-1]])]
        )
        return replace(result, inputs=columns, left_out=[*some.left_out, *lost], drawn=drawn, flags=flags)

    runs = read_runs(table, where)
    return by_recipe(runs, recipe_column(runs, by, loss, *columns.values()), of)


def _believed(found: Fit, inputs: Mapping[str, Floats], loss: Floats) -> list[Predicted]:
    """What is predicted, as `predict` says it of one run; the law's own where that law's family is not believed."""
    if not found.predictions or not is_believed(found.law, len(loss)):
        return found.predictions
    awaited = await_losses(get_law(found.law), inputs, loss, [old.at for old in found.predictions])
    return [
        Predicted(old.at, Estimate(new.value, new.sd, new.interval()), new.interval(1), by_law=old.loss.value)
        for old, new in zip(found.predictions, awaited, strict=True)
    ]


def _columns(runs: Runs, columns: Mapping[str, str]) -> dict[str, Any]:
    return {name: runs.numbers(text) for name, text in columns.items()}
