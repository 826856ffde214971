"""One self-contained HTML page: no script, no network, figures inside."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from stages.report.figures import draw, learning_rate_bowls, loss_against_compute, paired_difference
from stages.report.results import StudyResults
from stages.report.verdicts import counts, lines
from stages.report.words import answers
from stages.study.params import Params
from stages.verdicts.judge import POWERED

_FIGURES = [
    (
        loss_against_compute,
        "Held-out loss against training compute, with the fitted law and its 90% band.",
        "laws",
    ),
    (
        paired_difference,
        "Paired difference along the ladder; bars are 90% t intervals, ticks are seeds.",
        "comparisons",
    ),
    (
        learning_rate_bowls,
        "Held-out loss against learning rate at each width; a star marks the optimum.",
        "optima",
    ),
]


_REGIMES = (
    "Three regimes on one map. (a) Ridge regression in closed form: the test error peaks where features equal samples. "
    "(b) Language models on a small data set. (c) The same on fresh text. (d) Which cure helps in which regime."
)


@dataclass(frozen=True)
class Figure:
    """A picture with its name and what it shows."""

    name: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """A data URL."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def figures(results: StudyResults) -> list[Figure]:
    """The figures that the study has something to show in."""
    return [
        Figure(f"{results.key}-{plot.__name__}", caption, draw(plot, results))
        for plot, caption, part in _FIGURES
        if any(results.fit[part].values() if part == "laws" else results.fit[part])
    ]


def render(
    studies: list[tuple[StudyResults, list[Figure]]],
    tokens: dict[str, Any],
    verdicts: list[dict[str, Any]],
    regimes: bytes | None,
) -> str:
    """The page for all active studies, led by the verdicts on the claims."""
    sections = [
        {
            "results": results,
            "figures": shown,
            "answers": answers(results),
            "grid": cell_grid(results),
            "provenance": provenance(results),
        }
        for results, shown in studies
    ]
    return _template("page.html.j2").render(
        sections=sections,
        tokens=tokens,
        lines=lines(verdicts),
        counts=counts(verdicts, POWERED),
        regimes=regimes and Figure("regimes", _REGIMES, regimes),
    )


def findings(params: Params, studies: list[StudyResults], verdicts: list[dict[str, Any]], figure: bool) -> str:
    """The verdicts as Markdown."""
    noise = next(
        (item["tolerance_from"] for item in verdicts if item["tolerance_from"].startswith("2 x")), "not measured"
    )
    used = dict.fromkeys(item.scale for item in params.active.values())
    return _template("findings.md.j2").render(
        lines=lines(verdicts),
        counts=counts(verdicts, POWERED),
        noise=noise,
        figure=figure,
        scales=[_scale(name, params, studies) for name in used],
    )


def _scale(name: str, params: Params, studies: list[StudyResults]) -> dict[str, Any]:
    keys = [key for key, item in params.active.items() if item.scale == name]
    devices = sorted({device for results in studies if results.key in keys for device in results.runs["device"]})
    scale = params.scale(name)
    return {**scale.model_dump(), "name": name, "text": scale.text, "machine": ", ".join(devices)}


def _template(name: str) -> Template:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=name.endswith(".html.j2"),  # Markdown is read as it is
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def cell_grid(results: StudyResults) -> dict[str, Any]:
    """States of all cells: a line per recipe and axis value, a column per width."""
    table = results.losses
    widths = sorted(set(table["width"]))
    lines = []
    for (recipe, axes), group in table.groupby(["recipe", "axes"], sort=False):
        states = [_state(group[group["width"] == width]) for width in widths]
        lines.append({"name": results.label(str(recipe)) + (f" {axes}" if axes != "{}" else ""), "states": states})
    return {"widths": widths, "lines": lines}


def _state(cells: Any) -> dict[str, str]:
    diverged = int((cells["status"] == "diverged").sum())
    if not len(cells):
        return {"kind": "none", "text": "–"}
    if diverged:
        return {"kind": "diverged", "text": f"{diverged} of {len(cells)} diverged"}
    shared = " (shared)" if cells["structural_pair"].all() else ""
    return {"kind": "done", "text": f"{cells['loss_validation'].mean():.3f} × {len(cells)}{shared}"}


def provenance(results: StudyResults) -> dict[str, str]:
    """Where the numbers come from."""
    runs, losses = results.runs, results.losses
    return {
        "cells": f"{len(runs)} trained cells, {runs['seconds'].sum():.0f} s of training in all",
        "device": ", ".join(sorted(set(runs["device"]))),
        "torch / Python": ", ".join(sorted(set(runs["torch"] + " / " + runs["python"]))),
        "code": ", ".join(sorted(set(runs["commit"]))),
        "trained": f"{runs['started'].min()} to {runs['started'].max()}",
        "tokens": f"{losses['tokens'].min():,} to {losses['tokens'].max():,} per cell",
        "tokenizer": losses["tokenizer_digest"].iloc[0],
        "evaluation": losses["evaluation_digest"].iloc[0],
    }
