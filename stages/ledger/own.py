"""Runs to forecast from, and what came of forecasts: in the results of own studies, in any table, and on record."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stages.fit.runs import Runs as Table
from stages.ledger.body import Forecast, Outcome
from stages.ledger.forecasting import SAME, Runs
from stages.ledger.scoring import Lookup, Realised
from stages.study.errors import UsageError
from stages.study.tables import LOSSES, RUNS, read_csv

RESULTS = Path("data/results")


def study_runs(key: str, root: Path = RESULTS) -> tuple[Runs, list[str]]:
    """The runs of a study at a scale, along compute, and the fingerprints of the finished ones.

    Raises `UsageError` for a study that sweeps an axis: its recipes have no one loss at a width.
    """
    losses = read_csv(root / key / "losses.csv", LOSSES).to_pandas()
    if losses["axes"].nunique() > 1:
        axes = ", ".join(json.loads(losses["axes"].iloc[0]))
        raise UsageError(f"study {key} sweeps {axes}; a forecast needs a study with one value of each setting")
    done = losses[losses["status"] == "done"]
    runs = Runs(
        {"x": done["flops_6n"].to_numpy(float)}, done["loss_validation"].to_numpy(float),
        done["recipe"].to_numpy(object), done["seed"].to_numpy(), done["width"].to_numpy(),
        done.duplicated("fingerprint", keep=False).to_numpy(bool),
    )  # fmt: skip
    return runs, sorted(set(done["fingerprint"]))


def own_losses(forecast: Forecast, root: Path = RESULTS) -> dict[str, Realised]:
    """What the recipes of a study came to at the forecast's width; nothing for forecasts of other tables."""
    folder = root / (forecast.study or "")
    if forecast.study is None or not (folder / "losses.csv").exists():
        return {}
    losses = read_csv(folder / "losses.csv", LOSSES).to_pandas()
    started = read_csv(folder / "runs.csv", RUNS).to_pandas().set_index("fingerprint")["started"]
    here = losses[(losses["width"] == int(forecast.columns["width"])) & (losses["status"] == "done")]
    return {str(name): _realised(group, started) for name, group in here.groupby("recipe")}


def _realised(group: pd.DataFrame, started: "pd.Series[str]") -> Realised:
    first = str(started.loc[group["fingerprint"]].min())
    return Realised(float(group["loss_validation"].mean()), len(group), first)


def table_losses(forecast: Forecast, table: Table) -> dict[str, Realised]:
    """What came at a forecast's target in a table that has its columns; nothing where the target is not there.

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
        values = loss[near & (recipe == name) & np.isfinite(loss)]
        if len(values):
            found[name] = Realised(float(values.mean()), len(values))
    return found


def recorded(outcomes: Sequence[Outcome], otherwise: Lookup = own_losses) -> Lookup:
    """What came is what was lodged first; what was not lodged is looked up elsewhere."""

    def look(forecast: Forecast) -> Mapping[str, Realised]:
        found = dict(otherwise(forecast))
        for outcome in reversed(outcomes):
            if outcome.forecast == forecast.name:
                found |= {name: Realised(came.loss, came.runs) for name, came in outcome.recipes.items()}
        return found

    return look
