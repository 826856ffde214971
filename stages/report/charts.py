"""PNG charts of anybody's runs: a fitted law, comparisons of recipes, learning-rate optima."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from stages.fit.comparing import Comparisons
from stages.fit.laws import Floats
from stages.fit.optimum import Optima
from stages.fit.result import Fit
from stages.report.figures import canvas, look

_PANELS = 12


def plain_text(text: str) -> str:
    """Text that is not read as mathematics."""
    return text.replace("$", r"\$")


def _below(loss: str) -> str:
    return plain_text(f"difference in {loss}") + "\nbelow 0: the first is better"


def draw_fit(fit: Fit, inputs: Mapping[str, Floats], loss: Floats, loss_name: str) -> bytes:
    """Loss and law against the input, or, with two inputs, relative errors against their product."""

    def plot(axes: Axes) -> None:
        if fit.line:
            _law(axes, fit, inputs["x"], loss)
            axes.set(xscale="log", yscale="log", xlabel=plain_text(fit.inputs["x"]), ylabel=plain_text(loss_name))
        else:
            _errors(axes, fit)
            names = " × ".join(fit.inputs.values())
            axes.set(xscale="log", xlabel=plain_text(names), ylabel="predicted / measured − 1 (%)")
        axes.legend()

    return canvas(plot)


def _law(axes: Axes, fit: Fit, x: Floats, loss: Floats) -> None:
    axes.plot(x, loss, ls="", ms=5, label="runs", **look(0))
    grid = [point.x for point in fit.line]
    axes.plot(grid, [point.loss for point in fit.line], color="black", lw=1.2, label=fit.formula)
    if all(point.low is not None for point in fit.line):
        low, high = [point.low or 0.0 for point in fit.line], [point.high or 0.0 for point in fit.line]
        axes.fill_between(grid, low, high, color="black", alpha=0.12, lw=0, label="90% interval")
    for index, (name, rows) in enumerate(_marked(fit), start=1):
        values = [row.measured if row.measured is not None else row.loss.value for row in rows]
        axes.plot([row.at["x"] for row in rows], values, ls="", ms=7, mfc="none", label=name, **look(index))


def _marked(fit: Fit) -> list[tuple[str, list[Any]]]:
    held = fit.heldout.rows if fit.heldout else []
    return [(name, rows) for name, rows in (("held out", held), ("predicted", fit.predictions)) if rows]


def _errors(axes: Axes, fit: Fit) -> None:
    parts = (("each rung from those below", fit.rollout), ("held out", fit.heldout))
    for index, (name, part) in enumerate(parts):
        if part is not None:
            x = [float(np.prod(list(row.at.values()))) for row in part.rows]
            errors = [100 * (row.relative_error or 0.0) for row in part.rows]
            axes.plot(x, errors, ls="", ms=6, label=name, **look(index))
    axes.axhline(0, color="black", lw=0.8)


def draw_comparisons(result: Comparisons) -> bytes:
    """The difference of each pair along x with its fitted curve and crossover; at most twelve pairs, as they come."""

    def plot(axes: Axes) -> None:
        for index, pair in enumerate(result.pairs[:_PANELS]):
            style = look(index)
            name = plain_text(f"{pair.b} − {pair.a}: {pair.verdict}")
            free = [rung for rung in pair.rungs if not rung.structural]
            axes.plot([rung.x for rung in free], [rung.difference.value for rung in free], ls="", label=name, **style)
            grid = [point.x for point in pair.curve]
            axes.plot(grid, [point.value for point in pair.curve], color=style["color"], lw=1.2)
            low, high = [point.low for point in pair.curve], [point.high for point in pair.curve]
            axes.fill_between(grid, low, high, color=style["color"], alpha=0.12, lw=0)
            if pair.crossover is not None and not pair.crossover.lever_arm_decades:
                axes.plot(pair.crossover.value, 0, marker="*", ms=14, color=style["color"], mec="black")
        axes.axhline(0, color="black", lw=0.8)
        drawn = any(pair.rungs or pair.curve for pair in result.pairs)
        axes.set(xscale="log" if drawn else "linear", xlabel=plain_text(result.x), ylabel=_below(result.loss))
        axes.legend(fontsize=8)

    return canvas(plot)


def draw_optima(result: Optima) -> bytes:
    """Loss above the cell's best against learning rate, one line per cell; stars mark optima inside the grid."""

    def plot(axes: Axes) -> None:
        for index, cell in enumerate(result.cells):
            style = look(index)
            name = ", ".join(f"{key}={value:.3g}" for key, value in cell.at.items())
            excess = 100 * (np.array(cell.losses) / min(cell.losses) - 1)
            axes.plot(cell.lrs, excess, lw=1, ms=4, label=name + (" (edge)" if cell.edge else ""), **style)
            if cell.optimum is not None:
                axes.plot(cell.optimum, 0, marker="*", ms=12, color=style["color"], mec="black")
        axes.set(xscale="log", xlabel="peak learning rate", ylabel="loss above the cell's best (%)", ylim=(-0.2, 5))
        axes.legend(fontsize=7, ncols=2)

    return canvas(plot)
