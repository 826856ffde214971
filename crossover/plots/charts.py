"""Charts of anybody's runs: what further ones would bring, and optima of sweeps."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from crossover.plots.house import COLOURS, Figure, Row, hover, layers, log, only, panels, shades

if TYPE_CHECKING:
    from crossover.answers.advising.advise import Advice
    from crossover.laws.optimum import Optima


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
    colour = alt.value(COLOURS[0])
    chart = layers(
        rows,
        only("step").mark_line(strokeWidth=1.3, interpolate="step-after").encode(x=x, y=y, color=colour),
        only("step").mark_point(size=30, filled=True).encode(
            x=x, y=y, color=colour, tooltip=hover("step", cost=".4g", left=".3g")
        ),
    )  # fmt: skip
    return Figure("advise", "What further runs would bring", "Expected after each step.", chart, rows)


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
