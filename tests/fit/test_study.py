"""A whole study's losses table through all of its fits."""

import json
import math

import numpy as np
import pandas as pd

import crossover as xo
from crossover.runs.estimates import plain
from stages.fit.study import fit_study, metrics


def losses(recipes: dict[str, float], meeting: int | None = None, lrs: tuple[float, ...] = (0.01,)) -> pd.DataFrame:
    """A losses table: `recipes` gives each one's exponent; all meet at `meeting`."""
    generator, rows = np.random.default_rng(0), []
    for width in (16, 24, 32, 48):
        for seed in range(3 if len(lrs) == 1 else 1):
            for recipe, exponent in recipes.items():
                for lr in lrs:
                    away = 0.02 * math.log2(lr / 0.02) ** 2 if len(lrs) > 1 else generator.normal(0, 0.002)
                    flops = 1e5 * width**4
                    rows.append(
                        {
                            "study": "s", "scale": "c", "recipe": recipe,
                            "axes": "{}" if len(lrs) == 1 else json.dumps({"lr": lr}),
                            "width": width, "seed": seed, "lr": lr, "status": "done", "loss_init": 5.5,
                            "loss_validation": 4 * (width / 24) ** -exponent + (0 if width == meeting else away),
                            "loss_seen": 3.0, "loss_fresh": 3.1, "batch": 16, "structural_pair": width == meeting,
                            "flops_6n": flops, "flops_head": 0.2 * flops, "flops_attention": 1e3 * width**3,
                            "fingerprint": f"{width}{seed}{lr}" + ("" if width == meeting else recipe),
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def test_recipes_with_a_meeting_point() -> None:
    fit = fit_study(losses({"a": 0.3, "b": 0.4}, meeting=24))
    assert fit.cells == {"rows": 24, "cells": 21, "done": 24 - 3, "diverged": 0, "failed": 0}
    (pair,) = fit.comparisons
    assert (pair.verdict, pair.crossover) == ("crosses", None)
    assert [rung.name for rung in pair.rungs] == ["16", "24", "32", "48"]
    assert [law.inputs["x"] for law in fit.laws["a"]] == ["flops_6n", "flops_all", "width"]
    assert abs(fit.laws["a"][2].params["a"].value - 0.3) < 0.01
    assert abs(fit.laws["b"][2].params["a"].value - 0.4) < 0.01
    assert "no floor fitted: 4 rungs" in fit.laws["a"][0].flags[0]
    assert fit.laws["a"][0].rollout is not None


def test_recipes_that_differ_everywhere_get_a_crossover_and_its_sensitivity() -> None:
    (pair,) = fit_study(losses({"a": 0.3, "b": 0.4})).comparisons
    assert pair.verdict == "crosses"
    assert abs(math.log(pair.crossover.value / (1e5 * 24**4))) < 0.3
    assert "counting head and attention" in {variant.change for variant in pair.sensitivity}


def test_a_study_says_what_compare_says_of_the_same_runs() -> None:
    """To the last digit, by a door that knows nothing of studies."""
    table = losses({"a": 0.3, "b": 0.34})
    (mine,) = fit_study(table).comparisons
    (other,) = xo.compare(table, x="flops_6n", loss="loss_validation", by="recipe", pair="seed").pairs
    assert mine.verdict == other.verdict
    assert [chance.p for chance in mine.p_b_beats_a] == [chance.p for chance in other.p_b_beats_a]
    assert (mine.crossover, mine.backtest) == (other.crossover, other.backtest)


def test_a_sweep_gets_optima_and_their_law() -> None:
    fit = fit_study(losses({"a": 0.3}, lrs=(0.005, 0.01, 0.02, 0.04, 0.08)))
    assert fit.comparisons == []
    assert [round(cell.optimum, 4) for cell in fit.optima["a"].cells] == [0.02] * 4
    assert abs(fit.optima["a"].law.params["p"].value) < 1e-6
    assert fit.optima["a"].cells[0].sensitivity is not None
    assert [mean.seeds for mean in fit.means["a"]] == [1] * 4


def test_a_diverged_recipe_leaves_no_comparison() -> None:
    table = losses({"a": 0.3, "b": 0.4})
    table.loc[table["recipe"] == "b", ["status", "loss_validation"]] = ["diverged", math.nan]
    fit = fit_study(table)
    assert fit.comparisons == []
    assert fit.laws["b"] == []


def test_everything_is_json_with_stable_metrics() -> None:
    fit = fit_study(losses({"a": 0.3, "b": 0.4}, meeting=24))
    assert set(json.loads(json.dumps(fit.to_json(), allow_nan=False))["laws"]) == {"a", "b"}
    numbers = json.loads(json.dumps(plain(metrics(fit)), allow_nan=False))
    top = fit.comparisons[0].rungs[-1].difference
    assert numbers == {
        "done": fit.cells["done"], "lost": 0, "best_loss": min(means[-1].loss for means in fit.means.values()),
        "difference": top.value, "low": top.ci[0], "high": top.ci[1],
    }  # fmt: skip
    alone = metrics(fit_study(losses({"a": 0.3})))
    assert (alone["difference"], alone["low"], alone["high"]) == (None, None, None)
