"""Three regimes on one map: ridge regression in closed form, small data many times, fresh data once, and what helps."""

import math
from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from crossover.base.files import read_json
from crossover.plots.house import Figure, Row, hover, layers, linear, log, only, series, widths, zero
from stages.report.results import RESULTS, StudyResults

_CURES = (("l2", "L2 term"), ("lr", "LR × 2"), ("batch", "batch / 4"))
_REGIMES = (("small", "small data, many passes"), ("fresh", "fresh data, one pass"))
_PARTS = ("text it trained on", "unseen text")


def regimes(studies: dict[str, StudyResults], verdicts: list[dict[str, Any]]) -> list[Figure]:
    """The four panels; none where the studies `regimes`, `skydiving` and `fresh` are not all at hand."""
    path = RESULTS / "ridge.json"
    if not {"regimes", "skydiving", "fresh"} <= studies.keys() or not path.exists():
        return []
    return [
        _ridge(read_json(path, "run `dvc repro ridge`")),
        small_data(studies["regimes"]),
        _fresh_data(studies["skydiving"]),
        _cures(verdicts),
    ]


def cures_words(verdicts: list[dict[str, Any]]) -> str:
    """What the map says: of each cure, by how much it moves the loss on unseen text in either regime."""
    by = {item["id"]: item for item in verdicts}
    said = []
    for cure, name in _CURES:
        found = [_range(by.get(f"R_{cure}_{regime}")) for regime, _ in _REGIMES]
        if all(found):
            said.append(f"{name}: {found[0]} on small data passed over many times, {found[1]} on fresh data")
    return f"Change of the loss on unseen text, in nats. {'; '.join(said)}." if said else ""


def _range(item: dict[str, Any] | None) -> str:
    """The effect; where widths differ, from its least to its most."""
    if item is None:
        return ""
    parts = [item["effect"]] if item["effect"] else [part["effect"] for part in item["parts"] if part["effect"]]
    values = sorted(part["value"] for part in parts)
    ends = [f"{value:+.2g}" for value in dict.fromkeys(values[:: max(len(values) - 1, 1)])]
    return " to ".join(ends)


def on_one_map(figures: list[Figure]) -> Figure:
    """The panels side by side, for a document."""
    parts = [
        alt.layer(figure.chart.properties(data=alt.NamedData(figure.name)))
        .properties(title=figure.title, width=400, height=250)
        .resolve_legend(color="independent")
        for figure in figures
    ]
    chart = alt.vconcat(alt.hconcat(*parts[:2]), alt.hconcat(*parts[2:])).resolve_scale(
        color="independent", shape="independent", strokeDash="independent"
    )
    rows = {figure.name: figure.rows for figure in figures}
    return Figure("regimes", "Three regimes on one map", "", chart, [], rows)


def _ridge(found: dict[str, Any]) -> Figure:
    kinds = {"ridgeless": "no penalty", "fixed": f"L2 {found['fixed_penalty']:g}", "tuned": "L2 tuned"}
    rows: list[Row] = [
        {"layer": "error", "recipe": label, "features": count / found["samples"], "error": error}
        for kind, label in kinds.items()
        for count, error in zip(found["features"], found[kind]["test"]["mean"], strict=True)
    ]
    x = alt.X("features:Q", **log("features per sample", "g"))
    top = 12.0  # the peak of the unpenalised fit is far above; what counts is where it is
    y = alt.Y(
        "error:Q", scale=alt.Scale(type="log", domain=[0.6, top], clamp=True),
        axis=alt.Axis(title="test error (1: predicting the mean)", format="g"),
    )  # fmt: skip
    look = series(kinds.values())
    one = alt.Chart(alt.InlineData(values=[{"one": 1}])).mark_rule(strokeDash=[2, 3]).encode(x="one:Q")
    chart = layers(
        rows, one,
        only("error").mark_line(strokeWidth=1.4).encode(x=x, y=y, color=look["color"]),
        only("error").mark_point(size=25, filled=True).encode(
            x=x, y=y, **look, tooltip=hover("recipe", features=".3g", error=".3g")
        ),
    )  # fmt: skip
    return Figure(
        "regimes-ridge", "(a) Closed form: ridge regression on random features",
        "Test error peaks where features equal samples (dotted) and falls again beyond; L2 removes the peak. "
        f"Errors above {top:g} are drawn there.", chart, rows,
    )  # fmt: skip


