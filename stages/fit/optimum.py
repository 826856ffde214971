"""The learning-rate bowl of each width: where its minimum lies, or that it lies at the edge of the grid."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.fit.laws import Estimate, Floats, interval, least_squares


@dataclass(frozen=True)
class Bowl:
    """Loss against learning rate for one recipe at one width."""

    recipe: str
    width: int
    lrs: list[float]
    losses: list[float]
    """Mean over seeds, nats per token."""
    diverged: list[float]
    """Learning rates at which a cell diverged."""
    optimum: float | None
    """Vertex of the parabola in log2 LR through the best rate and its neighbours; None at the edge."""
    loss_at_optimum: float
    """At the vertex, or the best measured loss at the edge."""
    edge: bool


@dataclass(frozen=True)
class OptimumLaw:
    """optimum LR ~ width^slope over the widths whose optimum lies inside the grid."""

    recipe: str
    widths: list[int]
    slope: Estimate


def find_bowls(losses: pd.DataFrame) -> list[Bowl]:
    """A bowl for every recipe and width with at least three learning rates."""
    groups = losses.groupby(["recipe", "width"], sort=True)
    return [bowl for (recipe, width), group in groups if (bowl := _bowl(str(recipe), int(width), group))]


def _bowl(recipe: str, width: int, group: pd.DataFrame) -> Bowl | None:
    diverged = sorted(set(group.loc[group["status"] == "diverged", "lr"]))
    done = group[(group["status"] == "done") & ~group["lr"].isin(diverged)]
    means = done.groupby("lr")["loss_validation"].mean().sort_index()
    if len(means) < 3:
        return None
    lrs, values = means.index.to_numpy(float), means.to_numpy(float)
    best = int(values.argmin())
    edge = best in (0, len(values) - 1)
    near = slice(best - 1, best + 2)
    vertex, lowest = (None, float(values[best])) if edge else _vertex(np.log2(lrs[near]), values[near])
    optimum = None if vertex is None else float(2.0**vertex)
    return Bowl(recipe, width, lrs.tolist(), values.tolist(), diverged, optimum, lowest, edge)


def _vertex(x: Floats, y: Floats) -> tuple[float, float]:
    """Vertex of the parabola through three points whose middle is lowest."""
    curvature, slope, offset = np.polyfit(x - x[1], y, 2)
    shift = -slope / (2 * curvature) if curvature > 0 else 0.0
    return float(x[1] + shift), float(offset + slope * shift / 2)


def optimum_laws(bowls: list[Bowl]) -> list[OptimumLaw]:
    """How the optimum moves with width, per recipe with at least two optima inside the grid."""
    laws = []
    for recipe in sorted({bowl.recipe for bowl in bowls}):
        inside = [bowl for bowl in bowls if bowl.recipe == recipe and bowl.optimum]
        if len(inside) >= 2:
            x = np.log([bowl.width for bowl in inside])
            design, dof = np.column_stack([np.ones_like(x), x]), len(inside) - 2
            (_, slope), covariance = least_squares(design, np.log([bowl.optimum or np.nan for bowl in inside]), dof)
            estimate = interval(float(slope), float(np.sqrt(covariance[1, 1])), dof)
            laws.append(OptimumLaw(recipe, [bowl.width for bowl in inside], estimate))
    return laws
