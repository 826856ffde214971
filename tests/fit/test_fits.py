"""Fits against planted truths, closed forms and textbook statistics."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.fit.laws import fit_law
from stages.fit.optimum import find_bowls, optimum_laws
from stages.fit.paired import compare, detectable
from stages.fit.study import fit_study


def test_plain_power_law_is_recovered_exactly() -> None:
    x = np.array([1e9, 1e10, 1e11, 1e12])
    law = fit_law(x, 30 * x**-0.08, "flops_6n")
    assert law.law == "A x^-a"
    assert law.params["a"].value == pytest.approx(0.08, rel=1e-9)
    assert law.params["A"].value == pytest.approx(30, rel=1e-9)
    assert "no floor fitted" in law.flags[0]


def test_floor_is_fitted_only_with_two_degrees_of_freedom_to_spare() -> None:
    x = np.geomspace(1e9, 1e13, 8)
    law = fit_law(x, 1.7 + 3000 * x**-0.35, "flops_6n")
    assert law.law == "E + A x^-a"
    assert [law.params[name].value for name in ("E", "A", "a")] == pytest.approx([1.7, 3000, 0.35], rel=1e-5)
    assert [fit_law(x[:n], x[:n] ** -0.1, "x").law for n in (4, 5)] == ["A x^-a", "E + A x^-a"]
    assert fit_law(x[:1], x[:1], "x") is None
    two = fit_law(x[:2], x[:2] ** -0.1, "x")
    assert two.params["a"].low is None


@pytest.mark.parametrize("rungs", [4, 7])
def test_exponent_intervals_cover_at_their_nominal_rate(rungs: int) -> None:
    """90% intervals over 600 noisy ladders, to the binomial 99.9% bounds."""
    generator = np.random.default_rng(rungs)
    x = np.geomspace(1e9, 1e12, rungs)
    truth = 30 * x**-0.08 if rungs == 4 else 2.0 + 500 * x**-0.3
    exponent = 0.08 if rungs == 4 else 0.3
    hits = 0
    for _ in range(600):
        noise = generator.normal(0, 0.01, rungs)
        estimate = fit_law(x, truth * np.exp(noise) if rungs == 4 else truth + noise, "x").params["a"]
        hits += estimate.low <= exponent <= estimate.high
    low, high = stats.binom.ppf([0.0005, 0.9995], 600, 0.9)
    assert low <= hits <= high


def ladder(
    effects: dict[int, float], seeds: int = 3, noise: float = 0.01, seed: int = 0, meeting: int | None = None
) -> pd.DataFrame:
    """A losses table of two recipes whose difference b - a is `effects[width]` plus noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for width, effect in effects.items():
        for number in range(seeds):
            base = 5 - math.log(width) + generator.normal(0, 0.2)
            for recipe, extra in (("a", 0.0), ("b", effect + generator.normal(0, noise))):
                same = width == meeting
                rows.append(
                    {
                        "study": "s", "scale": "c", "recipe": recipe, "axes": "{}", "width": width, "seed": number,
                        "lr": 0.01,
                        "loss_validation": base + (0 if same else extra), "loss_seen": base, "loss_online": base,
                        "status": "done", "structural_pair": same, "flops_6n": 1e6 * width**4,
                        "fingerprint": f"{width}{number}" + ("" if same else recipe),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_one_rung_equals_the_paired_t_test() -> None:
    table = ladder({16: -0.02}, seeds=6)
    rung = compare(table, "a", "b").rungs[0]
    a, b = (table[table.recipe == name].loss_validation.to_numpy() for name in "ab")
    test = stats.ttest_rel(b, a).confidence_interval(0.9)
    assert (rung.difference.low, rung.difference.high) == pytest.approx((test.low, test.high))


def test_intervals_cover_and_few_seeds_are_not_flattered() -> None:
    """Three seeds on three rungs: 90% intervals cover 90%, to the binomial 99.9% bounds over 1,000 ladders."""
    hits = 0
    for seed in range(1000):
        rung = compare(ladder({16: 0.0, 32: -0.02, 64: -0.05}, seed=seed), "a", "b").rungs[-1]
        hits += rung.difference.low <= -0.05 <= rung.difference.high
    low, high = stats.binom.ppf([0.0005, 0.9995], 1000, 0.9)
    assert low <= hits <= high


def test_detectable_difference_is_detected_four_times_in_five() -> None:
    effect, found = detectable(0.01, 3, 6), 0
    for seed in range(1000):
        rung = compare(ladder({16: effect, 32: 0.0, 64: 0.0}, seed=seed), "a", "b").rungs[0]
        found += rung.difference.low > 0
    assert 0.76 < found / 1000 < 0.84


def test_structural_meeting_point_is_left_out_and_sides_are_judged() -> None:
    result = compare(ladder({16: 0.05, 24: 0.0, 32: -0.05, 48: -0.10}, meeting=24), "a", "b")
    assert [rung.structural for rung in result.rungs] == [False, True, False, False]
    assert result.dof == 6
    assert {side.name: side.verdict for side in result.sides} == {"below": "a better", "above": "b better"}
    assert result.verdict == "crosses"
    assert result.bracket == [16, 32]
    assert result.trend.value == pytest.approx(-0.05 / math.log2(1.5), abs=0.03)
    assert any("same run at width 24" in flag for flag in result.flags)


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ({16: 0.1, 32: -0.1}, "crosses"),
        ({16: -0.1, 32: -0.1}, "no crossing in range"),
        ({16: 0.0, 32: 0.0}, "undecided"),
        ({16: 0.0, 32: -0.1}, "undecided"),
    ],
)
def test_verdicts(effects: dict[int, float], verdict: str) -> None:
    assert compare(ladder(effects, noise=0.001), "a", "b").verdict == verdict


