"""The command `fit`: a scaling law on anybody's runs."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import Annotated

import typer

from crossover.cli.common import By, D, File, Html, Json, Loss, N, Places, Plot, Where, X, answer, require_outputs


def fit(
    file: File,
    law: Annotated[str | None, typer.Option(help="power, power_floor, chinchilla, chinchilla_shared, chinchilla_z, "
                                            "epochs, m4, bnsl, optimum, optimum_nd.",
                                            show_default="chinchilla with --n and --d, else power_floor")] = None,
    loss: Loss = "loss",
    x: X = None,
    n: N = None,
    d: D = None,
    u: Annotated[str | None, typer.Option("--u", help="Column or expression: unique tokens, of data seen repeatedly."
                                          )] = None,
    z: Annotated[str | None, typer.Option("--z", help="Column or expression: a third input beside N and D.")] = None,
    by: By = None,
    fix: Annotated[list[str] | None, typer.Option(help="Hold a parameter: E=1.6, or E=1.6±0.05 with its s.d.")] = None,
    at: Places = None,
    objective: Annotated[
        str, typer.Option(help="squares_log, squares, huber_log, lad_log, expectile_log.")
    ] = "squares_log",
    delta: Annotated[float, typer.Option(help="Of huber_log.")] = 1e-3,
    tau: Annotated[float, typer.Option(help="Of expectile_log.")] = 0.1,
    weights: Annotated[str | None, typer.Option(help="Column with relative weights.")] = None,
    where: Where = None,
    heldout: Annotated[str | None, typer.Option(help="Rows that satisfy this are predicted, not fitted.")] = None,
    metric: Annotated[str | None, typer.Option(help="Column with a metric that follows the loss, as accuracy does; it "
                                               "is predicted too.")] = None,
    link: Annotated[str, typer.Option(help="The curve from loss to metric: sigmoid, exponential.")] = "sigmoid",
    chance: Annotated[float | None, typer.Option(help="The metric of a model that knows nothing.")] = None,
    best: Annotated[float | None, typer.Option(help="The metric that no model exceeds.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples; 0 for likelihood or sandwich intervals.")] = 0,
    cluster: Annotated[str | None, typer.Option(help="Column; the bootstrap draws whole clusters.")] = None,
    starts: Annotated[int, typer.Option(min=1, help="How many starts to descend from.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """Fit a scaling law, of all runs or of each recipe.

    With 90% intervals. What it predicts at places that nobody has run is said for each --at.

    crossover fit runs.csv --n params --d tokens --objective huber_log --bootstrap 4000 --at N=7e9,D=2e12
    """
    from crossover.api.fit import fit as ask

    require_outputs(file, plot, html)
    result = ask(
        file, law=law, loss=loss, x=x, n=n, d=d, u=u, z=z, by=by, fix=fix, objective=objective, delta=delta, tau=tau,
        weights=weights, where=where, heldout=heldout, at=at, metric=metric, link=link, chance=chance, best=best,
        bootstrap=bootstrap, cluster=cluster, starts=starts, seed=seed,
    )  # fmt: skip
    answer(result, file.name, as_json, plot, html)
