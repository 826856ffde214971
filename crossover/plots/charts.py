"""Charts of anybody's runs: laws, comparisons of recipes, optima of sweeps, forecasts and advice."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from crossover.plots.house import Chart, Figure, Row, hover, layers, linear, log, only, panels, series, shades, zero

if TYPE_CHECKING:
    from crossover.answers.advising.advise import Advice
    from crossover.answers.comparison import Comparison, Comparisons
    from crossover.answers.predict import Prediction
    from crossover.laws.optimum import Optima
    from crossover.laws.result import Fit, LinePoint

_PANELS = 12


def draw_fits(fits: "Mapping[str, Fit]") -> Figure:
    """Loss and law against the input, or, with two inputs, relative errors against their product; by recipe."""
    return _laws(fits) if all(fit.line for fit in fits.values()) else _errors(fits)


def _laws(fits: "Mapping[str, Fit]") -> Figure:
    rows: list[Row] = []
    for recipe, fit in fits.items():
        runs = zip(fit.drawn.x, fit.drawn.loss, strict=True)
        rows += [{"layer": "run", "kind": recipe or "runs", "x": a, "loss": b} for a, b in runs if a > 0 and b > 0]
        rows += _line(recipe or "runs", fit.line)
        for name, found in (("held out", fit.heldout.rows if fit.heldout else []), ("predicted", fit.predictions)):
            rows += [
                {"layer": "interval", "kind": recipe or name, "x": row.at["x"], "low": low, "high": high}
                for row in found if row.run_ci and row.measured is None for low, high in [row.run_ci]
            ]  # fmt: skip
            rows += [
                {"layer": "place", "kind": recipe or name, "x": row.at["x"],
                 "loss": row.measured if row.measured is not None else row.loss.value}
                for row in found
            ]  # fmt: skip
    first = next(iter(fits.values()))
    title = first.formula if len(fits) == 1 else f"{first.formula}, by recipe"
    chart = _losses(rows, first.inputs["x"], first.drawn.name)
    return Figure("fit", title, "Runs, the fitted law and its 90% interval.", chart, rows)


def _line(kind: str, line: "Sequence[LinePoint]") -> list[Row]:
    return [
        {"layer": "law", "kind": kind, "x": point.x, "loss": point.loss, "low": point.low, "high": point.high}
        for point in line
    ]


def _losses(rows: list[Row], x: str, loss: str) -> Chart:
    """Runs, laws and places, each series in its colour."""
    horizontal = alt.X("x:Q", **log(x))
    vertical = alt.Y("loss:Q", **(linear(loss) | {"scale": alt.Scale(type="log", nice=False, padding=8)}))
    look = series((row["kind"] for row in rows), "kind")
    colour, told = look["color"], hover("kind", x=".4g", loss=".4f")
    ends = {"x": horizontal, "y": alt.Y("low:Q"), "y2": "high:Q"}
    return layers(
        rows,
        only("law").mark_area(opacity=0.13).encode(**ends, color=colour),
        only("law").mark_line(strokeWidth=1.3).encode(x=horizontal, y=vertical, color=colour),
        only("interval").mark_rule(strokeWidth=1.5).encode(**ends, color=colour),
        only("run").mark_point(size=30).encode(x=horizontal, y=vertical, **look, tooltip=told),
        only("place").mark_point(size=60, filled=True).encode(x=horizontal, y=vertical, **look, tooltip=told),
    )


def _errors(fits: "Mapping[str, Fit]") -> Figure:
    rows: list[Row] = [
        {"layer": "error", "kind": recipe or name, "x": float(np.prod(list(row.at.values()))),
         "error": 100 * (row.relative_error or 0)}
        for recipe, fit in fits.items()
        for name, part in (("each rung from those below", fit.rollout), ("held out", fit.heldout))
        if part is not None
        for row in part.rows
    ]  # fmt: skip
    first = next(iter(fits.values()))
    look = series((row["kind"] for row in rows), "kind")
    chart = layers(
        rows,
        zero(),
        only("error").mark_point(size=40, filled=True).encode(
            x=alt.X("x:Q", **log(" × ".join(first.inputs.values()))),
            y=alt.Y("error:Q", **linear("predicted / measured − 1 (%)", "+.2f")),
            **look, tooltip=hover("kind", x=".4g", error="+.3f"),
        ),
    )  # fmt: skip
    return Figure("fit", first.formula, "How far predictions are from what was measured.", chart, rows)


def draw_prediction(result: "Prediction") -> Figure:
    """Runs, each recipe's law on to the target, and the loss expected there with its interval.

    With two inputs x is their product, and no law is drawn.
    """
    rows: list[Row] = []
    evidence, target = result.evidence, float(np.prod(list(result.at.values())))
    if evidence is not None:
        x = np.prod(np.array(list(evidence.inputs.values())), axis=0)
        rows += [
            {"layer": "run", "kind": str(name), "x": a, "loss": b}
            for name, a, b in zip(evidence.recipe, x, evidence.loss, strict=True) if a > 0 and b > 0
        ]  # fmt: skip
    for name, line in result.lines.items():
        rows += _line(name, line)
    for name, item in result.recipes.items():
        rows.append({"layer": "interval", "kind": name, "x": target, "low": item.low, "high": item.high})
        rows.append({"layer": "place", "kind": name, "x": target, "loss": item.value})
    caption = f"Runs, laws, and the mean of {result.runs} run(s) at the target with its 90% interval."
    return Figure("predict", "Loss at the target", caption, _losses(rows, *result.axes), rows)


def draw_advice(advice: "Advice") -> Figure:
    """What is left to know after each step, against what the steps cost together."""
    two = advice.now.regret is not None
    start = advice.now.regret if two else advice.now.sd
    rows: list[Row] = [{"layer": "step", "step": "now", "cost": 0.0, "left": start}]
    rows += [
        {"layer": "step", "step": str(i), "cost": step.cumulative_cost, "left": step.regret if two else step.sd}
        for i, step in enumerate(advice.steps, 1)
    ]
    x = alt.X("cost:Q", axis=alt.Axis(title=f"spent ({advice.unit})", format="~g"))
    y = alt.Y("left:Q", axis=alt.Axis(title="expected regret" if two else "s.d. of the answer", format="~g"))
    colour = alt.value("#0072B2")
    chart = layers(
        rows,
        only("step").mark_line(strokeWidth=1.3, interpolate="step-after").encode(x=x, y=y, color=colour),
        only("step").mark_point(size=30, filled=True).encode(
            x=x, y=y, color=colour, tooltip=hover("step", cost=".4g", left=".3g")
        ),
    )  # fmt: skip
    return Figure("advise", "What further runs would bring", "Expected after each step.", chart, rows)


def draw_comparisons(result: "Comparisons") -> Figure:
    """The difference of each pair along x, on to the target; at most twelve pairs, as they come.

    Sizes have their intervals, what is believed its band, and the crossover its confidence set.
    """
    rows = [row for pair in result.pairs[:_PANELS] for row in _pair_rows(pair)]
    first, second = (result.pairs[0].a, result.pairs[0].b) if len(result.pairs) == 1 else ("the second", "the first")
    rows += [{"layer": "above", "text": f"▲ {first} is better"}, {"layer": "below", "text": f"▼ {second} is better"}]
    look = series((row["kind"] for row in rows if "kind" in row), "kind")
    x = alt.X("x:Q", **log(result.x))
    y = alt.Y("difference:Q", **linear(f"difference in {result.loss}", "+.3f"))
    told = hover("kind", x=".4g", difference="+.4f")
    colour, ends = look["color"], {"x": x, "y": alt.Y("low:Q"), "y2": "high:Q"}
    words: dict[str, Any] = {"align": "left", "fontSize": 12, "opacity": 0.8}
    corner: dict[str, Any] = {"x": alt.value(6), "text": "text:N"}
    chart = layers(
        rows,
        zero(),
        only("set").mark_rect(opacity=0.1).encode(x=alt.X("from:Q"), x2="to:Q", color=colour),
        only("curve").mark_area(opacity=0.12).encode(**ends, color=colour),
        only("curve").mark_line(strokeWidth=1.3).encode(x=x, y=y, color=colour),
        only("rung").mark_rule(strokeWidth=1).encode(**ends, color=colour),
        only("target").mark_rule(strokeWidth=2).encode(**ends, color=colour),
        only("target").mark_point(size=70, filled=True, shape="diamond").encode(x=x, y=y, color=colour, tooltip=told),
        only("rung").mark_point(size=45, filled=True).encode(x=x, y=y, **look, tooltip=told),
        only("crossover").mark_point(size=140, strokeWidth=2).encode(x=x, y=y, color=colour, tooltip=told),
        only("above").mark_text(**words, baseline="top", dy=4).encode(**corner, y=alt.value(0)),
        only("below").mark_text(**words, baseline="bottom", dy=-4).encode(**corner, y=alt.value("height")),
    )
    caption = (
        "Loss of the second less that of the first: each size with its 90% interval, what is believed with its band, a "
        "diamond at the target, a circle at a crossover and its confidence set as a strip."
    )
    return Figure("compare", "Difference between recipes", caption, chart, rows)


def _pair_rows(pair: "Comparison") -> Iterator[Row]:
    name = {"kind": f"{pair.b} − {pair.a}: {pair.verdict}"}
    for rung in pair.rungs:
        if not rung.structural:
            low, high = rung.difference.ci or (None, None)
            yield {"layer": "rung", **name, "x": rung.x, "difference": rung.difference.value, "low": low, "high": high}
    for point in pair.curve:
        band = {"difference": point.value, "low": point.low, "high": point.high}
        yield {"layer": "curve", **name, "x": point.x, **band}
    if pair.crossover is not None and not pair.crossover.lever_arm_decades:
        yield {"layer": "crossover", **name, "x": pair.crossover.value, "difference": 0.0}
        places = [point.x for point in pair.curve] or [pair.crossover.value]
        start, end = pair.crossover.ci
        yield {"layer": "set", **name, "from": start or min(places), "to": end or max(places)}
    if pair.gap is not None:
        low, high = pair.gap.difference.ci or (None, None)
        place = {"x": pair.gap.x, "difference": pair.gap.difference.value}
        yield {"layer": "target", **name, **place, "low": low, "high": high}


def draw_optima(found: "Mapping[str, Optima]") -> Figure:
    """Loss above the cell's best against learning rate, a line per cell and a panel per recipe; circles mark optima."""
    rows = [row | {"recipe": recipe} for recipe, result in found.items() for row in _optima(result)]
    names = list(dict.fromkeys(row["kind"] for row in rows))
    x = alt.X("lr:Q", **log("peak learning rate", ".1e"))
    y = alt.Y(
        "excess:Q", scale=alt.Scale(domain=[-0.2, 5], clamp=True), axis=alt.Axis(title="loss above the cell's best (%)")
    )
    colour = alt.Color("kind", type="ordinal", sort=names, scale=shades(names), legend=_columns(len(names)))
    told = hover("kind", lr=".4g", excess=".3f")
    chart = panels(
        rows, "recipe", list(found),
        only("rate").mark_line(strokeWidth=1).encode(x=x, y=y, color=colour),
        only("rate").mark_point(size=14, filled=True).encode(x=x, y=y, color=colour, tooltip=told),
        only("optimum").mark_point(size=110, strokeWidth=2).encode(x=x, y=y, color=colour, tooltip=told),
    )  # fmt: skip
    caption = "By learning rate; circles mark optima inside the grid."
    return Figure("optimum", "Loss above the best", caption, chart, rows)


def _optima(result: "Optima") -> list[Row]:
    rows: list[Row] = []
    for cell in result.cells:
        at = ", ".join(f"{key}={value:.3g}" for key, value in cell.at.items())
        kind = at + (" (edge)" if cell.edge else "")
        excess = 100 * (np.array(cell.losses) / min(cell.losses) - 1)
        rows += [
            {"layer": "rate", "kind": kind, "lr": lr, "excess": value}
            for lr, value in zip(cell.lrs, excess, strict=True)
        ]
        if cell.optimum is not None:
            rows.append({"layer": "optimum", "kind": kind, "lr": cell.optimum, "excess": 0.0})
    return rows


def _columns(count: int) -> Any:
    return alt.Legend(columns=1 + (count > 8), symbolLimit=40)
