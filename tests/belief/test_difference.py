"""The belief about a difference beyond the runs: against dense algebra, its own draws, and what must not matter."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

import crossover.belief.difference as belief
from crossover.answers.compare import Settings, compare
from crossover.answers.predict import Evidence, predict
from crossover.belief.difference import Spread, Track, outlook

AHEAD = math.log(1e20)


def track(difference: list[float], noise: float = 0.0) -> Track:
    """Rungs half a decade apart up to 1e18; both recipes fall by 0.1 per e-fold."""
    log_x = math.log(1e18) + math.log(10) / 2 * np.arange(1 - len(difference), 1)
    loss = 3 - 0.1 * (log_x - log_x[0])
    return Track(log_x, np.array(difference), loss, np.full(len(difference), noise), noise)


DIFFERENCES = [0.05, 0.045, 0.02, 0.012, -0.004]


def test_exchanged_recipes_mirror_the_answer() -> None:
    one = outlook(track(DIFFERENCES, 1e-5)).at(AHEAD)
    other = outlook(track([-value for value in DIFFERENCES], 1e-5)).at(AHEAD)
    assert other.p_b_wins == pytest.approx(1 - one.p_b_wins, abs=1e-12)
    assert other.expected == pytest.approx(-one.expected, rel=1e-9)
    assert other.gains == pytest.approx(one.gains[::-1], rel=1e-9)


@pytest.mark.parametrize(("scale", "shift", "size"), [(1 / math.log(2), 0.0, 1.0), (1.0, -7.5, 1.0), (1.0, 0.0, 6e9)])
def test_units_of_the_loss_its_offset_and_units_of_x_do_not_matter(scale: float, shift: float, size: float) -> None:
    plain = track(DIFFERENCES, 1e-5)
    moved = Track(
        plain.log_x + math.log(size), plain.difference * scale, plain.loss * scale + shift, plain.variance * scale**2,
        plain.noise * scale**2,
    )  # fmt: skip
    here, there = outlook(plain).at(AHEAD), outlook(moved).at(AHEAD + math.log(size))
    assert there.p_b_wins == pytest.approx(here.p_b_wins, rel=1e-5)
    assert there.expected == pytest.approx(here.expected * scale, rel=1e-5)


def test_a_member_is_the_regression_that_dense_algebra_gives() -> None:
    """For one theta: mean and variance of the conditional normal, by solving with the whole covariance."""
    rungs = track(DIFFERENCES, 2e-5)
    theta, place = np.array([[-1.5, 0.7, -3.0, 0.3, 0.1]]), rungs.log_x[-1] + 2.0
    for kind in range(len(belief.MEMORY)):
        one = belief.Outlook(rungs, theta, np.array([kind]), np.ones(1)).at(place, runs=4)
        t, b = np.append(rungs.log_x, place) - rungs.log_x[-1], rungs.unit
        whole = belief._kernel(t, t, theta, np.array([kind]))[0]
        whole[np.diag_indices(len(t))] += np.exp(2 * (theta[0, 2] - theta[0, 4] * t))
        whole[:-1, :-1][np.diag_indices(len(t) - 1)] += rungs.variance / b**2 + belief._JITTER
        gain = np.linalg.solve(whole[:-1, :-1], whole[:-1, -1])
        assert one.mean[0] == pytest.approx(gain @ rungs.difference, rel=1e-6)
        variance = whole[-1, -1] - gain @ whole[:-1, -1] + rungs.noise / 4 / b**2
        assert one.scale[0] == pytest.approx(b * math.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize(("a", "c"), [(1.2, 3.0), (-0.7, -2.5), (-1.5, 2.0)])
def test_the_trend_is_the_integral_of_a_slope_that_is_forgotten(a: float, c: float) -> None:
    def slopes(v: float, u: float) -> float:
        return math.exp(-abs(u - v) / 5.0)

    expected, _ = integrate.dblquad(slopes, *sorted((0.0, a)), *sorted((0.0, c)), epsabs=1e-10)
    sign = math.copysign(1, a) * math.copysign(1, c)
    assert belief._trend(np.array([[a]]), np.array([c]), 5.0)[0, 0] == pytest.approx(sign * expected, rel=1e-6)
    assert belief._trend(np.array([[a]]), np.array([c]), math.inf)[0, 0] == a * c


def test_quantiles_chance_and_gains_are_those_of_the_mixture() -> None:
    spread = Spread(np.array([0.3, 0.7]), np.array([-0.02, 0.01]), np.array([0.01, 0.03]), 4.0)
    generator = np.random.default_rng(0)
    which = generator.random(400_000) < 0.3
    drawn = np.where(which, -0.02, 0.01) + np.where(which, 0.01, 0.03) * generator.standard_t(4, 400_000)
    assert spread.p_b_wins == pytest.approx((drawn < 0).mean(), abs=0.003)
    assert spread.quantiles(np.array([0.05, 0.5, 0.95])) == pytest.approx(
        np.quantile(drawn, [0.05, 0.5, 0.95]), abs=5e-4
    )
    assert spread.gains == pytest.approx((np.maximum(drawn, 0).mean(), np.maximum(-drawn, 0).mean()), rel=0.02)
    assert spread.sd == pytest.approx(drawn.std(), rel=0.02)


def test_differences_that_wander_as_the_prior_says_are_covered() -> None:
    """60 ladders drawn from the model: the 90% interval a decade on holds what comes, to the binomial 99.9% bounds."""
    generator, hits = np.random.default_rng(1), 0
    base = track([0.0] * 6)
    t = np.append(base.log_x, base.log_x[-1] + math.log(10)) - base.log_x[-1]
    for _ in range(60):
        theta = belief.MEAN + belief.SPREAD * generator.standard_normal(5)
        kind = generator.choice(len(belief.MEMORY), p=belief.SHARES)
        covariance = belief._kernel(t, t, theta[None], np.array([kind]))[0]
        covariance[np.diag_indices(len(t))] += np.exp(2 * (theta[2] - theta[4] * t))
        level = generator.standard_normal() * 0.3  # instead of the prior's ten units, as recipes are
        covariance -= belief._LEVEL**2 * np.exp(-theta[3] * t)[:, None] * np.exp(-theta[3] * t)
        values = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(t))) @ generator.standard_normal(len(t))
        values += level * np.exp(-theta[3] * t)
        unit = 0.1 * math.hypot(1, 0.3)  # what both gain per e-fold
        low, high = outlook(replace(base, difference=values[:-1] * unit)).at(
            base.log_x[-1] + math.log(10)).quantiles(np.array([0.05, 0.95]))  # fmt: skip
        hits += low <= values[-1] * unit <= high
    assert hits >= stats.binom.ppf(0.0005, 60, 0.9)


def test_compare_and_predict_give_one_probability() -> None:
    """Of one run each, to the last digit; whether the table is asked of one pair or of all."""
    generator, rows = np.random.default_rng(3), []
    for x in np.geomspace(1e16, 1e19, 5):
        for seed in range(2):
            shared = generator.normal(0, 0.01)
            rows += [(x, name, seed, 3 * (x / 1e17) ** -power + shared + generator.normal(0, 0.003))
                     for name, power in (("a", 0.05), ("b", 0.055), ("c", 0.06))]  # fmt: skip
    x, recipe, seed, loss = (np.array(part) for part in zip(*rows, strict=True))
    settings = Settings(target=3e20)
    every = {(item.a, item.b): item.gap for item in compare(x, loss, recipe, pair=seed, settings=settings).pairs}
    alone = compare(x, loss, recipe, pair=seed, pairs=[("b", "c")], settings=settings).pairs[0].gap
    told = predict(Evidence({"x": x}, loss, recipe, seed), {"x": 3e20})
    assert alone.p_b_beats_a == every["b", "c"].p_b_beats_a
    assert {(two.a, two.b): two.p_b_wins for two in told.pairs} == {
        pair: gap.p_b_beats_a for pair, gap in every.items()
    }
