"""The command `crossover advise`: which runs to make next, for their cost, and when to stop.

Two doors to one answer: anybody's table with a list of candidates, and a study of params.yaml, whose candidates are
cells that are not finished yet and cost hours.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import (
    AnyFile,
    By,
    D,
    Html,
    Json,
    Loss,
    N,
    OfScale,
    Pair,
    Places,
    Plot,
    Study,
    Where,
    X,
    answer,
    require_outputs,
)
from crossover.cli.project import require_project

if TYPE_CHECKING:
    from crossover.answers.advising.advise import Advice
    from crossover.answers.advising.arms import ArmsAdvice


def advise(
    file: AnyFile = None,
    at: Places = None,
    budget: Annotated[float | None, typer.Option(help="What the next runs may cost together; hours with --study.",
                                                 show_default=False)] = None,
    loss: Loss = "loss",
    x: X = None,
    n: N = None,
    d: D = None,
    candidates: Annotated[Path | None, typer.Option(help="Cells that could be run, with the same columns less the "
                                                    "loss.", show_default="rows of the runs without a loss")] = None,
    cost: Annotated[str | None, typer.Option(help="Column or expression, in the budget's unit.",
                                             show_default="6 N D, or x")] = None,
    by: By = None,
    pair: Pair = None,
    law: Annotated[str | None, typer.Option(help="power, power_floor, chinchilla, chinchilla_shared.",
                                            show_default="chinchilla with --n and --d, else power_floor")] = None,
    noise: Annotated[float | None, typer.Option(help="Standard deviation of a run's loss; estimated where absent.")]
    = None,
    sure: Annotated[float, typer.Option(help="Probability at which a decision is taken as settled.")] = 0.95,
    where: Where = None,
    study: Study = None,
    scale: OfScale = None,
    only: Annotated[str | None, typer.Option(help="With --study: these recipes alone, as A,B.")] = None,
    width: Annotated[list[int] | None, typer.Option(help="With --study: another width that could be run; may be "
                                                    "repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=0, help="With --study: further seeds that could be run.")] = 2,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """Which runs to make next, and when to stop.

    The cells within a budget that tell most about the loss at a place, or about which recipe wins there. With
    --study the place is a width, as --at width=256.

    crossover advise runs.csv --n params --d tokens --candidates next.csv --at N=7e9,D=2e12 --budget 1e21
    """
    from crossover.api.advise import advise as ask

    if (file is None) == (study is None):
        raise UsageError("name a file of runs, or --study and --scale")
    if not at or budget is None:
        raise UsageError("name the place to answer for and what the runs may cost, as --at x=1e22 --budget 1e21")
    require_outputs(file, plot, html)
    if file is not None:
        advice = ask(
            file, candidates, at=at, budget=budget, loss=loss, x=x, n=n, d=d, cost=cost, by=by, pair=pair, law=law,
            noise=noise, sure=sure, where=where,
        )  # fmt: skip
    else:
        advice = _of_study(study, scale, at, budget, only, width or [], seeds, noise, sure)
    answer(advice, file.name if file else f"{study}-{scale}", as_json, plot, html)


def _of_study(
    study: str | None, scale: str | None, at: list[str], budget: float, only: str | None, widths: list[int],
    seeds: int, noise: float | None, sure: float,
) -> "Advice | ArmsAdvice":  # fmt: skip
    if study is None or scale is None:
        raise UsageError("--study needs --scale, as --scale pocket")
    return require_project().advise_study(study, scale, at, budget, only, widths, seeds, noise, sure)
