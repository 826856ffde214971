"""The page of `crossover diff --html`: both commits drawn over each other, and every quantity with its verdict."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt

from crossover.plots.house import Figure, Row, hover, linear, only, panels, series, widths, zero
from crossover.plots.page import page, show
from crossover.runs.estimates import interval
from stages.diff.comparing import Diff
from stages.diff.quantities import read
from stages.diff.snapshot import Snapshot, StudySnapshot
from stages.diff.words import cells, lone_verdicts, numbers, params

_ORDER = ("moved", "not comparable", "no interval", "new", "gone", "within noise", "identical")


def overlay(diff: Diff, old: Snapshot, new: Snapshot) -> str:
    """The page as HTML."""
    shared = [key for key in new.studies if key in old.studies]
    drawn = [_losses(key, old, new) for key in shared] + [_differences(key, old, new) for key in shared]
    ordered = sorted(diff.quantities, key=lambda item: _ORDER.index(item.status))
    return page(
        Path(__file__).with_name("diff.html.j2"),
        diff=diff,
        figures=[show(figure) for figure in drawn if figure is not None],
        rows=[(item, numbers(item)) for item in ordered],
        lines=[*lone_verdicts(diff), *cells(diff), *params(diff)],
    )


def _losses(key: str, old: Snapshot, new: Snapshot) -> Figure | None:
    rows: list[Row] = []
    for side in (old, new):
        table = side.studies[key].losses
        table = table[table["status"] == "done"]
        best = table.groupby(["recipe", "width", "axes"], sort=False)["loss_validation"].mean().reset_index()
        best = best.loc[best.groupby(["recipe", "width"], sort=False)["loss_validation"].idxmin()]
        rows += [{"layer": "loss", "commit": side.name, "recipe": line.recipe, "width": line.width,
                  "loss": line.loss_validation} for line in best.itertuples()]  # fmt: skip
    if not rows:
        return None
    look = series((side.name for side in (old, new)), "commit")
    x, y = (
        alt.X("width:Q", **widths(row["width"] for row in rows)),
        alt.Y("loss:Q", **linear("held-out loss (nats/token)")),
    )
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    chart = panels(
        rows, "recipe", recipes,
        only("loss").mark_line(strokeWidth=1.2).encode(x=x, y=y, color=look["color"]),
        only("loss").mark_point(size=50, strokeWidth=1.6).encode(
            x=x, y=y, **look, tooltip=hover("commit", "recipe", "width", loss=".4f")
        ),
    )  # fmt: skip
    caption = "Mean held-out loss at each width, at the setting that is best there, before and now."
    return Figure(f"{key}-losses", f"{key}: loss against width", caption, chart, rows)


def _differences(key: str, old: Snapshot, new: Snapshot) -> Figure | None:
    rows = [row for shift, side in ((0.985, old), (1.015, new)) for row in _rungs(side.name, side.studies[key], shift)]
    if not rows:
        return None
    look = series((side.name for side in (old, new)), "commit")
    x = alt.X("place:Q", **widths(row["width"] for row in rows))
    y = alt.Y("difference:Q", **linear("difference in held-out loss (nats)", "+.2f"))
    told = hover("commit", "pair", "width", difference="+.4f", low="+.4f", high="+.4f")
    chart = panels(
        rows, "pair", list(dict.fromkeys(row["pair"] for row in rows)),
        zero(),
        only("mean").mark_rule(strokeWidth=1.6).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=look["color"]),
        only("mean").mark_point(size=50, filled=True).encode(x=x, y=y, **look, tooltip=told),
    )  # fmt: skip
    caption = "Paired differences along the ladder with 90% intervals, before and now."
    return Figure(f"{key}-differences", f"{key}: paired differences", caption, chart, rows)


def _rungs(name: str, study: StudySnapshot, shift: float) -> Iterator[dict[str, Any]]:
    for item in read(study).quantities.values():
        if item.kind == "difference":
            pair, width = item.name.rsplit(", width ", 1)
            low, high = interval(item.value, item.se or 0.0, item.dof).ci or (item.value, item.value)
            yield {"layer": "mean", "commit": name, "pair": pair, "width": int(width), "place": int(width) * shift,
                   "difference": item.value, "low": low, "high": high}  # fmt: skip
