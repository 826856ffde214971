"""The command `compare`: which of two recipes wins along x, and where they cross."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.options import File, Html, Json, Loss, Plot, Where
from crossover.cli.output import answer

if TYPE_CHECKING:
    from crossover.plots.house import Figure


def compare(
    file: File,
    x: Annotated[str, typer.Option(help="Column or expression: FLOPs, tokens, parameters.")] = "flops",
    loss: Loss = "loss",
    by: Annotated[str, typer.Option(help="Column that names the recipe.")] = "recipe",
    pair: Annotated[str | None, typer.Option(help="Column that pairs runs of one size: the seed.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Compare A,B alone; may be repeated.")] = None,
    law: Annotated[
        str, typer.Option(help="auto pairs where it can; power, power_floor, m4 or bnsl fits each recipe apart.")
    ] = "auto",
    target: Annotated[float | None, typer.Option(help="A size to extrapolate the gap to.")] = None,
    far: Annotated[bool, typer.Option("--far", help="Allow a target beyond 1.5 decades.")] = False,
    where: Where = None,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """Which of two recipes wins along x, and where they cross.

    Both with 90% intervals.

    crossover compare runs.csv --x flops --loss val_loss --by recipe --pair seed --target 1e22
    """
    from dataclasses import replace

    from crossover.answers.compare import Settings
    from crossover.answers.compare import compare as compare_rows
    from crossover.runs.table import read_runs

    runs = read_runs(file, where)
    result = compare_rows(
        runs.numbers(x), runs.numbers(loss), runs.labels(by), pair=None if pair is None else runs.labels(pair),
        pairs=[_two(text) for text in only] if only else None, settings=Settings(law, target, far), names=(x, loss),
    )  # fmt: skip
    result = replace(result, left_out=[*runs.left_out, *result.left_out])

    def draw() -> "Figure":
        from crossover.plots.charts import draw_comparisons

        return draw_comparisons(result)

    from crossover.cli.said import comparisons_said

    answer(file, comparisons_said(result), result.to_json() if as_json else None, draw, plot, html)


def _two(text: str) -> tuple[str, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2:
        raise UsageError(f"--only '{text}' must name two recipes, as muon,soap")
    return parts[0], parts[1]