def small_data(results: StudyResults) -> Figure:
    """Loss of the recipe `base` on seen and unseen text, against passes over it."""
    table = results.losses[(results.losses["status"] == "done") & (results.losses["recipe"] == "base")]
    table = table.assign(passes=(table["tokens"] / table["unique_tokens"]).round())
    rows = list(_parts(table, "passes"))
    known = sorted({row["width"] for row in rows})
    x = alt.X("passes:Q", **log("passes over the small data set", "g", sorted(set(table["passes"]))))
    return Figure(
        "regimes-small", "(b) Small data, many passes",
        "Loss on unseen text rises again with more passes while the loss on the text it trained on (dashed) goes on "
        "falling, the more so the wider the model.",
        _seen_and_unseen(rows, x, [f"width {width}" for width in known]), rows,
    )  # fmt: skip


def _fresh_data(results: StudyResults) -> Figure:
    done = results.losses["status"] == "done"
    table = results.losses[done & (results.losses["tokens"] == results.losses["unique_tokens"])]
    full = table[table["tokens"] == table.groupby("width")["tokens"].transform("max")]
    rows = [{**row, "series": "all widths"} for row in _parts(full, "width")]
    x = alt.X("width:Q", **widths(full["width"]))
    return Figure(
        "regimes-fresh", "(c) Fresh data, one pass",
        "Loss on unseen text and on the text it trained on (dashed) fall together with width.",
        _seen_and_unseen(rows, x, ["all widths"]), rows,
    )  # fmt: skip


def _parts(table: pd.DataFrame, along: str) -> Iterator[dict[str, Any]]:
    for (width, place), group in table.groupby(["width", along]):
        for part, column in zip(_PARTS, ("loss_seen", "loss_fresh"), strict=True):
            yield {"layer": "loss", "series": f"width {width}", "width": int(width), along: float(place), "text": part,
                   "loss": float(group[column].mean())}  # fmt: skip


def _seen_and_unseen(rows: list[dict[str, Any]], x: alt.X, names: list[str]) -> alt.LayerChart:
    look = series(names, "series")
    y = alt.Y("loss:Q", **linear("loss (nats/token)"))
    dash = alt.StrokeDash("text:N", scale=alt.Scale(domain=list(_PARTS), range=[[5, 4], [1, 0]]))
    told = hover("series", "text", loss=".4f")
    base = only("loss")
    return layers(
        rows,
        base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=look["color"], strokeDash=dash),
        base.mark_point(size=40, filled=True).encode(x=x, y=y, **look, tooltip=told),
    )


def _cures(verdicts: list[dict[str, Any]]) -> Figure:
    by = {item["id"]: item for item in verdicts}
    rows: list[Row] = []
    for regime, label in _REGIMES:
        for cure, name in _CURES:
            told = by.get(f"R_{cure}_{regime}", {"effect": None, "parts": []})
            where = [part for part in told["parts"] if part["effect"]] if told["effect"] is None else [told]
            for part in where:  # width by width where they differ, as the verdict is
                effect = part["effect"]
                low, high = effect["ci"] or (effect["value"], effect["value"])
                rows.append({"layer": "cure", "recipe": label, "cure": name, "change": effect["value"], "low": low,
                             "high": high, "where": part.get("name", "all widths")})  # fmt: skip
    x = alt.X("cure:N", sort=[name for _, name in _CURES], axis=alt.Axis(title=None, labelAngle=0))
    offset = alt.XOffset("recipe:N", sort=[label for _, label in _REGIMES])
    y = alt.Y(
        "change:Q", scale=alt.Scale(type="symlog", constant=0.05),
        axis=alt.Axis(title="change of loss on unseen text (nats)", format="+g", values=_ticks(rows)),
    )  # fmt: skip
    look = series(label for _, label in _REGIMES)
    chart = layers(
        rows, zero(),
        only("cure").mark_rule(strokeWidth=1.6).encode(
            x=x, xOffset=offset, y=alt.Y("low:Q"), y2="high:Q", color=look["color"]
        ),
        only("cure").mark_point(size=70, filled=True).encode(
            x=x, xOffset=offset, y=y, **look,
            tooltip=hover("recipe", "cure", "where", change="+.4f", low="+.4f", high="+.4f"),
        ),
    )  # fmt: skip
    return Figure(
        "regimes-cures", "(d) What helps where",
        "Change of the loss on unseen text by three classical cures, with 90% intervals: below zero it helps. "
        "Where widths differ beyond their noise each has its point.", chart,
        rows,
    )  # fmt: skip


def _ticks(rows: list[Row]) -> list[float]:
    """Of a scale that is linear near zero: 0 and powers of ten on both sides."""
    ends = [abs(row[name]) for row in rows for name in ("low", "high")] or [0.1]
    powers = [10.0**power for power in range(-1, math.ceil(math.log10(max(*ends, 0.02))) + 1)]
    return sorted([*(-power for power in powers), 0.0, *powers])
