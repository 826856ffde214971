"""Seeds and rungs against the noncentral t and against the test itself, run on drawn differences."""

import math

import numpy as np
import pytest
from scipy import stats

from stages.verdicts.design import Noise, detectable, reach, seeds_needed

NOISE = Noise(0.018, "stated")


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("dof", [1, 4, 30])
def test_detectable_solves_the_power_of_the_noncentral_t(dof: int, power: float) -> None:
    effect = detectable(0.01, dof, power)
    assert stats.nct.sf(stats.t.ppf(0.95, dof), dof, effect / 0.01) == pytest.approx(power, abs=1e-6)


def test_without_repeats_nothing_is_detected() -> None:
    assert detectable(0.01, 0, 0.8) == math.inf
    assert reach(NOISE, 3, 1, 0.8).mean == math.inf


@pytest.mark.parametrize(("rungs", "seeds"), [(1, 3), (3, 2), (4, 4)])
def test_a_design_detects_what_it_says_four_times_in_five(rungs: int, seeds: int) -> None:
    """20,000 ladders of independent pairs; t intervals with the pooled variance, as comparisons make them."""
    found, draws = reach(NOISE, rungs, seeds, 0.8), 20_000
    generator = np.random.default_rng(rungs)
    noise = generator.normal(0, 0.018, (draws, rungs, seeds, 2))
    d = noise[..., 1] - noise[..., 0]
    pooled = d.var(axis=2, ddof=1).mean(axis=1)
    factor = stats.t.ppf(0.95, rungs * (seeds - 1))
    mean = (d.mean(axis=(1, 2)) + found.mean) / np.sqrt(pooled / (rungs * seeds)) > factor
    alone = (d[:, -1].mean(axis=1) + found.one_rung) / np.sqrt(pooled / seeds) > factor
    assert mean.mean() == pytest.approx(0.8, abs=0.012)
    assert alone.mean() == pytest.approx(0.8, abs=0.012)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("rungs", [1, 4])
def test_the_fewest_seeds_are_enough_and_one_less_is_not(rungs: int, alone: bool) -> None:
    def found(seeds: int) -> float:
        got = reach(NOISE, rungs, seeds, 0.8)
        return got.one_rung if alone else got.mean

    seeds = seeds_needed(NOISE, rungs, 0.02, 0.8, alone)
    assert found(seeds) <= 0.02 < found(seeds - 1)
    assert seeds_needed(NOISE, rungs, 1e-6, 0.8, alone) is None
