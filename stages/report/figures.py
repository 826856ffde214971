"""The figures of a study: differences and laws, rates, training curves, gaps, and what choosing small costs large."""

from collections.abc import Callable, Iterator
from typing import Any

import altair as alt
import pandas as pd

from crossover.plots.house import Figure, Row, hover, layers, linear, log, only, panels, series, shades, widths, zero
from stages.report.drawing import CELL, LOSS, cell_rows, labels, rows_of
from stages.report.lead import difference, loss_against_compute, optimum_law
from stages.report.results import StudyResults

_DODGE = 0.02  # of a width, between series that share it


def study_figures(results: StudyResults) -> list[Figure]:
    """Every figure that the study has something to show in."""
    drawn = (draw(results) for draw in _FIGURES)
    return [figure for figure in drawn if figure is not None]


def learning_rate_bowls(results: StudyResults) -> Figure | None:
    """Loss against learning rate per recipe, width and batch, with optima, edges and divergences."""
    if not results.fit["optima"]:
        return None
    rows: list[Row] = [*_bowls(results), *_stars(results)]
    names = list(dict.fromkeys(row["series"] for row in sorted(rows, key=lambda row: float(row["order"]))))
    rates = sorted({row["lr"] for row in rows if row["layer"] == "mean"})
    x, y = alt.X("lr:Q", **log("peak learning rate", ".2g", rates)), alt.Y("loss:Q", **linear(LOSS))
    colour = alt.Color("series", type="ordinal", scale=shades(names))
    told, here = hover(*CELL, lr=".4g", loss=".4f"), hover("recipe", "series", "note", lr=".4g", loss=".4f")
    chart = panels(
        rows, "recipe", labels(results, results.fit["optima"]),
        only("mean").mark_line(strokeWidth=1.3).encode(x=x, y=y, color=colour),
        only("run").mark_point(size=12, opacity=0.6).encode(x=x, y=y, color=colour, tooltip=told),
        only("diverged").mark_point(size=60, shape="cross", angle=45).encode(x=x, y=y, color=colour, tooltip=told[:-1]),
        only("optimum").mark_point(size=130, filled=True, shape=_STAR, stroke="currentColor", strokeWidth=0.7).encode(
            x=x, y=y, color=colour, tooltip=here
        ),
        only("edge").mark_point(size=110, shape="square", strokeWidth=1.6).encode(x=x, y=y, color=colour, tooltip=here),
    )  # fmt: skip
    return Figure(
        f"{results.key}-bowls", "Loss against learning rate",
        "A star is the optimum, a square a best rate at the edge of the grid, a cross a diverged run.", chart, rows,
    )  # fmt: skip


def _bowls(results: StudyResults) -> Iterator[Row]:
    cells, lost = cell_rows(results), cell_rows(results, done=False)
    keys = ["recipe", "width", "batch"]
    for key, group in cells[cells["name"].isin(results.fit["optima"])].groupby(keys, sort=False):
        named = _bowl(results, int(key[1]), int(key[2]))
        means = group.groupby("lr")["loss_validation"].mean()
        for lr, loss in means.items():
            yield {"layer": "mean", "recipe": key[0], **named, "lr": lr, "loss": loss}
        for row in rows_of("run", group, lr="lr", loss="loss_validation"):
            yield {**row, **named}
        gone = lost[(lost[keys] == list(key)).all(axis=1)]
        for row in rows_of("diverged", gone, lr="lr"):
            yield {**row, **named, "loss": float(means.max())}


def _bowl(results: StudyResults, width: int, batch: int) -> dict[str, Any]:
    """Name and place of a line: its width, and its batch where a study varies it."""
    batches = set(results.losses["batch"])
    return {"series": f"width {width}" + (f", batch {batch}" if len(batches) > 1 else ""), "order": width * 1e6 + batch}


_STAR = "M0,-1L0.23,-0.31L0.95,-0.31L0.36,0.12L0.59,0.81L0,0.38L-0.59,0.81L-0.36,0.12L-0.95,-0.31L-0.23,-0.31Z"


