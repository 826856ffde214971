"""Charts of losses along size: runs, laws with their bands, and what is expected at a place; by recipe."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats
from crossover.plots.house import Figure, Row, hover, layers, linear, log, only, series, zero

if TYPE_CHECKING:
    from crossover.laws.result import Fit, LinePoint


_LONGEST = 36  # letters of a name
_BESIDE = 7  # pixels between what is expected of two recipes at one place


def draw_fits(fits: "Mapping[str, Fit]") -> Figure:
    """Loss and law against the input, or, with two inputs, relative errors against their product; by recipe."""
    return _laws(fits) if all(fit.line for fit in fits.values()) else _errors(fits)


def _laws(fits: "Mapping[str, Fit]") -> Figure:
    rows: list[Row] = []
    for recipe, fit in fits.items():
        rows += run_rows(recipe or "runs", fit.drawn.x, fit.drawn.loss)
        rows += law_rows(recipe or "runs", fit.line)
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
    chart = losses_chart(rows, first.inputs["x"], first.drawn.name)
    return Figure("fit", title, "Runs, the fitted law and its 90% interval.", chart, rows)


def run_rows(kind: str, x: Floats, loss: Floats) -> list[Row]:
    """Runs of positive size."""
    places = zip(x.tolist(), loss.tolist(), strict=True)
    return [{"layer": "run", "kind": kind, "x": a, "loss": b} for a, b in places if a > 0]


def law_rows(kind: str, line: "Sequence[LinePoint]") -> list[Row]:
    """A law and its band."""
    return [
        {"layer": "law", "kind": kind, "x": point.x, "loss": point.loss, "low": point.low, "high": point.high}
        for point in line
    ]


def name_rows(rows: Sequence[Row]) -> list[Row]:
    """Names of the recipes, to be written in a corner instead of a legend, from the one that ends highest down."""
    ends = {row["kind"]: row["loss"] for row in sorted(rows, key=lambda row: row["layer"] == "law") if "loss" in row}
    kinds = sorted(ends, key=lambda kind: -ends[kind])
    return [{"layer": f"name {i}", "kind": kind, "text": brief(kind)} for i, kind in enumerate(kinds)]


def place_rows(x: float, ends: Mapping[str, tuple[float, float, float]]) -> list[Row]:
    """Losses that are expected at x: each recipe's value with the ends of its interval."""
    rows: list[Row] = []
    for name, (value, low, high) in ends.items():
        rows.append({"layer": "interval", "kind": name, "x": x, "low": low, "high": high})
        rows.append({"layer": "place", "kind": name, "x": x, "loss": value})
    return rows


def draw_places(
    runs: tuple[Floats, Floats, npt.NDArray[Any]] | None, lines: "Mapping[str, Sequence[LinePoint]]",
    places: Sequence[Row], axes: tuple[str, str],
) -> Figure:  # fmt: skip
    """Runs (x, loss and recipe), each recipe's law on to a place, and the loss expected there."""
    rows: list[Row] = []
    if runs is not None:
        x, loss, recipe = runs
        for name in dict.fromkeys(recipe.tolist()):
            rows += run_rows(str(name), x[recipe == name], loss[recipe == name])
    rows += [row for name, line in lines.items() for row in law_rows(name, line)]
    caption = "Runs, each recipe's law, and the mean loss expected at the target with its 90% interval."
    return Figure("predict", "Loss at the target", caption, losses_chart([*rows, *places], *axes), [*rows, *places])


def losses_chart(
    rows: list[Row], x: str, loss: str, recipes: Sequence[str] | None = None, legend: bool = True
) -> alt.LayerChart:
    """Runs, laws and places, each series in its colour: that of its place among `recipes`."""
    horizontal = alt.X("x:Q", **log(x))
    vertical = alt.Y("loss:Q", **logged(loss, rows))
    look = series((row["kind"] for row in rows if "kind" in row), "kind", recipes, legend)
    colour, told = look["color"], hover("kind", x=".4g", loss=".4f")
    ends = {"x": horizontal, "y": alt.Y("low:Q"), "y2": "high:Q"}
    names = [row["layer"] for row in rows if row["layer"].startswith("name ")]
    written: dict[str, Any] = {"align": "left", "baseline": "bottom", "fontSize": 12, "fontWeight": "bold"}
    places = list(dict.fromkeys(row["kind"] for row in rows if row["layer"] == "place"))
    beside = [
        (alt.FieldEqualPredicate(field="kind", equal=kind), _BESIDE * (i - (len(places) - 1) / 2))
        for i, kind in enumerate(places)
    ]
    return layers(
        rows,
        *(
            only(layer)
            .mark_text(**written, dy=-4 - 15 * i)
            .encode(x=alt.value(6), y=alt.value("height"), text="text:N", color=colour)
            for i, layer in enumerate(reversed(names))
        ),
        only("law").mark_area(opacity=0.13).encode(**ends, color=colour),
        only("law").mark_line(strokeWidth=1.3).encode(x=horizontal, y=vertical, color=colour),
        *(
            only("interval").transform_filter(of).mark_rule(strokeWidth=1.5, xOffset=aside).encode(**ends, color=colour)
            for of, aside in beside
        ),
        only("next").mark_rule(strokeDash=[2, 3]).encode(x=horizontal, tooltip=hover("step", x=".4g")),
        only("run").mark_point(size=30).encode(x=horizontal, y=vertical, **look, tooltip=[*_named(rows), *told]),
        *(
            only("place")
            .transform_filter(of)
            .mark_point(size=60, filled=True, xOffset=aside)
            .encode(x=horizontal, y=vertical, **look, tooltip=told)
            for of, aside in beside
        ),
    )


def brief(name: str) -> str:
    """A name that fits into a figure."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def logged(title: str, rows: Sequence[Row]) -> dict[str, Any]:
    """A logarithmic axis of losses with round labels, as losses seldom span powers; linear where one is below zero."""
    values = [row[name] for row in rows for name in ("loss", "low", "high") if row.get(name) is not None]
    if min(values, default=0.0) <= 0:
        return linear(title, ".4~g")
    axis = alt.Axis(title=title, format=".5~g", values=steps(values))
    return {"scale": alt.Scale(type="log", nice=False, padding=8), "axis": axis}


def steps(values: Sequence[float]) -> list[float]:
    """Three to eight round numbers within a range of positive ones; over more than a power of ten its 1, 2 and 5."""
    low, high = min(values), max(values)
    if high > 10 * low:
        powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
        found = [float(f"{m}e{k}") for k in powers for m in (1, 2, 5)]
        return [place for place in found if low <= place <= high]
    unit = 10.0 ** math.floor(math.log10(max(high - low, 1e-9 * high) / 3))
    step = next(unit * m for m in (5, 2, 1) if (high - low) / (unit * m) >= 3 or m == 1)
    return [round(k * step, 12) for k in range(math.ceil(low / step), math.floor(high / step) + 1)] or [low]


def _named(rows: Sequence[Row]) -> list[alt.Tooltip]:
    """What else is known of runs: their width, seed and cell in a study of one's own."""
    known = {name for row in rows if row["layer"] == "run" for name in row}
    return hover(*(name for name in ("width", "settings", "seed", "cell") if name in known))


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
