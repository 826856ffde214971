"""What figures of a study share: its cells and laws as rows, and the colour that a recipe keeps in all of them."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from crossover.plots.house import Row, series
from stages.report.results import StudyResults
from stages.report.tables import RUNGS

CELL = ("recipe", "width", "settings", "seed", "cell")
"""What a hover tells of a run."""
LOSS = "held-out loss (nats/token)"
COMPUTE = "training compute, 6N × tokens (FLOP)"


def cell_rows(results: StudyResults, done: bool = True) -> pd.DataFrame:
    """Runs with the columns that a hover tells."""
    table = results.losses[results.losses["status"] == ("done" if done else "diverged")]
    return table.assign(
        name=table["recipe"], recipe=table["recipe"].map(results.label),
        settings=table["axes"], cell=table["fingerprint"].str[:12],
    )  # fmt: skip


def rows_of(layer: str, table: pd.DataFrame, **columns: str) -> list[dict[str, Any]]:
    """Rows of a layer: the columns of a cell, and others under a new name."""
    names = {**{name: name for name in CELL if name in table}, **{old: new for new, old in columns.items()}}
    values = (table[name].tolist() for name in names)
    return [{"layer": layer, **dict(zip(names.values(), row, strict=True))} for row in zip(*values, strict=True)]


def labels(results: StudyResults, recipes: Iterable[str]) -> list[str]:
    """How they are called."""
    return [results.label(recipe) for recipe in recipes]


def law_rows(results: StudyResults) -> list[Row]:
    """Laws of recipes with three widths or more: through two points any goes."""
    return [
        {"layer": "law", "name": recipe, "recipe": results.label(recipe), "compute": point["x"],
         **{name: point[name] for name in ("loss", "low", "high")}}
        for recipe, found in results.fit["laws"].items()
        if found and len(results.fit["means"][recipe]) >= RUNGS
        for point in found[0]["line"]
    ]  # fmt: skip


def look_of(results: StudyResults, recipes: Iterable[str]) -> dict[str, Any]:
    """Colour and shape of recipes: the same in every figure of the study."""
    return series(labels(results, list(recipes)), "recipe", labels(results, results.study.recipes))
