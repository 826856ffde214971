"""The page of a project: answers, verdicts, figures, cells, their price and inputs, of every active study.

It tells nothing of machine and hour: results that are reproduced make the same page. `crossover status --runs` does.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from crossover.ledger.scoring import Record
from crossover.ledger.words import score_rows, track_words
from crossover.plots.house import Figure
from crossover.plots.page import load_template, page, show
from stages.report.figures import study_figures
from stages.report.results import StudyResults
from stages.report.words import answers, decisions, headline
from stages.study.costs import count_flops, seconds
from stages.study.params import Params, Scale
from stages.study.plan import plan_rows
from stages.verdicts.words import counts, lines

_HERE = Path(__file__).parent


def render(
    studies: list[StudyResults],
    tokens: dict[str, Any],
    verdicts: list[dict[str, Any]],
    regimes: list[Figure],
    record: Record | None = None,
) -> str:
    """The page for all active studies, led by their answers and by the verdicts on the claims.

    With a `record` of lodged forecasts it has a section of how they did.
    """
    sections = [
        {
            "results": results,
            "headline": headline(results),
            "figures": [show(figure) for figure in study_figures(results)],
            "answers": answers(results),
            "decisions": decisions(results),
            "grid": cell_grid(results),
            "costs": costs(results),
            "inputs": inputs(results),
        }
        for results in studies
    ]
    return page(
        _HERE / "page.html.j2",
        sections=sections,
        several=len({results.scale.name for results in studies}) > 1,
        tokens=tokens,
        lines=lines(verdicts),
        counts=counts(verdicts),
        regimes=[show(figure) for figure in regimes],
        forecasts=list(score_rows(record.scores)) if record and record.scores else [],
        track=track_words(record.track) if record else "",
    )


def findings(params: Params, verdicts: list[dict[str, Any]], figure: bool) -> str:
    """The verdicts as Markdown."""
    used = dict.fromkeys(item.scale for item in params.active.values())
    return load_template(_HERE / "findings.md.j2").render(
        lines=lines(verdicts),
        counts=counts(verdicts),
        figure=figure,
        interest=_interest(params, used),
        scales=[_scale(params.scale(name)) for name in used],
    )


def _interest(params: Params, used: Iterable[str]) -> str:
    """What counts as meaningful, by scale."""
    said = [f"`{name}`: {held.compute:g} times the compute" for name in used if (held := params.scale(name).interest)]
    return ", ".join(said) or "none is named"


def _scale(scale: Scale) -> dict[str, Any]:
    return {**scale.model_dump(), "text": scale.text, "machine": scale.machine.name}


def cell_grid(results: StudyResults) -> dict[str, Any]:
    """States of all cells: a line per recipe and axis value, a column per width."""
    table = results.losses
    columns = (table[name].tolist() for name in ("width", "status", "loss_validation", "structural_pair"))
    places: dict[tuple[str, str], dict[int, list[_Seen]]] = {}
    for recipe, axes, width, *seen in zip(table["recipe"].tolist(), table["axes"].tolist(), *columns, strict=True):
        places.setdefault((recipe, axes), {}).setdefault(width, []).append(_Seen(*seen))
    widths = sorted(set(table["width"].tolist()))
    lines = [
        {
            "name": results.label(recipe) + (f" {axes}" if axes != "{}" else ""),
            "states": [_state(cells.get(width, [])) for width in widths],
        }
        for (recipe, axes), cells in places.items()
    ]
    return {"columns": [f"width {width}" for width in widths], "lines": lines}


class _Seen(NamedTuple):
    status: str
    loss: float
    shared: bool


def _state(cells: list[_Seen]) -> dict[str, str]:
    if not cells:
        return {"kind": "none", "text": "–"}
    for kind in ("failed", "diverged"):
        if count := sum(cell.status == kind for cell in cells):
            return {"kind": "diverged", "text": f"{count} of {len(cells)} {kind}"}
    shared = " (shared)" if all(cell.shared for cell in cells) else ""
    return {"kind": "done", "text": f"{fmean(cell.loss for cell in cells):.3f} × {len(cells)}{shared}"}


def costs(results: StudyResults) -> dict[str, Any]:
    """What the cells of each width were predicted to take, in seconds of the whole machine."""
    rows, machine = list(_costs(results)), results.scale.machine
    return {
        "rows": rows,
        "words": f"Predicted seconds of the whole machine ({machine.name}, cells at once: {machine.cells_at_once}), "
        f"shared cells counted in every study that has them: {sum(row['planned'] for row in rows):.0f} in all. What "
        "they took, where and when: `crossover status --runs`.",
    }


def _costs(results: StudyResults) -> Iterator[dict[str, Any]]:
    seeds = len(results.study.seed_numbers(results.scale))  # which all cost the same
    one_seed = results.study.one_seed()
    cells = dict.fromkeys(row.cell for row in plan_rows(one_seed, results.scale))
    for width, group in results.losses.drop_duplicates("fingerprint").groupby("width"):
        here = [cell for cell in cells if cell.width == width]
        yield {
            "width": width,
            "cells": len(group),
            "eflop": seeds * sum(count_flops(cell).total for cell in here) / 1e18,
            "planned": seeds * sum(seconds(cell, results.scale) for cell in here),
        }


def inputs(results: StudyResults) -> dict[str, str]:
    """What the numbers were made from."""
    losses = results.losses
    return {
        "cells": f"{losses['fingerprint'].nunique()}",
        "tokens": f"{losses['tokens'].min():,} to {losses['tokens'].max():,} per cell",
        "tokenizer": losses["tokenizer_digest"].iloc[0],
        "evaluation": losses["evaluation_digest"].iloc[0],
    }
