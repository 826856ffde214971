"""Supercollapse: do a recipe's training curves lie on one another across widths, once normalised?

Qiu et al. (arXiv 2507.02119): with l(x) = (L(x) - L0) / (L(1) - L0), x the share of the run that is done, curves of a
well-scaled recipe collapse, and a learning rate that does not follow the width breaks the collapse even where final
losses are equal. L0 is each recipe's own: the floor at which its curves collapse best, which no recipe can complain of.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats

_PROGRESS = np.linspace(0.3, 1.0, 8)  # after warmup; the last point is the normalisation itself
_HALF_WINDOW = 0.04  # of the run, averaged around each point
_FLOORS = 40
_FEWEST = 3
_SHOWN = np.geomspace(0.02, 1.0, 24)  # of the run, for a picture of a curve


@dataclass(frozen=True)
class Collapse:
    """How far the curves of one recipe and seed are from one curve, over the first widths of its ladder."""

    recipe: str
    seed: int
    widths: list[int]
    floor: float
    """L0, nats per token."""
    deviation: float
    """Standard deviation over widths of the normalised loss, root mean square over the run, relative to its mean."""


@dataclass(frozen=True)
class Curve:
    """A training curve for pictures: mean loss over seeds, each point averaged over 8% of the run."""

    recipe: str
    width: int
    tokens: int
    progress: list[float]
    loss: list[float]


def mean_curves(losses: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Curve]:
    """Of every recipe and width that has finished runs."""
    raw = {name: group["loss"].to_numpy(float) for name, group in curves.groupby("fingerprint")}
    done = losses[(losses["status"] == "done") & losses["fingerprint"].isin(raw.keys())]
    for (recipe, width), group in done.groupby(["recipe", "width"], sort=False):
        loss = np.mean([smoothed(raw[name], _SHOWN) for name in group["fingerprint"]], axis=0)
        yield Curve(
            recipe=str(recipe),
            width=int(width),
            tokens=int(group["tokens"].iloc[0]),
            progress=[round(float(x), 4) for x in _SHOWN],
            loss=[round(float(value), 5) for value in loss],
        )


def collapses(losses: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Collapse]:
    """Of every recipe and seed, for the first three widths, the first four, and so on."""
    done = losses[(losses["status"] == "done") & losses["fingerprint"].isin(curves["fingerprint"])]
    smooth = {name: smoothed(group["loss"].to_numpy(float)) for name, group in curves.groupby("fingerprint")}
    for (recipe, seed), group in done.groupby(["recipe", "seed"]):
        rungs = group.sort_values("width").drop_duplicates("width")
        table_WxP = np.array([smooth[name] for name in rungs["fingerprint"]])
        for count in range(_FEWEST, len(rungs) + 1):
            floor, deviation = best_collapse(table_WxP[:count])
            yield Collapse(str(recipe), int(seed), [int(w) for w in rungs["width"][:count]], floor, deviation)


def smoothed(loss: Floats, progress: Floats = _PROGRESS) -> Floats:
    """Mean loss around each point of progress, [P]."""
    steps = len(loss)
    ends = [(int(max(0, (x - _HALF_WINDOW) * steps)), int(min(steps, (x + _HALF_WINDOW) * steps))) for x in progress]
    return np.array([loss[low : max(high, low + 1)].mean() for low, high in ends])


def best_collapse(table_WxP: Floats) -> tuple[float, float]:
    """The floor L0 at which curves collapse best, and the deviation there."""
    floors = np.linspace(0.0, 0.95 * float(table_WxP.min()), _FLOORS)
    deviations = [deviation(table_WxP, floor) for floor in floors]
    best = int(np.argmin(deviations))
    return float(floors[best]), deviations[best]


def deviation(table_WxP: Floats, floor: float) -> float:
    """Relative spread over widths of (L(x) - L0) / (L(1) - L0), without the last point, where all are 1."""
    normal_WxP = (table_WxP - floor) / (table_WxP[:, -1:] - floor)
    spread = normal_WxP[:, :-1].std(axis=0, ddof=1) / normal_WxP[:, :-1].mean(axis=0)
    return float(np.sqrt(np.mean(spread**2)))
