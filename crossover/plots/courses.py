"""The chart of a run's curve: its band, its losses, and where it left its course."""

from typing import TYPE_CHECKING

import altair as alt

from crossover.plots.house import COLOURS, Figure, Row, layers, linear, only

if TYPE_CHECKING:
    from crossover.curves.foresee import Foresight


def draw_foresight(result: "Foresight") -> Figure:
    """The expected curve with its band, the losses as they came, and a line where the run left its course."""
    x, loss = result.names
    rows: list[Row] = []
    for point in result.points:
        rows.append({"layer": "band", "x": point.x, "loss": point.expected, "low": point.low, "high": point.high})
        if point.measured is not None:
            rows.append({"layer": "came", "x": point.x, "loss": point.measured})
    if result.left is not None:
        rows.append({"layer": "left", "x": result.left.at})
    across, up = alt.X("x:Q", **linear(x, ".2~s")), alt.Y("loss:Q", **linear(loss, ".2f"))
    told = [alt.Tooltip("x:Q", format=".4g", title=x), alt.Tooltip("loss:Q", format=".4f", title=loss)]
    chart = layers(
        rows,
        only("band").mark_area(opacity=0.18, color=COLOURS[0]).encode(x=across, y=alt.Y("low:Q"), y2="high:Q"),
        only("band").mark_line(strokeWidth=1.3, color=COLOURS[0]).encode(x=across, y=up),
        only("came").mark_point(size=18, filled=True, color=COLOURS[1]).encode(x=across, y=up, tooltip=told),
        only("left").mark_rule(strokeDash=[4, 3], strokeWidth=1.5).encode(x=across),
    )
    size = f"{result.sizes[0]:.3g} to {result.sizes[-1]:.3g}"
    end = ", and where it left its course." if result.left else "."
    caption = f"Expected from runs of {size} with its 90% band (blue), as it came (orange){end}"
    return Figure("foresee", "The curve of a run", caption, chart, rows)
