"""The command `compare`: which of two recipes wins along x, and where they cross."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import File, Html, Json, Loss, Pair, Places, Plot, Where, answer, one_place, require_outputs


def compare(
    file: File,
    at: Places = None,
    x: Annotated[str, typer.Option(help="Column or expression: FLOPs, tokens, parameters.")] = "flops",
    loss: Loss = "loss",
    by: Annotated[str, typer.Option(help="Column that names the recipe.")] = "recipe",
    pair: Pair = None,
    only: Annotated[list[str] | None, typer.Option(help="Compare A,B alone; may be repeated.")] = None,
    cost: Annotated[
        str | None, typer.Option(help="With --at: column or expression of a run's cost, for worth at that throughput.")
    ] = None,
    law: Annotated[
        str, typer.Option(help="Of each recipe, for worth in compute: power, power_floor (auto: 5 sizes), m4, bnsl.")
    ] = "auto",
    where: Where = None,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """Which of two recipes wins along x, and where they cross.

    With 90% intervals; at a place named by --at also who wins there, how sure that is and what a wrong choice costs.

    crossover compare runs.csv --x flops --loss val_loss --by recipe --pair seed --at x=1e22
    """
    from crossover.api.compare import compare as ask

    require_outputs(file, plot, html)
    pairs = [_two(text) for text in only] if only else None
    result = ask(file, at=one_place(at), x=x, loss=loss, by=by, pair=pair, only=pairs, cost=cost, law=law, where=where)
    answer(result, file.name, as_json, plot, html)


def _two(text: str) -> tuple[str, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2:
        raise UsageError(f"--only '{text}' must name two recipes, as muon,soap")
    return parts[0], parts[1]
