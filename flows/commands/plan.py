"""The command `plan`: what studies will cost, from params.yaml alone."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import Json
from flows.commands.options import Scale, StudyName

if TYPE_CHECKING:
    from flows.studies.prices import Forecast, Planned
    from stages.study.params import Params


def plan(
    scale: Scale = None,
    study: StudyName = None,
    detect: Annotated[float | None, typer.Option(help="Instead: what shows a difference of so many nats?")] = None,
    noise: Annotated[
        float | None, typer.Option(help="Seed SD of one run, for --detect; of the study `noise` where absent.")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Of --detect; 0.8 where absent.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Every cell with its FLOPs, and the predicted time and money.

    Tells parameters, tokens and whether the cell is in the store. Needs neither data nor a GPU. Without options:
    the active studies. With --scale alone: its active studies, or all studies where none is active there. With
    --study all: every study of params.yaml, and what they cost together. Fails where a study would take longer than
    its budget.

    With --detect 0.02: how many seeds and rungs show a difference of 0.02 nats between two recipes, and their price.

    crossover plan --study lr_crossover --scale pocket
    """
    if detect is not None:
        from flows.studies.designs import show_designs

        show_designs(detect, noise, 0.8 if power is None else power, study, scale, as_json)
        return
    if noise is not None or power is not None:
        raise UsageError("--noise and --power belong to --detect; name the difference, as --detect 0.02")
    _show(scale, study, as_json)


def _show(scale: str | None, study: str | None, as_json: bool) -> None:
    """Forecasts of the chosen studies, and their total. Raises `UsageError` where a study is over its budget."""
    from crossover.cli.common import print_json
    from flows.studies.prices import forecast, look_up
    from stages.study.params import load_params
    from stages.study.plan import require_budget, require_memory

    params = load_params()
    chosen = [(item.study, item.scale) for item in params.active.values()]
    if scale is not None:
        params.scale(scale)
        chosen = [pair for pair in chosen if pair[1] == scale] or [(name, scale) for name in params.studies]
    if study is not None:
        names = list(params.studies) if study == "all" else [study]
        scales = [scale] if scale else list(dict.fromkeys(used for _, used in chosen))
        chosen = [(name, used) for used in scales for name in names]
    planned = [look_up(params, *pair) for pair in chosen]
    forecasts = [forecast(params, item) for item in planned]
    if as_json:
        print_json([item.to_json() for item in forecasts])
    else:
        for item in forecasts:
            _show_forecast(item)
        for used in dict.fromkeys(used for _, used in chosen):
            _show_total([item for item in planned if item.scale == used], params)
    for pair, item in zip(chosen, forecasts, strict=True):
        require_budget(params, *pair, item.hours_in_all)
    for known in planned:
        require_memory(known.scale, params.scale(known.scale), (row.cell for row in known.rows))


def _show_total(planned: "list[Planned]", params: "Params") -> None:
    from flows.studies.prices import duration, total

    if len(planned) > 1:
        item = total(params, planned)
        price = f" at ${item.usd_per_hour:g} an hour" if item.usd_per_hour else ""
        print(
            f"{item.studies} studies at scale {item.scale} together: {item.cells} cells, shared ones counted once; "
            f"to run: {item.eflop_to_run:.3g} EFLOP, about {duration(item.hours_to_run)} on {item.machine}, "
            f"${item.usd_to_run:,.0f}{price}\n"
        )


def _show_forecast(item: "Forecast") -> None:
    from crossover.plots.blocks import show, table
    from flows.studies.prices import duration

    gpu = any(rung.peak_gb is not None for rung in item.rungs)
    columns = ("width", "N", "tokens", "EFLOP", "(all)", "rows", "cells", "stored", "time", *["GB"] * gpu)
    out = table(f"{item.study} at scale {item.scale}", *columns, left=0)
    for rung in item.rungs:
        memory = [f"{rung.peak_gb:.3g}"] if rung.peak_gb is not None else []
        out.add(
            str(rung.width), _short(rung.n_nonembedding), _short(rung.tokens), f"{rung.eflop_6n:.3g}",
            f"{rung.eflop_total:.3g}", str(rung.rows), str(rung.cells), _known(rung.cached), duration(rung.hours),
            *memory,
        )  # fmt: skip
    show([
        out,
        "per cell: N = 12 L D^2; EFLOP = 6 N tokens; (all): with head and attention",
        f"{item.rows} rows, {item.cells} cells, {_known(item.cached)} of them stored; "
        f"to run: {item.eflop_to_run:.3g} EFLOP, about {duration(item.hours_to_run)} on {item.machine}, "
        f"${item.usd_to_run:,.0f}; {duration(item.hours_in_all)} of {duration(item.hours_allowed)} allowed in all\n",
    ])  # fmt: skip


def _short(count: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.4g}{unit}"
    return f"{count:g}"


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)
