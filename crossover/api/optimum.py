"""The best learning rate (and batch) at every size, and its law."""

from dataclasses import replace

from crossover.api.recipes import ByRecipe, by_recipe
from crossover.base.errors import UsageError
from crossover.laws.optimum import Optima
from crossover.laws.optimum import optimum as optimum_arrays
from crossover.runs.losses import name_lost, read_losses
from crossover.runs.roles import recipe_column
from crossover.runs.table import Runs, Tabular, read_runs


def optimum(
    table: Tabular,
    *,
    lr: str = "lr",
    loss: str = "loss",
    batch: str | None = None,
    n: str | None = None,
    d: str | None = None,
    x: str | None = None,
    by: str | None = None,
    initial: str | None = None,
    where: str | None = None,
) -> Optima | ByRecipe[Optima]:
    """The best learning rate (and batch) of every size, how broad it is, its law, and what the law loses.

    Args:
        table: one row per run: a file's path, a DataFrame, or columns by name as arrays of one length.
        lr: column or expression of positive peak learning rates.
        loss: column or expression of losses; a missing or infinite one is a diverged run.
        batch: column or expression of positive batch sizes, in any unit.
        n: column or expression: parameters. A cell is named by `n`, `d` and `x`, those that are given.
        d: column or expression: training tokens.
        x: another size that names a cell, such as the width.
        by: column that names the recipe; "none" pools several on purpose.
        initial: column of losses at initialisation, for the sensitivity to the learning rate.
        where: keep rows that satisfy this.

    Raises:
        UsageError: nothing that names a cell, no cell with three learning rates, several recipes and no `by`.

    Source: regret as in Step Law (arXiv 2503.04715), sensitivity as in Wortsman et al. (arXiv 2309.14322).

    >>> import numpy as np
    >>> lr = np.tile(2.0 ** np.arange(-13, -3), 4)
    >>> width = np.repeat([64.0, 128.0, 256.0, 512.0], 10)
    >>> found = optimum({"lr": lr, "width": width, "loss": 3 + 0.1 * np.log(lr * width) ** 2}, x="width")
    >>> [f"{cell.optimum:.4f}" for cell in found.cells], round(found.law.params["p"].value, 6)
    (['0.0156', '0.0078', '0.0039', '0.0020'], -1.0)
    """
    scale = {name: text for name, text in (("N", n), ("D", d), ("x", x)) if text is not None}
    if not scale:
        raise UsageError("name what makes a cell: --n and --d, or --x")

    def of(runs: Runs) -> Optima:
        result = optimum_arrays(
            runs.numbers(lr), read_losses(runs, loss), {name: runs.numbers(text) for name, text in scale.items()},
            batch=None if batch is None else runs.numbers(batch),
            initial=None if initial is None else runs.numbers(initial),
        )  # fmt: skip
        return replace(result, left_out=[*runs.left_out, *name_lost(result.left_out, runs, None, loss)])

    runs = read_runs(table, where)
    return by_recipe(runs, recipe_column(runs, by, lr, loss, *scale.values()), of)
