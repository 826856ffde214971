"""What the figure of an answer is drawn from: what is believed along x, the runs, and each recipe's law."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crossover.answers.ladders import default_law, honest
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.belief.difference import Outlook
from crossover.laws.fit import fit_law, line
from crossover.laws.objectives import squares
from crossover.laws.result import LinePoint
from crossover.runs.estimates import ENDS, plain

if TYPE_CHECKING:
    from crossover.answers.comparison import Comparison
    from crossover.plots.house import Figure, Row

_POINTS, _BEYOND = 25, 13
_STEP = 1e-3
_SIZES = 3  # through two any law goes


@dataclass(frozen=True)
class Runs:
    """n finished runs: size, loss and recipe."""

    x: Floats
    loss: Floats
    recipe: npt.NDArray[Any]


@dataclass(frozen=True)
class CurvePoint:
    """What is believed of loss(B) - loss(A) at one x: its median, and a pointwise 90% interval."""

    x: float
    value: float
    low: float
    high: float


def curve_along(ahead: Outlook, target: float | None, start: float | None = None) -> list[CurvePoint]:
    """What is believed along the runs from `start` on, and to the target and a tenth of the way beyond."""
    low, high = float(ahead.track.log_x[0] if start is None else math.log(start)), float(ahead.track.log_x[-1])
    places = np.linspace(low, high, _POINTS)
    if target is not None:  # what is believed makes a step at the ends of the runs: more may change beyond
        goal, beyond = math.log(target), 0.1 * max(math.log(target) - low, high - math.log(target))
        below = np.linspace(goal, low - _STEP, _BEYOND if goal < low else 0)
        above = np.linspace(high + _STEP, goal + beyond, _BEYOND if goal + beyond > high else 0)
        places = np.concatenate([below, places, above])
    points = list[CurvePoint]()
    for log_x in places:
        value, low, high = map(float, ahead.itself(float(log_x)).quantiles(np.array([0.5, *ENDS])))
        points.append(CurvePoint(math.exp(log_x), value, low, high))
    return points


def laws_along(runs: Runs, recipes: Sequence[str], target: float | None = None) -> dict[str, list[LinePoint]]:
    """Each recipe's law with its band, on to the target; of recipes whose runs carry one."""
    found = {}
    for name in recipes:
        mine = (runs.recipe == name) & (runs.loss > 0)
        sizes = len(np.unique(np.log(runs.x[mine]).round(6)))
        if sizes < _SIZES:
            continue
        try:
            fitted = fit_law(default_law(sizes), {"x": runs.x[mine]}, runs.loss[mine], objective=squares(True),
                             starts=3, intervals=False)  # fmt: skip
        except UsageError:
            continue
        found[name] = line(honest(fitted), *([] if target is None else [target]))
    return found


def draw_pairs(
    pairs: "Sequence[Comparison]", runs: Runs | None, axes: tuple[str, str], name: str, title: str,
    places: "Sequence[Row]" = (),
) -> "Figure":  # fmt: skip
    """The figure of comparisons: their differences, and below them the runs and laws of the recipes in them.

    Args:
        pairs: at most `MOST` of them are drawn, as they come.
        runs: of all recipes; without them there is no lower part.
        axes: what x and the loss are called.
        name: of the figure.
        title: of the figure.
        places: rows of the layers `place` and `interval`: losses that are expected at the target.
    """
    from crossover.plots.difference import MOST, Apart, draw_apart
    from crossover.plots.losses import law_rows, run_rows

    pairs = pairs[:MOST]
    target = next((item.gap.x for item in pairs if item.gap), None)
    known = [plain(item) | {"curve": plain(item.curve or _curve_of(item))} for item in pairs]
    if runs is None:
        return draw_apart(Apart(known, axes), name, title)
    inside = {end for item in pairs for end in (item.a, item.b)}
    recipes = [name for name in dict.fromkeys(runs.recipe.tolist()) if name in inside]
    rows = [row for it in recipes for row in run_rows(it, *_of(runs, it))]
    forecast = any(row["layer"] == "place" for row in places)  # a verdict carries no law on
    laws = laws_along(runs, recipes, target if forecast else None)
    rows += [row for it, points in laws.items() for row in law_rows(it, points)]
    return draw_apart(Apart(known, axes, [*rows, *places], recipes), name, title)


def _of(runs: Runs, name: str) -> tuple[Floats, Floats]:
    return runs.x[runs.recipe == name], runs.loss[runs.recipe == name]


def _curve_of(item: "Comparison") -> list[CurvePoint]:
    """What answers that are asked in numbers keep no curve of."""
    if item.outlook is None:
        return []
    return curve_along(item.outlook, item.gap.x if item.gap else None, start_of(item))


def start_of(item: "Comparison") -> float | None:
    """Of recipes that are one run somewhere, the first size above that: what is believed passes no such point."""
    met = [rung.x for rung in item.rungs if rung.structural]
    return next((rung.x for rung in item.rungs if rung.x > max(met)), None) if met else None
