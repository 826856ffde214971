"""Tables with the faults of real ones mislead rarely (`make calibrate` on fewer draws); tables not what they seem."""

import numpy as np
import pytest
from scipy import stats

from crossover.answers.compare import Settings, compare
from crossover.answers.crossing import UNDECIDED
from tests.calibration.faults import FAULTS, Fault, ask

DRAWS, FEW = 40, 10
_OFTEN = ("tuning errors of mean 0.01", "eight that are the same")


@pytest.mark.parametrize("index", range(len(FAULTS)), ids=[fault.name for fault in FAULTS])
def test_a_fault_of_real_tables_misleads_rarely(index: int) -> None:
    """False verdicts in under 5% (10% of tables where more is asked), intervals in 85% or more, to binomial bounds."""
    fault = FAULTS[index]
    draws = FEW if fault.recipes > 2 else DRAWS
    found = [ask(index, seed, forecast=seed < FEW) for seed in range(draws)]
    share = 0.1 if fault.name.startswith(_OFTEN) else 0.05
    assert sum(item.wrong for item in found) <= stats.binom.ppf(0.999, draws, share)
    assert sum(item.p_wrong for item in found) <= stats.binom.ppf(0.999, draws, share)
    least = stats.binom.ppf(0.001, draws, 0.85)
    assert sum(item.gap for item in found) >= least
    assert sum(item.covered is not False for item in found) >= least
    assert sum(item.loss for item in found) >= stats.binom.ppf(0.001, FEW, 0.85) + draws - FEW


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name.startswith("noise")], ids=lambda f: f.name)
def test_intervals_of_rungs_hold_where_noise_changes_with_size(fault: Fault) -> None:
    draws, hits = 60, np.zeros(fault.rungs)
    for seed in range(draws):
        x, loss, recipe, pair = fault.table(np.random.default_rng(seed))
        rungs = compare(x, loss, recipe, pair=pair, settings=Settings(sensitivity=False)).pairs[0].rungs
        truth = fault.difference(fault.at)
        hits += [rung.difference.ci[0] <= at <= rung.difference.ci[1] for rung, at in zip(rungs, truth, strict=True)]
    assert hits.min() >= stats.binom.ppf(0.001, draws, 0.85)


def single(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Single runs at five sizes."""
    x = np.geomspace(1e15, 1e18, 5)
    return x, 3 - 0.1 * np.log(x / 1e15) + np.random.default_rng(seed).normal(0, 0.01, 5)


def test_rows_that_were_logged_twice_count_once() -> None:
    x, a = single()
    b = single(1)[1]
    once = compare(np.tile(x, 2), np.concatenate([a, b]), ["a"] * 5 + ["b"] * 5)
    twice = compare(np.tile(x, 4), np.concatenate([a, a, b, b]), ["a"] * 10 + ["b"] * 10)
    (left,) = twice.left_out
    assert (left.rows, "logged twice" in left.reason) == (10, True)
    assert twice.pairs[0].verdict == once.pairs[0].verdict
    assert [chance.p for chance in twice.pairs[0].p_b_beats_a] == [chance.p for chance in once.pairs[0].p_b_beats_a]


def test_losses_that_are_rounded_may_be_alike() -> None:
    x, a = single()
    found = compare(np.tile(x, 4), np.round(np.tile(a, 4), 2), ["a"] * 10 + ["b"] * 10, pair=np.repeat([0, 1, 0, 1], 5))
    assert found.left_out == []
    assert not found.pairs[0].sides


def test_rows_logged_twice_with_jitter_are_asked_about() -> None:
    (fault,) = (fault for fault in FAULTS if "logged twice" in fault.name)
    x, loss, recipe, pair = fault.table(np.random.default_rng(0))
    (item,) = compare(x, loss, recipe, pair=pair).pairs
    assert any("logged again" in flag for flag in item.flags)
    honest = next(fault for fault in FAULTS if fault.name.startswith("four sizes"))
    x, loss, recipe, pair = honest.table(np.random.default_rng(0))
    assert not any("logged again" in flag for flag in compare(x, loss, recipe, pair=pair).pairs[0].flags)


def test_recipes_that_are_one_run_at_a_size_are_found_out() -> None:
    """Without being told: a rung where all pairs agree to every digit is a meeting point and no pair."""
    x, a = single()
    b = single(1)[1]
    b[2] = a[2]
    (item,) = compare(np.tile(x, 2), np.concatenate([a, b]), ["a"] * 5 + ["b"] * 5).pairs
    assert [rung.structural for rung in item.rungs] == [False, False, True, False, False]
    assert any("the same run at" in flag for flag in item.flags)
    (same,) = compare(np.tile(x, 2), np.tile(a, 2), ["a"] * 5 + ["b"] * 5).pairs
    assert (same.verdict, same.outlook) == (UNDECIDED, None)