def _stars(results: StudyResults) -> Iterator[Row]:
    for recipe, found in results.fit["optima"].items():
        for cell in found["cells"]:
            width, batch = int(cell["at"]["width"]), cell["best_batch"]
            usual = results.losses.loc[results.losses["width"] == width, "batch"].iloc[0]
            known = {"recipe": results.label(recipe), **_bowl(results, width, int(batch or usual))}
            if cell["edge"]:
                note = "best at the edge: widen the grid"
                yield {"layer": "edge", **known, "lr": cell["best_lr"], "loss": cell["best_loss"], "note": note}
            elif batch is not None:  # the vertex lies between batches
                yield {
                    "layer": "optimum",
                    **known,
                    "lr": cell["best_lr"],
                    "loss": cell["best_loss"],
                    "note": "best tried",
                }
            else:
                place = {"lr": cell["optimum"], "loss": cell["loss_at_optimum"]}
                yield {"layer": "optimum", **known, **place, "note": "vertex of the parabola"}


def training_curves(results: StudyResults) -> Figure | None:
    """Mean training loss along the run, per recipe and width."""
    rows: list[Row] = list(_curves(results))
    if not rows:
        return None
    x = alt.X("tokens:Q", **log("tokens seen"))
    y = alt.Y("loss:Q", **linear("training loss (nats/token)"))
    return Figure(
        f"{results.key}-curves", "Training curves",
        "Means over seeds.",
        _by_width(results, rows, x, y, hover("recipe", "width", loss=".4f", tokens=",d")), rows,
    )  # fmt: skip


def collapse(results: StudyResults) -> Figure | None:
    """The same curves less each recipe's floor, over their end: they lie on one another where scale alone differs."""
    floors = _floors(results)
    rows: list[Row] = [
        {**row, "normalised": (row["loss"] - floors[row["recipe"]]) / (row["final"] - floors[row["recipe"]])}
        for row in _curves(results)
        if row["recipe"] in floors and row["progress"] >= 0.3
    ]
    if not rows:
        return None
    x = alt.X("progress:Q", scale=alt.Scale(nice=False), axis=alt.Axis(title="share of the run", format=".0%"))
    y = alt.Y("normalised:Q", **linear("(loss − floor) / (final − floor)"))
    return Figure(
        f"{results.key}-collapse", "Do training curves collapse?",
        "One curve: a recipe that scales (Qiu et al. 2025).",
        _by_width(results, rows, x, y, hover("recipe", "width", normalised=".4f", progress=".0%")), rows,
    )  # fmt: skip


def _curves(results: StudyResults) -> Iterator[dict[str, Any]]:
    for curve in results.fit["curves"]:
        ends = {"recipe": results.label(curve["recipe"]), "width": curve["width"], "final": curve["loss"][-1]}
        for progress, loss in zip(curve["progress"], curve["loss"], strict=True):
            yield {"layer": "curve", **ends, "progress": progress, "tokens": progress * curve["tokens"], "loss": loss}


def _floors(results: StudyResults) -> dict[str, float]:
    """Of each recipe over its whole ladder, mean over seeds."""
    table = pd.DataFrame(results.fit["collapse"])
    if table.empty:
        return {}
    table = table.assign(count=table["widths"].map(len), recipe=table["recipe"].map(results.label))
    whole = table[table["count"] == table.groupby("recipe")["count"].transform("max")]
    return {str(recipe): float(floor) for recipe, floor in whole.groupby("recipe")["floor"].mean().items()}


def _by_width(results: StudyResults, rows: list[Row], x: alt.X, y: alt.Y, told: list[alt.Tooltip]) -> Any:
    known = sorted({row["width"] for row in rows})
    colour = alt.Color("width", type="ordinal", scale=shades(known), legend=alt.Legend(title="width"))
    present = {row["recipe"] for row in rows}
    order = [name for name in labels(results, results.fit["means"]) if name in present]
    line = only("curve").mark_line(strokeWidth=1.4).encode(x=x, y=y, color=colour)
    dots = only("curve").mark_circle(size=60, opacity=0).encode(x=x, y=y, tooltip=told)
    return panels(rows, "recipe", order, line, dots)


