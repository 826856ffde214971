"""What a report shows of one study at one scale: the small results as the stages left them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crossover.base.files import read_json
from stages.study.params import Params, Scale, Study
from stages.study.tables import LOSSES, read_csv

RESULTS = Path("data/results")


@dataclass(frozen=True)
class StudyResults:
    """Results of one study at one scale."""

    key: str
    study: Study
    scale: Scale
    losses: pd.DataFrame
    fit: dict[str, Any]
    gate: dict[str, Any]

    def label(self, recipe: str) -> str:
        """How a recipe is called on the page."""
        return self.study.recipes[recipe].label or recipe


def read_results(key: str, params: Params, root: Path = RESULTS) -> StudyResults:
    """Read the results of an active study. Raises `DamageError` where one is missing."""
    folder, remedy, item = root / key, f"run `dvc repro fit@{key}`", params.active[key]
    return StudyResults(
        key=key,
        study=params.study(item.study),
        scale=params.scale(item.scale),
        losses=read_csv(folder / "losses.csv", LOSSES).to_pandas(),
        fit=read_json(folder / "fit.json", remedy),
        gate=read_json(folder / "losses.check.json", remedy),
    )