def test_one_seed_gives_no_interval_and_a_lost_pair_is_said() -> None:
    alone = compare(ladder({16: -0.1, 32: -0.1}, seeds=1), "a", "b")
    assert alone.rungs[0].difference.low is None
    assert alone.verdict == "undecided"
    table = ladder({16: -0.1, 32: -0.1})
    table.loc[0, ["status", "loss_validation"]] = ["diverged", math.nan]
    assert any("1 pair(s) left out" in flag for flag in compare(table, "a", "b").flags)


def bowl(width: int, optimum: float, rates: list[float]) -> list[dict[str, object]]:
    return [
        {"recipe": "r", "width": width, "axes": str(lr), "lr": lr, "status": "done",
         "loss_validation": 4 + 0.3 * (math.log2(lr) - math.log2(optimum)) ** 2}
        for lr in rates
    ]  # fmt: skip


def test_bowls_find_the_planted_optimum_or_say_edge() -> None:
    rates = [2.0**k for k in (-7, -6.5, -6, -5.5, -5)]
    rows = bowl(16, 2**-5.8, rates) + bowl(32, 2**-6.3, rates) + bowl(64, 2**-9.0, rates)
    bowls = find_bowls(pd.DataFrame(rows))
    assert [item.optimum for item in bowls] == [pytest.approx(2**-5.8), pytest.approx(2**-6.3), None]
    assert bowls[0].loss_at_optimum == pytest.approx(4.0)
    assert [item.edge for item in bowls] == [False, False, True]
    (law,) = optimum_laws(bowls)
    assert law.widths == [16, 32]
    assert law.slope.value == pytest.approx(-0.5)


def test_a_diverged_rate_is_marked_and_left_out() -> None:
    rows = bowl(16, 2**-6, [2.0**k for k in (-8, -7, -6, -5, -4)])
    rows[-1] |= {"status": "diverged", "loss_validation": math.nan}
    (found,) = find_bowls(pd.DataFrame(rows))
    assert found.diverged == [2**-4]
    assert found.optimum == pytest.approx(2**-6)


def test_a_whole_study_serialises() -> None:
    fit = fit_study(ladder({16: 0.05, 24: 0.0, 32: -0.05}, meeting=24))
    assert fit.cells == {"rows": 18, "cells": 15, "done": 15, "diverged": 0}
    assert set(fit.to_json()["laws"]) == {"a", "b"}
