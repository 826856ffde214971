"""The figures that answer: the difference of the recipes of a study, or what else it asks, large and small."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import altair as alt

from crossover.plots.difference import SMALL, Apart, draw_apart
from crossover.plots.house import Figure, Row, hover, layers, linear, log, only, widths
from stages.report.drawing import CELL, COMPUTE, LOSS, cell_rows, labels, law_rows, look_of, rows_of
from stages.report.regimes import small_data
from stages.report.results import StudyResults

_APART = "Difference along compute"


def difference(results: StudyResults) -> Figure | None:
    """The figure of an answer: every pair along compute, its seeds, and below it the runs and laws of its recipes."""
    pairs = _drawn(results)
    return draw_apart(_apart(results, pairs), f"{results.key}-difference", _APART) if pairs else None


def _drawn(results: StudyResults) -> list[dict[str, Any]]:
    """Pairs of which something is known along compute."""
    return [pair for pair in results.fit["comparisons"] if pair["rungs"] or pair["curve"]]


def lead_figure(results: StudyResults) -> Figure | None:
    """The same, large, with the losses of both recipes."""
    if pairs := _drawn(results)[:1]:
        return draw_apart(_apart(results, pairs), f"{results.key}-lead", _APART)
    return card_figure(results)


def card_figure(results: StudyResults) -> Figure | None:
    """One small figure that shows the answer of the study."""
    if pairs := _drawn(results)[:1]:
        return draw_apart(_apart(results, pairs), f"{results.key}-small", _APART, small=True)
    kinds = (passes, optimum_law, rates_at_the_top, loss_against_compute)
    found = next((figure for kind in kinds if (figure := kind(results))), None)
    if found is None:
        return None
    chart = found.chart.properties(height=SMALL) if isinstance(found.chart, alt.LayerChart) else found.chart
    return replace(found, name=f"{results.key}-small", chart=chart)


def rates_at_the_top(results: StudyResults) -> Figure | None:
    """Mean loss against learning rate at the largest width, a line per recipe; of several batches the best."""
    if not results.fit["optima"]:
        return None
    cells = cell_rows(results)
    top = cells[(cells["width"] == cells["width"].max()) & cells["name"].isin(results.fit["optima"])]
    means = top.groupby(["name", "recipe", "batch", "lr"], sort=False)["loss_validation"].mean().reset_index()
    best = means.groupby(["name", "recipe", "lr"], sort=False)["loss_validation"].min().reset_index()
    rows: list[Row] = rows_of("mean", best, lr="lr", loss="loss_validation")
    x, y = alt.X("lr:Q", **log("peak learning rate", ".2g")), alt.Y("loss:Q", **linear(LOSS))
    look, told = look_of(results, results.fit["optima"]), hover("recipe", lr=".4g", loss=".4f")
    chart = layers(
        rows,
        only("mean").mark_line(strokeWidth=1.3).encode(x=x, y=y, color=look["color"]),
        only("mean").mark_point(size=25, filled=True).encode(x=x, y=y, **look, tooltip=told),
    )
    return Figure(
        f"{results.key}-top", "Loss against learning rate at the largest width", "Means over seeds.", chart, rows
    )


def passes(results: StudyResults) -> Figure | None:
    """Of a study that passes over its text several times, loss against passes; laws of compute say nothing there."""
    return small_data(results) if "epochs" in results.study.axes else None


def _apart(results: StudyResults, pairs: list[dict[str, Any]]) -> Apart:
    named = [{**pair, "a": results.label(pair["a"]), "b": results.label(pair["b"])} for pair in pairs]
    inside = {pair[end] for pair in pairs for end in "ab"}
    cells = cell_rows(results)
    rows: list[Row] = [
        _renamed(row, recipe="kind")
        for row in rows_of("run", cells[cells["name"].isin(inside)], x="flops_6n", loss="loss_validation")
    ]
    rows += [_renamed(row, recipe="kind", compute="x", name="") for row in law_rows(results) if row["name"] in inside]
    seeds: list[Row] = []
    for pair in pairs:
        x, kind = {rung["name"]: rung["x"] for rung in pair["rungs"]}, _pair_name(results, pair)
        seeds += [
            {**row, "kind": kind, "x": x[row["size"]]} for row in _seed_differences(results, pair) if row["size"] in x
        ]
    return Apart(named, (COMPUTE, "held-out loss (nats)"), rows, labels(results, results.study.recipes), "width", seeds)


def _renamed(row: Row, **names: str) -> Row:
    """With other names for some of its values; an empty one drops it."""
    return {new: value for name, value in row.items() if (new := names.get(name, name))}


def _pair_name(results: StudyResults, pair: dict[str, Any]) -> str:
    return f"{results.label(pair['b'])} − {results.label(pair['a'])}"


def _seed_differences(results: StudyResults, pair: dict[str, str]) -> Iterator[dict[str, Any]]:
    rows = results.losses[(results.losses["status"] == "done") & ~results.losses["structural_pair"]]
    table = rows.pivot_table(index=["width", "seed"], columns="recipe", values="loss_validation")
    if not {pair["a"], pair["b"]} <= set(table):
        return
    for (width, seed), value in (table[pair["b"]] - table[pair["a"]]).dropna().items():
        yield {"layer": "seed", "size": str(width), "seed": int(seed), "difference": float(value)}


def loss_against_compute(results: StudyResults) -> Figure | None:
    """Every cell, the mean of each rung, and the law with its band, per recipe."""
    laws = [recipe for recipe, found in results.fit["laws"].items() if found]
    if not laws:
        return None
    cells = cell_rows(results)
    rows: list[Row] = rows_of("run", cells[cells["name"].isin(laws)], compute="flops_6n", loss="loss_validation")
    for recipe in laws:
        rows += [
            {"layer": "mean", "recipe": results.label(recipe), "width": mean["width"], "compute": mean["flops_6n"],
             "loss": mean["loss"]}
            for mean in results.fit["means"][recipe]
        ]  # fmt: skip
    rows += law_rows(results)
    x = alt.X("compute:Q", **log(COMPUTE))
    y = alt.Y("loss:Q", **(linear(LOSS) | {"scale": alt.Scale(type="log", nice=False, padding=8)}))
    look = look_of(results, laws)
    colour = look["color"]
    told = hover("recipe", "width", **{"loss": ".4f", "compute": ".3e"})
    chart = layers(
        rows,
        only("law").mark_area(opacity=0.13).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        only("law").mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour),
        only("mean").mark_point(size=70, filled=True).encode(x=x, y=y, **look, tooltip=told),
        only("run").mark_point(size=14, opacity=0.5).encode(x=x, y=y, **look, tooltip=[*hover(*CELL), *told[2:]]),
    )
    caption = "Runs (small), means (large), the law with its 90% band."
    return Figure(f"{results.key}-laws", "Loss against compute", caption, chart, rows)


def optimum_law(results: StudyResults) -> Figure | None:
    """The best learning rate against width, per recipe, with the law across widths."""
    optima = {recipe: found for recipe, found in results.fit["optima"].items() if len(found["cells"]) > 1}
    if not optima:
        return None
    rows: list[Row] = []
    for recipe, found in optima.items():
        known = {"recipe": results.label(recipe)}
        ladder = [cell["at"]["width"] for cell in found["cells"]]
        rows += [
            {"layer": "edge" if cell["optimum"] is None else "optimum", **known, "width": width,
             "lr": cell["best_lr"] if cell["optimum"] is None else cell["optimum"]}
            for width, cell in zip(ladder, found["cells"], strict=True)
        ]  # fmt: skip
        if found["law"] is not None:
            c, p = (found["law"]["params"][name]["value"] for name in ("c", "p"))
            rows += [{"layer": "law", **known, "width": width, "lr": c * width**p} for width in ladder]
    x, look = alt.X("width:Q", **widths(results.losses["width"])), look_of(results, optima)
    y = alt.Y("lr:Q", **log("best learning rate", ".2g"))
    told = hover("recipe", "width", lr=".4g")
    chart = layers(
        rows,
        only("law").mark_line(strokeWidth=1.3).encode(x=x, y=y, color=look["color"]),
        only("optimum").mark_point(size=70, filled=True).encode(x=x, y=y, **look, tooltip=told),
        only("edge").mark_point(size=90, strokeWidth=1.6).encode(x=x, y=y, **look, tooltip=told),
    )
    return Figure(
        f"{results.key}-optima", "Best learning rate against width",
        "Open: at the edge of its grid, only a bound.", chart, rows,
    )  # fmt: skip
