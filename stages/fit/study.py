"""Everything fitted to one study at one scale, as one typed result that serialises to fit.json."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from stages.fit.laws import CONFIDENCE, Estimate, Law, fit_law, interval
from stages.fit.optimum import Bowl, OptimumLaw, find_bowls, optimum_laws
from stages.fit.paired import Comparison, compare

COMPUTE = "flops_6n"
"""The convention of the compute axis: 6 x non-embedding parameters x tokens, as in the paper."""


@dataclass(frozen=True)
class Gap:
    """Generalization at one width of a recipe, in nats per token, over its seeds."""

    recipe: str
    width: int
    held_out_minus_seen: Estimate
    held_out_minus_online: Estimate


@dataclass(frozen=True)
class StudyFit:
    """The answers of one study at one scale."""

    study: str
    scale: str
    confidence: float
    compute_convention: str
    cells: dict[str, int]
    laws: dict[str, list[Law]]
    comparisons: list[Comparison]
    bowls: list[Bowl]
    optimum_laws: list[OptimumLaw]
    gaps: list[Gap]

    def to_json(self) -> dict[str, Any]:
        """Plain values for fit.json."""
        return asdict(self)


def fit_study(losses: pd.DataFrame) -> StudyFit:
    """Fit a losses table of one study at one scale."""
    first, status = losses.iloc[0], losses.drop_duplicates("fingerprint")["status"]
    recipes = list(dict.fromkeys(losses["recipe"]))
    swept = losses["axes"].nunique() > 1
    return StudyFit(
        study=str(first["study"]),
        scale=str(first["scale"]),
        confidence=CONFIDENCE,
        compute_convention=COMPUTE,
        cells={
            "rows": len(losses),
            "cells": len(status),
            **{name: int((status == name).sum()) for name in ("done", "diverged")},
        },
        laws={recipe: list(_laws(_best_per_rung(losses, recipe))) for recipe in recipes},
        comparisons=[] if swept else [compare(losses, a, b) for a, b in combinations(recipes, 2)],
        bowls=(bowls := find_bowls(losses)),
        optimum_laws=optimum_laws(bowls),
        gaps=[] if swept else [_gap(recipe, width, group) for recipe, width, group in _by_rung(losses)],
    )


def _best_per_rung(losses: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Mean loss over seeds at each rung, at the axis value that is best there; rungs with a diverged cell drop it."""
    done = losses[(losses["recipe"] == recipe) & (losses["status"] == "done")]
    means = done.groupby(["width", "axes"]).agg({"loss_validation": "mean", COMPUTE: "first"}).reset_index()
    return means.loc[means.groupby("width")["loss_validation"].idxmin()]


def _laws(rungs: pd.DataFrame) -> Iterator[Law]:
    loss = rungs["loss_validation"].to_numpy(float)
    for column in (COMPUTE, "width"):
        if law := fit_law(rungs[column].to_numpy(float), loss, column):
            yield law


def _by_rung(losses: pd.DataFrame) -> Iterator[tuple[str, int, pd.DataFrame]]:
    done = losses[losses["status"] == "done"]
    for (recipe, width), group in done.groupby(["recipe", "width"]):
        yield str(recipe), int(width), group


def _gap(recipe: str, width: int, group: pd.DataFrame) -> Gap:
    return Gap(
        recipe,
        width,
        *(_mean(group["loss_validation"] - group[name]) for name in ("loss_seen", "loss_online")),
    )


def _mean(values: "pd.Series[float]") -> Estimate:
    return interval(float(values.mean()), float(values.sem()), len(values) - 1)


def metrics(fit: StudyFit) -> dict[str, Any]:
    """Few numbers with stable names, for `dvc metrics show` and `dvc metrics diff`."""
    return {
        "cells": fit.cells,
        "loss_at_largest_width": {recipe: laws[0].loss[-1] for recipe, laws in fit.laws.items() if laws},
        "compute_exponent": {recipe: laws[0].params["a"].value for recipe, laws in fit.laws.items() if laws},
        "difference_at_largest_width": {
            f"{pair.b} - {pair.a}": {
                "value": pair.rungs[-1].difference.value,
                "low": pair.rungs[-1].difference.low,
                "high": pair.rungs[-1].difference.high,
                "detectable": pair.rungs[-1].detectable,
            }
            for pair in fit.comparisons
            if pair.rungs
        },
        "optimum_lr": {f"{bowl.recipe} width {bowl.width}": bowl.optimum for bowl in fit.bowls},
    }
