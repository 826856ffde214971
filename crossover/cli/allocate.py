"""The command `allocate`: how large a model, and how many tokens, for a budget of compute."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import Annotated

import typer

from crossover.cli.common import By, File, Html, Json, Loss, Places, Plot, Where, answer, one_place, require_outputs


def allocate(
    file: File,
    at: Places = None,
    n: Annotated[str, typer.Option("--n", help="Column or expression: parameters.")] = "N",
    d: Annotated[str, typer.Option("--d", help="Column or expression: training tokens.")] = "D",
    loss: Loss = "loss",
    flops: Annotated[str | None, typer.Option(help="Column or expression: compute; else --per x N x D.")] = None,
    per: Annotated[float | None, typer.Option(help="Compute per parameter and token of training.",
                                              show_default="what --flops says, else 6")] = None,
    per_served: Annotated[float, typer.Option(help="Compute per parameter and token that is served.")] = 2.0,
    serve_tokens: Annotated[float | None, typer.Option(help="Tokens that the model will serve over its life.")] = None,
    law: Annotated[str, typer.Option(help="chinchilla, chinchilla_shared.")] = "chinchilla",
    by: By = None,
    where: Where = None,
    fix: Annotated[list[str] | None, typer.Option(help="Hold a parameter: E=1.6, or E=1.6±0.05 with its s.d.")] = None,
    objective: Annotated[str, typer.Option(help="squares_log, squares, huber_log, lad_log.")] = "squares_log",
    delta: Annotated[float, typer.Option(help="Of huber_log.")] = 1e-3,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples; 0 for intervals from the covariance.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """How large a model, and how many tokens, for a budget.

    By a law in N and D and by parabolas at equal compute, with 90% intervals and what being off costs; with
    --serve-tokens also the model that costs least over its life.

    crossover allocate runs.csv --n params --d tokens --at C=1e22 --serve-tokens 1e13
    """
    from crossover.api.allocate import allocate as ask
    from crossover.base.errors import UsageError

    require_outputs(file, plot, html)
    place = one_place(at)
    if place is None:
        raise UsageError("name the budget, as --at C=1e22")
    result = ask(
        file, at=place, n=n, d=d, loss=loss, flops=flops, per=per, per_served=per_served, serve_tokens=serve_tokens,
        law=law, by=by, where=where, fix=fix, objective=objective, delta=delta, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    answer(result, file.name, as_json, plot, html)
