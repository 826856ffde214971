"""The loss at a size nobody has trained, and who wins there."""

from dataclasses import replace

import numpy as np

from crossover.answers.predict import Evidence, Prediction
from crossover.answers.predict import predict as predict_arrays
from crossover.api.places import Place, example, read_place
from crossover.base.errors import UsageError
from crossover.runs.losses import name_lost, read_losses
from crossover.runs.roles import recipe_column
from crossover.runs.rows import require_positive
from crossover.runs.table import Tabular, read_runs


def predict(
    table: Tabular,
    *,
    at: Place | None = None,
    x: str | None = None,
    n: str | None = None,
    d: str | None = None,
    loss: str = "loss",
    by: str | None = None,
    pair: str | None = None,
    runs: int = 1,
    law: str | None = None,
    where: str | None = None,
) -> Prediction:
    """Forecast each recipe's loss at a size nobody has trained, and who wins there.

    The interval is for the mean loss of `runs` new runs: the law's error and the runs' own noise.

    Args:
        table: one row per run: a file's path, a DataFrame, or columns by name as arrays of one length.
        at: the target: {"N": 7e9, "D": 2e12}, "N=7e9,D=2e12", or 1e22 where x is the one input.
        x: column or expression of the law's one input, in any unit: FLOPs, tokens, parameters.
        n: column or expression: parameters.
        d: column or expression: training tokens.
        loss: column or expression of positive losses.
        by: column that names the recipe; "none" pools several on purpose.
        pair: column that pairs runs of one size: the seed.
        runs: runs of each recipe that there will be at the target.
        law: instead of `power_floor` or `chinchilla`; `m4` and `bnsl` are taken as exact.
        where: keep rows that satisfy this.

    Raises:
        UsageError: no size or target, a law that cannot be fitted or leaves no interval, recipes and no `by`.

    Source: belief in laws with what they lack (Kennedy and O'Hagan 2001), see `crossover.answers.predict`.

    >>> import numpy as np
    >>> flops = np.repeat(np.geomspace(1e16, 1e19, 4), 3)
    >>> noise = np.tile([1.001, 1.0, 0.999], 4)
    >>> found = predict({"flops": flops, "loss": 20 * flops**-0.05 * noise}, x="flops", at=1e20, runs=3)
    >>> item = found.recipes["runs"]
    >>> f"{item.value:.3f} [{item.low:.3f}, {item.high:.3f}]"
    '2.020 [1.966, 2.073]'
    """
    columns = {name: text for name, text in (("x", x), ("N", n), ("D", d)) if text is not None}
    if set(columns) not in ({"x"}, {"N", "D"}):
        raise UsageError("name the size: --x, or --n and --d; each a column, or an expression of columns")
    if at is None:
        raise UsageError(f"name the target with --at, as {example(columns)}")
    target, read = read_place(at, columns), read_runs(table, where)
    recipes, values = recipe_column(read, by, *columns.values()), read_losses(read, loss)
    require_positive({loss: values})
    evidence = Evidence(
        {name: read.numbers(text) for name, text in columns.items()}, values,
        np.full(len(values), "runs", object) if recipes is None else read.labels(recipes),
        None if pair is None else read.labels(pair),
    )  # fmt: skip
    result = predict_arrays(evidence, target, count=runs, law=law)
    lost = name_lost(result.left_out, read, recipes, loss, *columns.values())
    return replace(result, left_out=[*read.left_out, *lost], axes=(" × ".join(columns.values()), loss))
