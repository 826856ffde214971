"""What came of forecasts: in a table of runs, and on record."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from crossover.answers.predict import SAME
from crossover.base.errors import UsageError
from crossover.ledger.body import Forecast, Outcome
from crossover.ledger.history import history_of
from crossover.ledger.realised import Lookup, Realised
from crossover.runs.table import Runs, read_runs


def table_losses(forecast: Forecast, table: Runs, where: str | None = None) -> dict[str, Realised]:
    """What came at a forecast's target in a table that has its columns; nothing where the target is not there.

    Of each recipe as many runs as the forecast speaks of, the first of the table. `where` is how its rows were chosen.
    Raises `UsageError` for a table that lacks one of the columns.
    """
    columns = forecast.columns
    near = np.ones(len(table.table), bool)
    for name, value in forecast.at.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            near &= np.abs(np.log(table.numbers(columns[name]) / value)) < SAME
    loss = table.numbers(columns["loss"])
    recipe = table.labels(columns["recipe"]) if "recipe" in columns else np.full(len(loss), "runs", object)
    found = {}
    for name in forecast.recipes:
        values = loss[near & (recipe == name) & np.isfinite(loss)][: forecast.runs]
        if len(values):
            found[name] = Realised(float(values.mean()), len(values), where=where)
    return found


def first_seen(forecast: Forecast, path: Path, where: str | None) -> str | None:
    """The first commit in the history of HEAD whose version of a table holds what came; None where none does."""
    for version in history_of(path).versions:
        with tempfile.TemporaryDirectory() as folder:
            then = Path(folder, path.name)
            then.write_bytes(version.content)
            try:
                if table_losses(forecast, read_runs(then, where)):
                    return version.commit
            except UsageError:  # a version that is no such table yet
                continue
    return None


def recorded(outcomes: Sequence[Outcome], otherwise: Lookup) -> Lookup:
    """What came is what was lodged first; what was not lodged is looked up elsewhere."""

    def look(forecast: Forecast) -> Mapping[str, Realised]:
        found = dict(otherwise(forecast))
        for outcome in reversed(outcomes):
            if outcome.forecast == forecast.name:
                found |= {
                    name: Realised(came.loss, came.runs, where=outcome.where) for name, came in outcome.recipes.items()
                }
        return found

    return look
