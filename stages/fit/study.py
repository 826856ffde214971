"""Everything fitted to one study at one scale, as one typed result that serialises to fit.json."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Comparison, Variant
from crossover.base.errors import UsageError
from crossover.curves.collapse import Collapse, Curve, collapses, mean_curves
from crossover.laws.fit import fit
from crossover.laws.optimum import Optima, optimum
from crossover.laws.result import Fit
from crossover.runs.estimates import CONFIDENCE, Estimate, Serialisable, interval

COMPUTE = "flops_6n"
"""The convention of the compute axis: 6 x non-embedding parameters x tokens, as in the paper."""
ALL = "flops_all"
"""The other convention: with head and attention."""
AHEAD = 10.0
"""The decision between recipes is stated at so many times the compute of a comparison's largest run."""
_FLOOR_RUNGS = 5  # a ladder of four rungs can be met by any floor


@dataclass(frozen=True)
class Gap:
    """Generalization at one width of a recipe, in nats per token, over its seeds."""

    recipe: str
    width: int
    fresh_minus_seen: Estimate
    held_out_minus_fresh: Estimate


@dataclass(frozen=True)
class Mean:
    """Mean held-out loss over the seeds of one recipe at one width, at the axis value that is best there."""

    width: int
    flops_6n: float
    loss: float
    seeds: int


@dataclass(frozen=True)
class StudyFit(Serialisable):
    """The answers of one study at one scale."""

    study: str
    scale: str
    confidence: float
    compute_convention: str
    cells: dict[str, int]
    means: dict[str, list[Mean]]
    laws: dict[str, list[Fit]]
    """Per recipe: held-out loss against compute by both conventions, and against width."""
    comparisons: list[Comparison]
    optima: dict[str, Optima]
    """Per recipe that was swept over learning rates."""
    gaps: list[Gap]
    collapse: list[Collapse]
    """How well training curves collapse across widths, per recipe and seed."""
    curves: list[Curve]
    """For pictures."""


def fit_study(
    losses: pd.DataFrame, pairs: Sequence[tuple[str, str]] | None = None, curves: pd.DataFrame | None = None
) -> StudyFit:
    """Fit a losses table of one study at one scale, and its training curves where they are at hand.

    `pairs` names the recipes to compare, all pairs where absent. Cells that failed are counted and left out: where they
    lack is seen in the means.
    """
    first, status = losses.iloc[0], losses.drop_duplicates("fingerprint")["status"]
    planned, losses = len(losses), trained(losses)
    losses = losses.assign(**{ALL: losses["flops_6n"] + losses["flops_head"] + losses["flops_attention"]})
    recipes = list(dict.fromkeys(losses["recipe"]))
    swept = losses["axes"].nunique() > 1
    return StudyFit(
        study=str(first["study"]),
        scale=str(first["scale"]),
        confidence=CONFIDENCE,
        compute_convention=COMPUTE,
        cells={
            "rows": planned,
            "cells": len(status),
            **{name: int((status == name).sum()) for name in ("done", "diverged", "failed")},
        },
        means={recipe: list(_means(best_per_rung(losses, recipe))) for recipe in recipes},
        laws={recipe: list(_laws(best_per_rung(losses, recipe))) for recipe in recipes},
        comparisons=[]
        if swept
        else [pair for a, b in pairs or combinations(recipes, 2) for pair in _comparison(losses, a, b)],
        optima=dict(_optima(losses, recipes)) if swept else {},
        gaps=[] if swept else [_gap(recipe, width, group) for recipe, width, group in _by_rung(losses)],
        collapse=[] if swept or curves is None else list(collapses(losses, curves)),
        curves=[] if swept or curves is None else list(mean_curves(losses, curves)),
    )


def trained(losses: pd.DataFrame) -> pd.DataFrame:
    """Rows of cells that were trained, to an end or until they diverged; a failed one says nothing of its recipe."""
    return losses[losses["status"] != "failed"]


