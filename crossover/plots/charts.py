"""Charts of anybody's runs: a fitted law, comparisons of recipes, learning-rate optima."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from crossover.base.arrays import Floats
from crossover.laws.optimum import Optima
from crossover.laws.result import Fit
from crossover.plots.house import Figure, Row, hover, layers, linear, log, only, series, shades, zero

if TYPE_CHECKING:
    from crossover.answers.comparison import Comparisons

_PANELS = 12


def draw_fit(fit: Fit, inputs: Mapping[str, Floats], loss: Floats, loss_name: str) -> Figure:
    """Loss and law against the input, or, with two inputs, relative errors against their product."""
    return _law(fit, inputs["x"], loss, loss_name) if fit.line else _errors(fit)


def _law(fit: Fit, x: Floats, loss: Floats, loss_name: str) -> Figure:
    rows: list[Row] = [{"layer": "run", "kind": "runs", "x": a, "loss": b} for a, b in zip(x, loss, strict=True)]
    rows += [
        {"layer": "law", "x": point.x, "loss": point.loss, "low": point.low, "high": point.high} for point in fit.line
    ]
    marked = [("held out", fit.heldout.rows if fit.heldout else []), ("predicted", fit.predictions)]
    for name, found in marked:
        rows += [
            {"layer": "run", "kind": name, "x": row.at["x"],
             "loss": row.measured if row.measured is not None else row.loss.value}
            for row in found
        ]  # fmt: skip
    horizontal = alt.X("x:Q", **log(fit.inputs["x"]))
    vertical = alt.Y("loss:Q", **(linear(loss_name) | {"scale": alt.Scale(type="log", nice=False, padding=8)}))
    look = series((row["kind"] for row in rows if row["layer"] == "run"), "kind")
    chart = layers(
        rows,
        only("law").mark_area(opacity=0.13, color="#8A8A8A").encode(x=horizontal, y=alt.Y("low:Q"), y2="high:Q"),
        only("law").mark_line(strokeWidth=1.3, color="#8A8A8A").encode(x=horizontal, y=vertical),
        only("run")
        .mark_point(size=30)
        .encode(x=horizontal, y=vertical, **look, tooltip=hover("kind", x=".4g", loss=".4f")),
    )
    return Figure("fit", fit.formula, "Runs, the fitted law and its 90% interval.", chart, rows)


def _errors(fit: Fit) -> Figure:
    parts = (("each rung from those below", fit.rollout), ("held out", fit.heldout))
    rows: list[Row] = [
        {"layer": "error", "kind": name, "x": float(np.prod(list(row.at.values()))),
         "error": 100 * (row.relative_error or 0)}
        for name, part in parts
        if part is not None
        for row in part.rows
    ]  # fmt: skip
    look = series((row["kind"] for row in rows), "kind")
    chart = layers(
        rows,
        zero(),
        only("error").mark_point(size=40, filled=True).encode(
            x=alt.X("x:Q", **log(" × ".join(fit.inputs.values()))),
            y=alt.Y("error:Q", **linear("predicted / measured − 1 (%)", "+.2f")),
            **look, tooltip=hover("kind", x=".4g", error="+.3f"),
        ),
    )  # fmt: skip
    return Figure("fit", fit.formula, "How far predictions are from what was measured.", chart, rows)


def draw_comparisons(result: "Comparisons") -> Figure:
    """The difference of each pair along x with its fitted curve and crossover; at most twelve pairs, as they come."""
    rows: list[Row] = []
    for pair in result.pairs[:_PANELS]:
        name = {"kind": f"{pair.b} − {pair.a}: {pair.verdict}"}
        rows += [
            {"layer": "rung", **name, "x": rung.x, "difference": rung.difference.value}
            for rung in pair.rungs if not rung.structural
        ]  # fmt: skip
        rows += [
            {"layer": "curve", **name, "x": point.x, "difference": point.value, "low": point.low, "high": point.high}
            for point in pair.curve
        ]
        if pair.crossover is not None and not pair.crossover.lever_arm_decades:
            rows.append({"layer": "crossover", **name, "x": pair.crossover.value, "difference": 0.0})
    look = series((row["kind"] for row in rows), "kind")
    x = alt.X("x:Q", **log(result.x))
    y = alt.Y("difference:Q", **linear(f"difference in {result.loss}", "+.3f"))
    told = hover("kind", x=".4g", difference="+.4f")
    chart = layers(
        rows,
        zero(),
        only("curve").mark_area(opacity=0.12).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=look["color"]),
        only("curve").mark_line(strokeWidth=1.3).encode(x=x, y=y, color=look["color"]),
        only("rung").mark_point(size=45, filled=True).encode(x=x, y=y, **look, tooltip=told),
        only("crossover").mark_point(size=140, strokeWidth=2).encode(x=x, y=y, color=look["color"], tooltip=told),
    )
    return Figure(
        "compare",
        "Difference between recipes",
        "Below zero the first is better; a circle marks a crossover.",
        chart,
        rows,
    )


def draw_optima(result: Optima) -> Figure:
    """Loss above the cell's best against learning rate, one line per cell; squares mark the best setting tried."""
    rows: list[Row] = []
    for cell in result.cells:
        name = {
            "kind": ", ".join(f"{key}={value:.3g}" for key, value in cell.at.items()) + (" (edge)" if cell.edge else "")
        }
        excess = 100 * (np.array(cell.losses) / min(cell.losses) - 1)
        rows += [
            {"layer": "rate", **name, "lr": lr, "excess": value} for lr, value in zip(cell.lrs, excess, strict=True)
        ]
        if cell.optimum is not None:
            rows.append({"layer": "optimum", **name, "lr": cell.optimum, "excess": 0.0})
    names = list(dict.fromkeys(row["kind"] for row in rows))
    x = alt.X("lr:Q", **log("peak learning rate", ".1e"))
    y = alt.Y(
        "excess:Q", scale=alt.Scale(domain=[-0.2, 5], clamp=True), axis=alt.Axis(title="loss above the cell's best (%)")
    )
    colour = alt.Color("kind", type="ordinal", sort=names, scale=shades(names), legend=_columns(len(names)))
    told = hover("kind", lr=".4g", excess=".3f")
    chart = layers(
        rows,
        only("rate").mark_line(strokeWidth=1).encode(x=x, y=y, color=colour),
        only("rate").mark_point(size=14, filled=True).encode(x=x, y=y, color=colour, tooltip=told),
        only("optimum").mark_point(size=110, strokeWidth=2).encode(x=x, y=y, color=colour, tooltip=told),
    )
    return Figure(
        "optimum", "Loss above the best", "By learning rate; circles mark optima inside the grid.", chart, rows
    )


def _columns(count: int) -> Any:
    return alt.Legend(columns=1 + (count > 8), symbolLimit=40)
