"""The command `optimum`: the best learning rate at every size, and its law."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import Annotated

import typer

from crossover.cli.common import By, D, File, Html, Json, Loss, N, Plot, Where, answer, require_outputs


def optimum(
    file: File,
    lr: Annotated[str, typer.Option(help="Column with the peak learning rate.")] = "lr",
    loss: Loss = "loss",
    batch: Annotated[str | None, typer.Option(help="Column or expression with the batch size.")] = None,
    n: N = None,
    d: D = None,
    x: Annotated[str | None, typer.Option(help="Another size that names a cell, such as the width.")] = None,
    by: By = None,
    initial: Annotated[str | None, typer.Option(help="Column with the loss at initialisation.")] = None,
    where: Where = None,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:
    """The best learning rate (and batch) at every size, and its law.

    crossover optimum sweep.csv --lr lr --batch "bs * 2048" --n N --d D --loss loss
    """
    from crossover.api.optimum import optimum as ask

    require_outputs(file, plot, html)
    result = ask(file, lr=lr, loss=loss, batch=batch, n=n, d=d, x=x, by=by, initial=initial, where=where)
    answer(result, file.name, as_json, plot, html)
