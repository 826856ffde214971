"""Which column names the recipe, and that no law is fitted to several recipes as if they were one."""

import re
from collections.abc import Iterator

from crossover.base.errors import UsageError
from crossover.runs.table import Runs

RECIPES = ("recipe", "optimizer", "optim", "optimizer_name", "method", "variant", "algorithm", "group", "experiment")
"""Likely names of the column that says what differs between runs, the likeliest first."""
POOLED = "none"
"""Said for the column where all runs are to be taken as of one recipe."""
_SHOWN = 4


def recipe_column(runs: Runs, by: str | None, *read: str) -> str | None:
    """The column to divide by, or None for runs of one recipe.

    Raises `UsageError` where none is named and a column that is called like one has several values; before that, where
    an expression that will be `read` cannot be.
    """
    for expression in read:
        runs.numbers(expression)
    if by is not None:
        return None if by == POOLED and by not in runs.table.columns else by
    for name in RECIPES:
        for column in (text for text in map(str, runs.table.columns) if _plain(text) == name):
            values = runs.table[column].dropna().astype(str).unique().tolist()
            if len(values) > 1:
                shown = ", ".join(values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")
                raise UsageError(
                    f"{runs.path}: '{column}' names {len(values)} recipes ({shown}), which one law would pool; "
                    f"divide them by --by {column}, choose one with --where, or pool them on purpose by --by {POOLED}"
                )
    return None


def divided(runs: Runs, by: str) -> Iterator[tuple[str, Runs]]:
    """The runs of each recipe, in the order of their first runs."""
    labels = runs.labels(by)
    for name in dict.fromkeys(labels.tolist()):
        yield name, Runs(f"{runs.path}, {by} {name}", runs.table[labels == name].reset_index(drop=True))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