def generalization_gap(results: StudyResults) -> Figure | None:
    """Loss on unseen less loss on seen text, against width."""
    gaps = results.fit["gaps"]
    if not gaps:
        return None
    names = list(dict.fromkeys(results.label(gap["recipe"]) for gap in gaps))
    rows: list[Row] = []
    for gap in gaps:
        name, value = results.label(gap["recipe"]), gap["fresh_minus_seen"]
        low, high = value["ci"] or (value["value"], value["value"])
        shift = 1 + _DODGE * (names.index(name) - (len(names) - 1) / 2)
        rows.append({"layer": "gap", "recipe": name, "width": gap["width"], "place": gap["width"] * shift,
                     "gap": value["value"], "low": low, "high": high})  # fmt: skip
    x = alt.X("place:Q", **widths(results.losses["width"]))
    y = alt.Y("gap:Q", **linear("unseen − seen (nats/token)", "+.3f"))
    look = series(names, "recipe", labels(results, results.study.recipes))
    chart = layers(
        rows,
        zero(),
        only("gap").mark_rule(strokeWidth=1.6).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=look["color"]),
        only("gap")
        .mark_point(size=60, filled=True)
        .encode(x=x, y=y, **look, tooltip=hover("recipe", "width", gap="+.4f", low="+.4f", high="+.4f")),
    )
    return Figure(
        f"{results.key}-gap", "Generalization gap",
        "Loss on unseen less loss on seen text: memorisation.", chart,
        rows,
    )  # fmt: skip


def rank_flips(results: StudyResults) -> Figure | None:
    """Regret at every width of the recipe that was best at every other width, tuned alike at both."""
    table = pd.DataFrame(
        {(recipe): {mean["width"]: mean["loss"] for mean in means} for recipe, means in results.fit["means"].items()}
    ).dropna(axis=1)
    if table.shape[0] < 2 or table.shape[1] < 2:
        return None
    best = table.idxmin(axis=1)
    rows: list[Row] = [
        {"layer": "regret", "chosen_at": int(small), "used_at": int(large), "recipe": results.label(best[small]),
         "best": results.label(best[large]), "regret": float(table.loc[large, best[small]] - table.loc[large].min())}
        for small in table.index for large in table.index
    ]  # fmt: skip
    base = only("regret").encode(
        x=alt.X("used_at:O", axis=alt.Axis(title="width at which it is used", labelAngle=0, grid=False)),
        y=alt.Y("chosen_at:O", axis=alt.Axis(title="width at which it was chosen", grid=False)),
        tooltip=hover("chosen_at", "recipe", "used_at", "best", regret="+.4f"),
    )
    top = max(row["regret"] for row in rows)
    chart = layers(
        rows,
        base.mark_rect(stroke="currentColor", strokeOpacity=0.2).encode(
            color=alt.Color("regret:Q", legend=None, scale=alt.Scale(
                range=["#ffffff", "#D55E00"], domain=[0, max(top, 1e-9)], interpolate="rgb"
            ))
        ),
        base.mark_text(fontSize=11, color="#1b1f24").encode(text=alt.Text("regret:Q", format="+.3f")),
    )  # fmt: skip
    return Figure(
        f"{results.key}-regret", "What choosing at one width costs at another",
        "Nats that the best recipe of one width (row) loses at another.", chart, rows,
    )  # fmt: skip


def laws_alone(results: StudyResults) -> Figure | None:
    """Loss against compute where no difference shows it."""
    return None if difference(results) or "epochs" in results.study.axes else loss_against_compute(results)


_FIGURES: list[Callable[[StudyResults], Figure | None]] = [
    difference,
    laws_alone,
    learning_rate_bowls,
    optimum_law,
    generalization_gap,
    rank_flips,
    training_curves,
    collapse,
]
