"""The page of a project: what every active study answers, first of all the first; its claims, figures and tables.

It tells nothing of machine and hour: results that are reproduced make the same page. `crossover status --runs` does.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crossover.ledger.scoring import Record
from crossover.ledger.words import track_words
from crossover.plots.house import Figure
from crossover.plots.page import Shown, load_template, page, show
from stages.report.card import make_card
from stages.report.figures import study_figures
from stages.report.forest import WIDTH, at, forest
from stages.report.lead import card_figure, lead_figure
from stages.report.regimes import cures_words
from stages.report.results import StudyResults
from stages.report.tables import failures, made_from, notes, study_tables
from stages.study.params import Params, Scale
from stages.verdicts.words import counts, lines

_HERE = Path(__file__).parent


def render(
    studies: list[StudyResults],
    tokens: dict[str, Any],
    verdicts: list[dict[str, Any]],
    regimes: list[Figure],
    params: Params,
    record: Record | None = None,
) -> str:
    """The page for all active studies: the first one large, the others as cards, then claims, regimes and forecasts.

    With a `record` of lodged forecasts it has a section of how they did.
    """
    sections = [
        {
            "results": results,
            "card": make_card(results, verdicts, params),
            "figure": _shown(lead_figure(results) if i == 0 else card_figure(results)),
            "figures": [show(figure) for figure in study_figures(results)],
            "tables": study_tables(results),
            "failures": list(failures(results)),
            "notes": notes(results),
        }
        for i, results in enumerate(studies)
    ]
    return page(
        _HERE / "page.html.j2",
        sections=sections,
        several=len({results.scale.name for results in studies}) > 1,
        tokens=tokens,
        claims=forest(verdicts),
        titles={results.key: results.study.title for results in studies},
        forest_width=WIDTH,
        interest=[at(-1.0), at(1.0)],
        counts=counts(verdicts),
        regimes=[show(figure) for figure in regimes],
        cures=cures_words(verdicts) if regimes else "",
        track=track_words(record.track) if record and record.scores else "",
        made=made_from(studies),
    )


def _shown(figure: Figure | None) -> Shown | None:
    return None if figure is None else show(figure)


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
