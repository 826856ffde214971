"""Runs to forecast from and what came of forecasts, in the results of own studies."""

import json
from pathlib import Path

import pandas as pd

from crossover.answers.predict import Evidence
from crossover.base.errors import UsageError
from crossover.ledger.body import Forecast
from crossover.ledger.history import first_commit_with
from crossover.ledger.realised import Realised
from stages.cells.runs import read_runs
from stages.store.store import Store, store_from_environment
from stages.study.tables import LOSSES, read_csv

RESULTS = Path("data/results")


def study_runs(key: str, root: Path = RESULTS) -> tuple[Evidence, list[str]]:
    """The runs of a study at a scale, along compute, and the fingerprints of the finished ones.

    Raises `UsageError` for a study that sweeps an axis: its recipes have no one loss at a width.
    """
    losses = read_csv(root / key / "losses.csv", LOSSES).to_pandas()
    if losses["axes"].nunique() > 1:
        axes = ", ".join(json.loads(losses["axes"].iloc[0]))
        raise UsageError(f"study {key} sweeps {axes}; a forecast needs a study with one value of each setting")
    done = losses[losses["status"] == "done"]
    runs = Evidence(
        {"x": done["flops_6n"].to_numpy(float)}, done["loss_validation"].to_numpy(float),
        done["recipe"].to_numpy(object), done["seed"].to_numpy(), done["width"].to_numpy(),
        done.duplicated("fingerprint", keep=False).to_numpy(bool),
    )  # fmt: skip
    return runs, sorted(set(done["fingerprint"]))


def own_losses(forecast: Forecast, root: Path = RESULTS) -> dict[str, Realised]:
    """What the recipes of a study came to at the forecast's width; nothing for forecasts of other tables.

    Of each recipe as many seeds as the forecast speaks of, the first ones.
    """
    folder = root / (forecast.study or "")
    if forecast.study is None or not (folder / "losses.csv").exists():
        return {}
    losses = read_csv(folder / "losses.csv", LOSSES).to_pandas()
    here = losses[(losses["width"] == int(forecast.columns["width"])) & (losses["status"] == "done")]
    store = store_from_environment()
    return {
        str(name): _realised(group.sort_values("seed").head(forecast.runs), store, folder / "losses.csv")
        for name, group in here.groupby("recipe")
    }


def _realised(group: pd.DataFrame, store: Store, path: Path) -> Realised:
    """Mean loss, number and first start of some runs; where no store knows that, the commit that brought them."""
    runs = read_runs(store, group["fingerprint"]).to_pandas()
    first = min((started for started in runs["started"] if started), default=None)
    commit = None if first else first_commit_with(path, str(group["fingerprint"].iloc[0]))
    return Realised(float(group["loss_validation"].mean()), len(group), first, commit)
