"""The commands for anybody's runs: `fit`, `compare` and `optimum` on a CSV, Parquet or JSONL file.

The libraries they need are imported when a command runs, so that `crossover --help` stays quick.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.study.errors import UsageError
from stages.study.hints import nearest

if TYPE_CHECKING:
    from flows.shown import Said
    from stages.fit.runs import Runs
    from stages.report.house import Figure

File = Annotated[Path, typer.Argument(help="Runs as .csv, .parquet or .jsonl, one row per run.", show_default=False)]
Loss = Annotated[str, typer.Option(help="Column, or expression of columns, with the loss.")]
Where = Annotated[
    str | None,
    typer.Option(
        help="Keep rows that satisfy this, as 'flops > 1e18 and size != \"7B\"'; quote odd names in `backticks`."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Plot = Annotated[Path | None, typer.Option(help="Also draw it here: .png, .svg or .pdf.")]
Html = Annotated[Path | None, typer.Option(help="Also write a page to send around, with an interactive figure.")]


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

    from stages.fit import fit as fit_rows
    from stages.fit.laws import get_law
    from stages.fit.runs import read_runs

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
        from stages.report.charts import draw_fit

        return draw_fit(result, inputs, values, loss)

    from flows.shown import fit_said

    body = {key: value for key, value in result.to_json().items() if key != "line"}
    _answer(file, fit_said(result), body if as_json else None, draw, plot, html)


def _columns(runs: "Runs", columns: dict[str, str], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: runs.numbers(columns[name]) for name in names}


def require_inputs(needed: tuple[str, ...], given: dict[str, str], law: str) -> None:
    """Raise `UsageError` where an input of the law has no column, or a column is no input of it."""
    missing = [f"--{name.lower()}" for name in needed if name not in given]
    if missing:
        raise UsageError(f"law '{law}' needs {' and '.join(missing)}: a column, or an expression of columns")
    extra = [f"--{name.lower()}" for name in given if name not in needed]
    if extra:
        raise UsageError(f"law '{law}' has no use for {' and '.join(extra)}; its inputs are {', '.join(needed)}")


def parse_place(text: str, inputs: tuple[str, ...], option: str) -> dict[str, float]:
    """A place written as N=7e9,D=2e12. Raises `UsageError` that names the option and the part."""
    place = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        match = {known.lower(): known for known in inputs}.get(name.strip().lower())
        if match is None:
            raise UsageError(f"{option} '{text}': '{name.strip()}' is no input; {nearest(name.strip(), list(inputs))}")
        try:
            place[match] = float(number)
        except ValueError:
            raise UsageError(f"{option} '{text}': '{number}' is no number; write {match}=1e9") from None
    return place


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

    from stages.fit import Settings
    from stages.fit import compare as compare_rows
    from stages.fit.runs import read_runs

    runs = read_runs(file, where)
    result = compare_rows(
        runs.numbers(x), runs.numbers(loss), runs.labels(by), pair=None if pair is None else runs.labels(pair),
        pairs=[_two(text) for text in only] if only else None, settings=Settings(law, target, far), names=(x, loss),
    )  # fmt: skip
    result = replace(result, left_out=[*runs.left_out, *result.left_out])

    def draw() -> "Figure":
        from stages.report.charts import draw_comparisons

        return draw_comparisons(result)

    from flows.shown import comparisons_said

    _answer(file, comparisons_said(result), result.to_json() if as_json else None, draw, plot, html)


def _two(text: str) -> tuple[str, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2:
        raise UsageError(f"--only '{text}' must name two recipes, as muon,soap")
    return parts[0], parts[1]


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

    from stages.fit import optimum as optimum_rows
    from stages.fit.runs import read_runs

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
        from stages.report.charts import draw_optima

        return draw_optima(result)

    from flows.shown import optima_said

    _answer(file, optima_said(result), result.to_json() if as_json else None, draw, plot, html)


def print_json(value: Any) -> None:
    """JSON on standard output."""
    print(json.dumps(value, indent=1, allow_nan=False))


def _answer(
    file: Path,
    said: "Iterable[Said]",
    body: dict[str, Any] | None,
    draw: "Callable[[], Figure]",
    plot: Path | None,
    html: Path | None,
) -> None:
    """Write the figure and the page where they are asked for; print the JSON, or in words what is said."""
    from flows.shown import as_blocks, show
    from stages.study.files import write_bytes

    told, figure = list(said), draw() if plot or html else None
    if figure is not None and plot is not None:
        formats = {".png": figure.png, ".svg": lambda: figure.svg().encode(), ".pdf": figure.pdf}
        if plot.suffix not in formats:
            raise UsageError(f"--plot writes {', '.join(formats)}; name {plot} with one of them at its end")
        write_bytes(plot, formats[plot.suffix]())
    if figure is not None and html is not None:
        from stages.report.runs import runs_page

        write_bytes(html, runs_page(file.name, figure, as_blocks(told)).encode())
    if body is not None:
        print_json(body)
    else:
        show(told)
