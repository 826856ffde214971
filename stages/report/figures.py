"""The figures of a study, as PNG. Colours are Okabe and Ito's, told apart with any colour vision."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from stages.report.results import StudyResults

_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_MARKERS = ["o", "s", "D", "^", "v", "P", "X"]
_STYLE: Any = {
    "figure.dpi": 160,
    "figure.figsize": (6.4, 4.0),
    "figure.constrained_layout.use": True,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "legend.frameon": False,
}


def draw(plot: Callable[[Axes, StudyResults], None], results: StudyResults) -> bytes:
    """One figure of a study as PNG bytes."""
    return canvas(lambda axes: plot(axes, results))


def canvas(plot: Callable[[Axes], None]) -> bytes:
    """Axes in the house style, drawn on by `plot`, as PNG bytes."""
    return png(lambda axes: plot(axes[0]))


def png(plot: Callable[[list[Axes]], None], rows: int = 1, columns: int = 1, size: Any = None) -> bytes:
    """A grid of axes in the house style, drawn on by `plot`, as PNG bytes; `size` in inches."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        plot(list(axes.flat))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the index-th series."""
    return {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}


def loss_against_compute(axes: Axes, results: StudyResults) -> None:
    """Every cell, the mean of each rung, and the law with its band, per recipe."""
    done = results.losses[results.losses["status"] == "done"]
    for index, (recipe, laws) in enumerate(results.fit["laws"].items()):
        style, means = look(index), results.fit["means"][recipe]
        cells = done[done["recipe"] == recipe]
        axes.plot(cells["flops_6n"], cells["loss_validation"], ls="", ms=3, alpha=0.4, **style)
        x, loss = ([mean[name] for mean in means] for name in ("flops_6n", "loss"))
        axes.plot(x, loss, ls="", ms=7, label=results.label(recipe), **style)
        if laws:
            _law_line(axes, laws[0]["line"], style["color"])
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="training compute, 6N × tokens (FLOP)",
        ylabel="held-out loss (nats/token)",
    )
    _plain_numbers(axes)
    axes.legend()


def _law_line(axes: Axes, line: list[dict[str, float]], colour: str) -> None:
    x, loss, low, high = ([point[name] for point in line] for name in ("x", "loss", "low", "high"))
    axes.plot(x, loss, color=colour, lw=1.4)
    if low[0] is not None:
        axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)


def paired_difference(axes: Axes, results: StudyResults) -> None:
    """Difference between two recipes along the ladder, with its interval, seeds, meeting points and crossover."""
    for index, pair in enumerate(results.fit["comparisons"]):
        name = f"{results.label(pair['b'])} − {results.label(pair['a'])}"
        _difference(axes, results, pair, name, look(index))
    axes.axhline(0, color="black", lw=0.8)
    axes.set(
        xscale="log",
        xlabel="width D",
        ylabel="difference in held-out loss (nats)\nbelow 0: the first is better",
    )
    _widths(axes, results)
    axes.legend()


def _difference(axes: Axes, results: StudyResults, pair: dict[str, Any], name: str, style: dict[str, Any]) -> None:
    rungs = pair["rungs"]
    free = [rung for rung in rungs if not rung["structural"]]
    widths, values = [int(rung["name"]) for rung in free], np.array([rung["difference"]["value"] for rung in free])
    if free and free[0]["difference"]["ci"] is not None:
        low, high = np.array([rung["difference"]["ci"] for rung in free]).T
        reach = [values - low, high - values]
        axes.errorbar(widths, values, yerr=reach, capsize=4, ls="", label=f"{name}, 90% interval", **style)
    else:
        axes.plot(widths, values, ls="", label=name, **style)
    axes.plot(*_seed_differences(results, pair), ls="", marker="_", color=style["color"], alpha=0.6, ms=9)
    met = [int(rung["name"]) for rung in rungs if rung["structural"]]
    if met:
        axes.plot(met, [0] * len(met), ls="", marker="o", mfc="none", mec="black", label="same run by construction")
    everything = [rung["difference"]["value"] for rung in rungs]
    axes.plot([int(rung["name"]) for rung in rungs], everything, color=style["color"], lw=0.8)


def _seed_differences(results: StudyResults, pair: dict[str, str]) -> tuple[list[int], list[float]]:
    rows = results.losses[(results.losses["status"] == "done") & ~results.losses["structural_pair"]]
    table = rows.pivot_table(index=["width", "seed"], columns="recipe", values="loss_validation")
    d = (table[pair["b"]] - table[pair["a"]]).dropna()
    return [width for width, _ in d.index], d.tolist()


def learning_rate_bowls(axes: Axes, results: StudyResults) -> None:
    """Loss against learning rate per width; the optimum is starred, an edge says so."""
    cells = [(recipe, cell) for recipe, found in results.fit["optima"].items() for cell in found["cells"]]
    for index, (recipe, cell) in enumerate(cells):
        style = look(index)
        edge = " (best at the edge)" if cell["edge"] else ""
        label = f"{results.label(recipe)}, width {cell['at']['width']:g}{edge}"
        axes.plot(cell["lrs"], cell["losses"], lw=1.2, ms=5, label=label, **style)
        if cell["optimum"]:
            axes.plot(cell["optimum"], cell["loss_at_optimum"], marker="*", ms=14, color=style["color"], mec="black")
        top = max(cell["losses"])
        axes.plot(cell["diverged"], [top] * len(cell["diverged"]), ls="", marker="x", ms=9, color=style["color"])
    axes.set(xscale="log", xlabel="peak learning rate", ylabel="held-out loss (nats/token)")
    axes.xaxis.set_major_locator(FixedLocator(sorted({lr for _, cell in cells for lr in cell["lrs"]})))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"$2^{{{np.log2(value):g}}}$" if _is_half_octave(value) else f"{value:.3g}")
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8)
    axes.legend()


def _is_half_octave(value: float) -> bool:
    return bool(abs(np.log2(value) * 2 - round(np.log2(value) * 2)) < 1e-6)


def _widths(axes: Axes, results: StudyResults) -> None:
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(results.losses["width"]))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _plain_numbers(axes: Axes) -> None:
    low, high = axes.get_ylim()
    step = 0.1 if high - low < 1 else 0.25 if high - low < 3 else 0.5
    axes.yaxis.set_major_locator(FixedLocator(list(np.arange(np.ceil(low / step) * step, high, step))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    axes.yaxis.set_minor_locator(NullLocator())