def best_per_rung(losses: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Finished runs of a recipe, at each width those of the axis value whose mean loss over seeds is least."""
    done = losses[(losses["recipe"] == recipe) & (losses["status"] == "done")]
    means = done.groupby(["width", "axes"])["loss_validation"].mean().reset_index()
    best = means.loc[means.groupby("width")["loss_validation"].idxmin(), ["width", "axes"]]
    return done.merge(best, on=["width", "axes"])


def _means(runs: pd.DataFrame) -> Iterator[Mean]:
    for width, group in runs.groupby("width"):
        yield Mean(int(width), float(group[COMPUTE].iloc[0]), float(group["loss_validation"].mean()), len(group))


def _laws(runs: pd.DataFrame) -> Iterator[Fit]:
    rungs = runs["width"].nunique()
    if rungs < 2:
        return
    law = "power_floor" if rungs >= _FLOOR_RUNGS else "power"
    note = [] if law == "power_floor" else [f"no floor fitted: {rungs} rungs cannot tell one from a smaller exponent"]
    for column in (COMPUTE, ALL, "width"):
        fitted = fit(law, {"x": runs[column].to_numpy(float)}, runs["loss_validation"].to_numpy(float))
        yield replace(fitted, inputs={"x": column}, flags=[*note, *fitted.flags])


def _comparison(losses: pd.DataFrame, a: str, b: str) -> Iterator[Comparison]:
    """A pair by the paper's convention; the other one is a line of its sensitivity. Nothing where all runs diverged."""
    both = pd.concat([losses[losses["recipe"] == name] for name in (a, b)])
    for pair, other in zip(_compare(both, COMPUTE), _compare(both, ALL), strict=True):
        yield _with_variant(pair, other)


def _compare(losses: pd.DataFrame, column: str) -> list[Comparison]:
    done, met = losses["status"] == "done", losses.duplicated("fingerprint", keep=False)
    try:
        return compare(
            losses[column].to_numpy(float), losses["loss_validation"].where(done).to_numpy(float),
            losses["recipe"].to_numpy(), pair=losses["seed"].to_numpy(), rung=losses["width"].to_numpy(),
            structural=met.to_numpy(bool), names=(column, "loss_validation"),
            settings=Settings(target=AHEAD * float(losses[column].max())),
        ).pairs  # fmt: skip
    except UsageError:  # every run of all recipes but one diverged
        return []


def _with_variant(pair: Comparison, other: Comparison) -> Comparison:
    if not pair.sensitivity:
        return pair
    place = None if other.crossover is None else other.crossover.value
    return replace(pair, sensitivity=[*pair.sensitivity, Variant("counting head and attention", other.verdict, place)])


def _optima(losses: pd.DataFrame, recipes: list[str]) -> Iterator[tuple[str, Optima]]:
    for recipe in recipes:
        rows = losses[losses["recipe"] == recipe]
        loss = rows["loss_validation"].where(rows["status"] == "done").to_numpy(float)
        try:
            scale = {"width": rows["width"].to_numpy(float)}
            batch, initial = rows["batch"].to_numpy(float), rows["loss_init"].to_numpy(float)
            yield recipe, optimum(rows["lr"].to_numpy(float), loss, scale, batch=batch, initial=initial)
        except UsageError:  # the axis was not the learning rate
            continue


def _by_rung(losses: pd.DataFrame) -> Iterator[tuple[str, int, pd.DataFrame]]:
    done = losses[losses["status"] == "done"]
    for (recipe, width), group in done.groupby(["recipe", "width"]):
        yield str(recipe), int(width), group


def _gap(recipe: str, width: int, group: pd.DataFrame) -> Gap:
    fresh = group["loss_fresh"]
    return Gap(recipe, width, _mean(fresh - group["loss_seen"]), _mean(group["loss_validation"] - fresh))


def _mean(values: "pd.Series[float]") -> Estimate:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return interval(float(values.mean()), error, len(values) - 1)


def metrics(fit: StudyFit) -> dict[str, Any]:
    """Few numbers with the same names in every study, for `dvc metrics show` and `dvc metrics diff`.

    Cells that are done and that are lost, the least mean loss at the largest width, and the first pair's difference
    there with its 90% interval. All else is for `crossover diff`.
    """
    ends = [means[-1] for means in fit.means.values() if means]
    top = max((mean.width for mean in ends), default=0)
    pair = next((pair.baseline.difference for pair in fit.comparisons[:1] if pair.baseline), None)
    low, high = (pair.ci if pair else None) or (None, None)
    return {
        "done": fit.cells["done"],
        "lost": fit.cells["diverged"] + fit.cells["failed"],
        "best_loss": min((mean.loss for mean in ends if mean.width == top), default=None),
        "difference": pair.value if pair else None,
        "low": low,
        "high": high,
    }
