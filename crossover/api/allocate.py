"""How large a model, and how many tokens, for a budget of compute."""

from collections.abc import Sequence
from dataclasses import replace

from crossover.answers.advising.standing import await_losses, is_believed
from crossover.answers.allocating.allocate import Allocation
from crossover.answers.allocating.allocate import allocate as allocate_arrays
from crossover.api.fixed import Fixed, read_fixed
from crossover.api.places import Place, read_place
from crossover.base.errors import UsageError
from crossover.laws.laws import get_law
from crossover.runs.estimates import Estimate
from crossover.runs.losses import name_lost, read_losses
from crossover.runs.roles import recipe_column
from crossover.runs.table import Tabular, read_runs


def allocate(
    table: Tabular,
    *,
    at: Place,
    n: str = "N",
    d: str = "D",
    loss: str = "loss",
    flops: str | None = None,
    per: float | None = None,
    per_served: float = 2.0,
    serve_tokens: float | None = None,
    law: str = "chinchilla",
    by: str | None = None,
    where: str | None = None,
    fix: Fixed | str | Sequence[str] | None = None,
    objective: str = "squares_log",
    delta: float = 1e-3,
    bootstrap: int = 0,
    seed: int = 0,
) -> Allocation:
    """The best size and tokens of a budget, by a law and by parabolas at equal compute, with 90% intervals.

    Args:
        table: one row per run, of one recipe: a file's path, a DataFrame, or columns by name as arrays of one length.
        at: the budget of training: 1e22, "C=1e22" or {"C": 1e22}, in the unit of `per` x N x D.
        n: column or expression: parameters.
        d: column or expression: training tokens.
        loss: column or expression of positive losses.
        flops: column or expression of the runs' measured compute, about proportional to N x D.
        per: compute per parameter and token of training; where absent what `flops` says, else 6, the FLOPs of a dense
            model without attention.
        per_served: compute per parameter and token that is served.
        serve_tokens: tokens that the model will serve over its life.
        law: `chinchilla` or `chinchilla_shared`.
        by: "none" pools several recipes on purpose; choose one with `where`.
        where: keep rows that satisfy this.
        fix: parameters that are held, as in `fit`.
        objective: as in `fit`.
        delta: of `huber_log`.
        bootstrap: resamples; 0 for intervals from the covariance.
        seed: of the bootstrap.

    Raises:
        UsageError: a column that is not there, too few runs, several recipes, a budget that is not positive.

    Source: Hoffmann et al. 2022 (arXiv 2203.15556), approaches 2 and 3; Sardana et al. 2024 (arXiv 2401.00448).

    >>> import numpy as np
    >>> n, ratio = (part.ravel() for part in np.meshgrid(np.geomspace(1e8, 1e10, 7), [5.0, 20.0, 80.0]))
    >>> d = n * ratio
    >>> runs = {"N": n, "D": d, "loss": 1.8172 + 482.01 / n**0.3478 + 2085.43 / d**0.3658}
    >>> found = allocate(runs, at=5.76e23)
    >>> f"{found.n.value:.3g} parameters, {found.d.value / found.n.value:.3g} tokens for each"
    '7.05e+10 parameters, 19.3 tokens for each'
    """
    if by not in (None, "none"):
        raise UsageError("an allocation is of one recipe; choose it with --where, or pool them by --by none")
    budget = read_place(at, {"C": flops or "C"})["C"]
    runs = read_runs(table, where)
    recipe_column(runs, by, loss, n, d)
    inputs, losses = {"N": runs.numbers(n), "D": runs.numbers(d)}, read_losses(runs, loss)
    held = read_fixed(fix)
    found = allocate_arrays(
        inputs["N"], inputs["D"], losses, budget, flops=None if flops is None else runs.numbers(flops), per=per,
        served=per_served, serve=serve_tokens, law=law, objective=objective, delta=delta, bootstrap=bootstrap,
        seed=seed, fixed=held,
    )  # fmt: skip
    if objective == "squares_log" and not bootstrap and not held and is_believed(law, len(losses)):
        awaited = await_losses(get_law(law), inputs, losses, [{"N": found.n.value, "D": found.d.value}])[0]
        found = replace(found, loss=Estimate(awaited.value, awaited.sd, awaited.interval()))
    lost = name_lost(found.fit.left_out, runs, None, loss, n, d)
    shown = replace(found.fit, inputs={"N": n, "D": d}, left_out=[*runs.left_out, *lost])
    return replace(found, fit=shown)
