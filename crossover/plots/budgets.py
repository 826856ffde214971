"""The chart of an allocation: loss against size at equal compute."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import altair as alt
import numpy as np

from crossover.plots.house import Figure, Row, hover, layers, linear, log, only, series

if TYPE_CHECKING:
    from crossover.answers.allocating.allocate import Allocation

_POINTS = 60
_MOST = 7
_REACH = math.log(16.0)
_NEAR = math.log(1.15)  # as runs are grouped into budgets


def draw_allocation(result: "Allocation") -> Figure:
    """Curves of the law at budgets that were run and at the one asked for, with the best size of each."""
    known = [item.c for item in result.isoflop.budgets] if result.isoflop else []
    shown = np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST - 1)).round().astype(int))
    rows = [row for c in (*(known[i] for i in shown), result.c) for row in _budget(result, c)]
    low, high = result.n.ci or (None, None)
    least = result.frontier.least(result.c)
    rows.append({"layer": "interval", "kind": f"{result.c:.2g}", "low": low, "high": high, "loss": least})
    look = series((row["kind"] for row in rows), "kind")
    horizontal, vertical = alt.X("n:Q", **log("parameters")), alt.Y("loss:Q", **linear("loss", ".2f"))
    colour, told = look["color"], hover("kind", n=".4g", loss=".4f")
    chart = layers(
        rows,
        only("law").mark_line(strokeWidth=1.3).encode(x=horizontal, y=vertical, color=colour),
        only("run").mark_point(size=25).encode(x=horizontal, y=vertical, **look, tooltip=told),
        only("interval").mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", y=vertical, color=colour),
        only("best").mark_point(size=110, filled=True, shape="diamond").encode(
            x=horizontal, y=vertical, color=colour, tooltip=told
        ),
    )  # fmt: skip
    caption = (
        "Loss against size at equal compute, a colour each: runs, the law, and its best size (diamond), at "
        f"{result.c:.3g} with its interval."
    )
    return Figure("allocate", f"The best size at {result.c:.3g} of compute", caption, chart, rows)


def _budget(result: "Allocation", c: float) -> Iterator[Row]:
    """The runs of a budget, the law along their sizes and at least a factor of two about the best, and the best."""
    n, compute, loss = result.drawn
    kind, best = f"{c:.2g}", result.frontier.log_n(c)
    near = np.abs(np.log(compute / c)) <= _NEAR
    sizes = np.log(n[near]) if near.any() else np.array([best - _REACH, best + _REACH])
    low, high = min(float(sizes.min()), best - math.log(2)), max(float(sizes.max()), best + math.log(2))
    for at in np.linspace(low, high, _POINTS):
        yield {"layer": "law", "kind": kind, "n": math.exp(at), "loss": result.frontier.at(float(at), c)}
    for a, b in zip(n[near], loss[near], strict=True):
        yield {"layer": "run", "kind": kind, "n": float(a), "loss": float(b)}
    yield {"layer": "best", "kind": kind, "n": math.exp(best), "loss": result.frontier.at(best, c)}
