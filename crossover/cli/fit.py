"""The command `fit`: a scaling law on anybody's runs."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossover.cli.options import File, Html, Json, Loss, Plot, Where, parse_place, require_inputs
from crossover.cli.output import answer

if TYPE_CHECKING:
    from crossover.plots.house import Figure
    from crossover.runs.table import Runs


def fit(
    file: File,
    law: Annotated[str | None, typer.Option(help="power, power_floor, chinchilla, chinchilla_shared, m4, bnsl, "
                                            "optimum, optimum_nd.", show_default="chinchilla with --n and --d, "
                                            "else power_floor")] = None,
    loss: Loss = "loss",
    x: Annotated[str | None, typer.Option(help="Column or expression: FLOPs, tokens, parameters.")] = None,
    n: Annotated[str | None, typer.Option("--n", help="Column or expression: parameters.")] = None,
    d: Annotated[str | None, typer.Option("--d", help="Column or expression: training tokens.")] = None,
    objective: Annotated[
        str, typer.Option(help="squares_log, squares, huber_log, lad_log, expectile_log.")
    ] = "squares_log",
    delta: Annotated[float, typer.Option(help="Of huber_log.")] = 1e-3,
    tau: Annotated[float, typer.Option(help="Of expectile_log.")] = 0.1,
    weights: Annotated[str | None, typer.Option(help="Column with relative weights.")] = None,
    where: Where = None,
    heldout: Annotated[str | None, typer.Option(help="Rows that satisfy this are predicted, not fitted.")] = None,
    predict: Annotated[list[str] | None, typer.Option(help="A place, as N=7e9,D=2e12; may be repeated.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples; 0 for likelihood or sandwich intervals.")] = 0,
    cluster: Annotated[str | None, typer.Option(help="Column; the bootstrap draws whole clusters.")] = None,
    starts: Annotated[int, typer.Option(min=1, help="How many starts to descend from.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """Fit a scaling law to anybody's runs, with 90% intervals.

    crossover fit runs.csv --n params --d tokens --objective huber_log --bootstrap 4000 --predict N=7e9,D=2e12
    """
    from dataclasses import replace

    import numpy as np

    from crossover.laws.fit import fit as fit_rows
    from crossover.laws.laws import get_law
    from crossover.runs.table import read_runs

    chosen = get_law(law or ("chinchilla" if n and d else "power_floor"))
    columns = {name: text for name, text in (("x", x), ("N", n), ("D", d)) if text is not None}
    require_inputs(chosen.inputs, columns, chosen.name)
    runs, held = read_runs(file, where).split(heldout)
    inputs = _columns(runs, columns, chosen.inputs)
    values = runs.numbers(loss)
    result = fit_rows(
        chosen.name, inputs, values, objective=objective, delta=delta, tau=tau, starts=starts, bootstrap=bootstrap,
        weights=None if weights is None else runs.numbers(weights), seed=seed,
        clusters=None if cluster is None else np.unique(runs.labels(cluster), return_inverse=True)[1],
        predict=[parse_place(text, chosen.inputs, "--predict") for text in predict or []],
        heldout=(_columns(held, columns, chosen.inputs), held.numbers(loss)) if heldout else None,
    )  # fmt: skip
    named = {name: columns[name] for name in chosen.inputs}
    result = replace(result, inputs=named, left_out=[*runs.left_out, *result.left_out])

    def draw() -> "Figure":
        from crossover.plots.charts import draw_fit

        return draw_fit(result, inputs, values, loss)

    from crossover.cli.said import fit_said

    body = {key: value for key, value in result.to_json().items() if key != "line"}
    answer(file, fit_said(result), body if as_json else None, draw, plot, html)


def _columns(runs: "Runs", columns: dict[str, str], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: runs.numbers(columns[name]) for name in names}
