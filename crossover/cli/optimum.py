"""The command `optimum`: the best learning rate at every size, and its law."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.options import File, Html, Json, Loss, Plot, Where
from crossover.cli.output import answer

if TYPE_CHECKING:
    from crossover.plots.house import Figure


def optimum(
    file: File,
    lr: Annotated[str, typer.Option(help="Column with the peak learning rate.")] = "lr",
    loss: Loss = "loss",
    batch: Annotated[str | None, typer.Option(help="Column or expression with the batch size.")] = None,
    n: Annotated[str | None, typer.Option("--n", help="Column or expression: parameters.")] = None,
    d: Annotated[str | None, typer.Option("--d", help="Column or expression: training tokens.")] = None,
    x: Annotated[str | None, typer.Option(help="Another scale that names a cell, such as the width.")] = None,
    initial: Annotated[str | None, typer.Option(help="Column with the loss at initialisation.")] = None,
    where: Where = None,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:
    """The best learning rate (and batch) at every size, and its law.

    crossover optimum sweep.csv --lr lr --batch "bs * 2048" --n N --d D --loss loss
    """
    from dataclasses import replace

    from crossover.laws.optimum import optimum as optimum_rows
    from crossover.runs.table import read_runs

    runs = read_runs(file, where)
    scale = {name: runs.numbers(text) for name, text in (("N", n), ("D", d), ("x", x)) if text is not None}
    if not scale:
        raise UsageError("name what makes a cell: --n and --d, or --x")
    result = optimum_rows(
        runs.numbers(lr), runs.numbers(loss), scale, batch=None if batch is None else runs.numbers(batch),
        initial=None if initial is None else runs.numbers(initial),
    )  # fmt: skip
    result = replace(result, left_out=[*runs.left_out, *result.left_out])

    def draw() -> "Figure":
        from crossover.plots.charts import draw_optima

        return draw_optima(result)

    from crossover.cli.said import optima_said

    answer(file, optima_said(result), result.to_json() if as_json else None, draw, plot, html)
