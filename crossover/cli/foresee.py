"""The command `foresee`: the curve of a large run from those of smaller ones, and whether it keeps to it."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from pathlib import Path
from typing import Annotated

import typer

from crossover.cli.common import By, Html, Json, Plot, Where, answer, require_outputs


def foresee(
    curve: Annotated[Path, typer.Argument(help="The run, a row per logged point.", show_default=False)],
    ladder: Annotated[Path, typer.Option(help="Finished runs, of two sizes or of its own, a row per logged point.",
                                         show_default=False)],
    run: Annotated[str, typer.Option(help="Column of the ladder that names its runs.")] = "run",
    n: Annotated[str, typer.Option("--n", help="Column or expression: the size, such as parameters.")] = "N",
    x: Annotated[str, typer.Option(help="Column or expression: tokens or steps so far.")] = "tokens",
    loss: Annotated[str, typer.Option(help="Column or expression: training loss.")] = "loss",
    lr: Annotated[str | None, typer.Option(help="Column or expression: the learning rate.",
                                           show_default="lr where both tables have it")] = None,
    schedule: Annotated[str | None, typer.Option(help="Its shape where none was logged: constant, cosine, cosine:0.1, "
                                                 "linear, wsd:0.2.")] = None,
    warmup: Annotated[float, typer.Option(help="Share of a run in which that rate rises.")] = 0.0,
    size: Annotated[float | None, typer.Option(help="Of the run, where its table does not say it.")] = None,
    until: Annotated[float | None, typer.Option(help="Where the run ends, in the unit of --x.")] = None,
    by: By = None,
    where: Where = None,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """The whole curve of a run, before and while it runs.

    With a 90% band, and the place where the run left its course; then the exit code is 1. Rows of the run without a
    loss are its plan; lengths and schedules of the ladder may differ.

    crossover foresee curve.csv --ladder runs.csv --n params --x tokens --lr lr
    """
    from crossover.api.foresee import foresee as ask

    require_outputs(curve, plot, html)
    result = ask(
        curve, ladder, run=run, n=n, x=x, loss=loss, lr=lr, schedule=schedule, warmup=warmup, size=size, until=until,
        by=by, where=where,
    )  # fmt: skip
    answer(result, curve.name, as_json, plot, html)
    if result.left is not None:
        raise typer.Exit(1)
