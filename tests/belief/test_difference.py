"""The belief about a difference beyond the runs: against dense algebra, its own draws, and what must not matter."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

import crossover.belief.difference as belief
from crossover.belief import kernel as process
from crossover.belief.difference import Outlook, Track
from crossover.belief.spread import UNBOUNDED, Spread, student_cdf

AHEAD = math.log(1e20)


def track(difference: list[float], noise: float = 0.0) -> Track:
    """Rungs half a decade apart up to 1e18; both recipes fall by 0.1 per e-fold."""
    log_x = math.log(1e18) + math.log(10) / 2 * np.arange(1 - len(difference), 1)
    loss = 3 - 0.1 * (log_x - log_x[0])
    return Track(np.exp(log_x), np.array(difference), loss, np.full(len(difference), noise), noise)


DIFFERENCES = [0.05, 0.045, 0.02, 0.012, -0.004]


def test_exchanged_recipes_mirror_the_answer() -> None:
    one = Outlook(track(DIFFERENCES, 1e-5)).at(AHEAD)
    other = Outlook(track([-value for value in DIFFERENCES], 1e-5)).at(AHEAD)
    assert other.p_b_wins == pytest.approx(1 - one.p_b_wins, abs=1e-12)
    assert other.expected == pytest.approx(-one.expected, rel=1e-9)
    assert other.gains == pytest.approx(one.gains[::-1], rel=1e-9)


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_one_place_or_many_the_same_is_said(noise: float) -> None:
    """Among the rungs, between the last two, at the last and beyond; the ladder is long, so that beyond is another."""
    rungs = track([0.08 - 0.012 * k + 0.002 * (-1) ** k for k in range(12)], noise)
    ahead, last = Outlook(rungs), rungs.log_x[-1]
    places = np.array([rungs.log_x[3], rungs.log_x[-2] + 0.4, last - 0.05, last, last + 0.5, AHEAD])
    alone = [ahead.itself(float(place)).p_b_wins for place in places]
    assert ahead.lead(places) == pytest.approx(alone, abs=1e-9)
    assert ahead.beyond.weight_M != pytest.approx(ahead.inside.weight_M)


@pytest.mark.parametrize(("scale", "shift", "size"), [(1 / math.log(2), 0.0, 1.0), (1.0, -7.5, 1.0), (1.0, 0.0, 6e9)])
def test_units_of_the_loss_its_offset_and_units_of_x_do_not_matter(scale: float, shift: float, size: float) -> None:
    plain = track(DIFFERENCES, 1e-5)
    moved = Track(
        plain.x * size, plain.difference * scale, plain.loss * scale + shift, plain.variance * scale**2,
        plain.noise * scale**2,
    )  # fmt: skip
    here, there = Outlook(plain).at(AHEAD), Outlook(moved).at(AHEAD + math.log(size))
    assert there.p_b_wins == pytest.approx(here.p_b_wins, rel=1e-5)
    assert there.expected == pytest.approx(here.expected * scale, rel=1e-5)


@pytest.mark.parametrize("kind", range(len(process.MEMORY)))
@pytest.mark.parametrize("where", [2.0, -1.0, 0.0])
def test_a_member_is_the_regression_that_dense_algebra_gives(kind: int, where: float) -> None:
    """For one theta: mean and variance of the conditional normal, by solving with the whole covariance."""
    rungs = track(DIFFERENCES, 2e-5)
    theta, place = np.array([[-1.5, 0.7, -3.0, 0.3]]), rungs.log_x[-1] + where
    sizes = process.Sizes.of(theta, np.array([kind]))
    members = belief.Members.of(rungs, sizes)
    t, b = np.append(rungs.log_x, place) - rungs.log_x[-1], rungs.unit
    whole = sizes.covariance(t[:, None], t)[..., 0]
    same = np.abs(t[:, None] - t) < 1e-9  # at the last rung the misfit is the rung's own
    whole += np.exp(2 * theta[0, 2]) * same
    whole[:-1, :-1][np.diag_indices(len(t) - 1)] += rungs.variance / b**2 + process.JITTER
    gain = np.linalg.solve(whole[:-1, :-1], whole[:-1, -1])
    mean, variance = members.along(np.array([place]), misfit=True)
    assert b * mean[0, 0] == pytest.approx(gain @ rungs.difference, rel=1e-6)
    assert variance[0, 0] == pytest.approx(whole[-1, -1] - gain @ whole[:-1, -1], rel=1e-5)


def test_a_mean_of_runs_has_their_share_of_the_noise() -> None:
    rungs = track(DIFFERENCES, 4e-5)
    recipes, one, four = (Outlook(rungs).at(AHEAD, runs) for runs in (None, 1, 4))
    assert one.scale**2 - recipes.scale**2 == pytest.approx(4e-5)
    assert four.scale**2 - recipes.scale**2 == pytest.approx(1e-5)


def test_rungs_jointly_are_drawn_as_the_mixture_says() -> None:
    """The share of draws that are positive at a rung is what the mixture's own integral gives there."""
    ahead = Outlook(track([0.03, 0.012, 0.004, -0.003, -0.012], 2e-5))
    opposed, (behind, before) = ahead.opposed(ahead.track.log_x)
    lead = ahead.lead(ahead.track.log_x)
    assert opposed.sum(1).argmax() == 0
    first_positive_last_negative = opposed[0, -1]
    assert first_positive_last_negative <= min(1 - lead[0], lead[-1]) + 0.02
    assert first_positive_last_negative >= 1 - lead[0] - (1 - lead[-1]) - 0.02
    assert behind + before < 1 - first_positive_last_negative + 1e-9


def test_what_a_pair_would_tell_is_what_it_takes_off_the_variance() -> None:
    """Far more runs than could be made at the target itself leave the misfit of its rung alone."""
    ahead = Outlook(track(DIFFERENCES, 1e-5))
    place = AHEAD
    misfit = 2 * ahead.track.unit**2 * float(ahead.beyond.weight_M @ ahead.beyond.sizes.misfit_M)
    left = misfit / (ahead.itself(place).sd ** 2 + misfit)
    assert 1 - ahead.tells(place, place, 10**9) == pytest.approx(left, rel=0.1)
    assert ahead.tells(place - 2, place) < ahead.tells(place, place) < 1


def test_the_power_of_the_evidence_lets_a_long_ladder_say_less_of_what_comes() -> None:
    smooth = track([0.05 - 0.003 * k for k in range(12)])
    assert Outlook(smooth).at(AHEAD).sd > Outlook(smooth, replace(belief.PRIOR, rungs=12.0)).at(AHEAD).sd


def test_long_ladders_are_merged_the_more_the_farther_from_the_top() -> None:
    generator = np.random.default_rng(0)
    log_x, noise = np.sort(generator.uniform(0, 9, 200)), 4e-4
    whole = Track(np.exp(log_x), 0.01 * log_x, 3 - 0.1 * log_x, np.full(200, noise / 5), noise)
    short = whole.merged()
    assert 8 <= len(short.x) <= belief.MOST_RUNGS
    assert (np.diff(short.log_x) > 0).all()
    assert np.diff(short.log_x)[-1] < 0.2 * np.diff(short.log_x)[0]
    runs = noise / short.variance  # of means of their rungs nothing is lost
    assert runs.sum() == pytest.approx(200 * 5)
    assert runs @ short.log_x / runs.sum() == pytest.approx(log_x.mean())
    assert short.difference == pytest.approx(0.01 * short.log_x)
    assert short.merged() is short


@pytest.mark.parametrize("noise", [0.0, 1e-5])
@pytest.mark.parametrize("rungs", [2, 5, 11])
def test_few_points_say_what_many_do(rungs: int, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(rungs)
    tracks = [track(list(0.004 * np.cumsum(generator.standard_normal(rungs))), noise) for _ in range(6)]

    def chances() -> list[tuple[float, float]]:
        asked = [Outlook(one) for one in tracks]
        return [(one.at(AHEAD).p_b_wins, float(one.lead(one.track.log_x[-1:])[0])) for one in asked]

    few = chances()
    monkeypatch.setattr(belief, "_POINTS", 8_000)
    belief._points.cache_clear()
    many = chances()
    belief._points.cache_clear()
    assert np.abs(np.subtract(few, many)).max() < 0.05
    assert np.sqrt(np.square(np.subtract(few, many)).mean()) < 0.015


def test_student_with_four_degrees_of_freedom() -> None:
    z = np.array([-50.0, -3.0, -0.4, 0.0, 1.2, 8.0])
    assert student_cdf(z) == pytest.approx(stats.t.cdf(z, 4), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("a", "c"), [(1.2, 3.0), (-0.7, -2.5), (-1.5, 2.0)])
def test_the_trend_is_the_integral_of_a_slope_that_is_forgotten(a: float, c: float) -> None:
    found = process.unit_covariances(np.array([a]), np.array([c]))[2:, 0]
    sign = math.copysign(1, a) * math.copysign(1, c)
    for memory, value in zip(process.MEMORY[1:-1], found[:-1], strict=True):

        def slopes(v: float, u: float, memory: float = memory) -> float:
            return math.exp(-abs(u - v) / memory)

        expected, _ = integrate.dblquad(slopes, *sorted((0.0, a)), *sorted((0.0, c)), epsabs=1e-10)
        assert value == pytest.approx(sign * expected, rel=1e-6)
    assert found[-1] == a * c


@pytest.mark.parametrize("most", [UNBOUNDED, 0.04])
def test_quantiles_chance_and_gains_are_those_of_the_mixture(most: float) -> None:
    spread = Spread(np.array([0.3, 0.7]), np.array([-0.02, 0.01]), np.array([0.01, 0.03]), most)
    generator = np.random.default_rng(0)
    which = generator.random(400_000) < 0.3
    drawn = np.where(which, -0.02, 0.01) + np.where(which, 0.01, 0.03) * generator.standard_t(4, 400_000)
    drawn = np.clip(drawn, -most, most)
    assert spread.p_b_wins == pytest.approx((drawn < 0).mean(), abs=0.003)
    assert spread.quantiles(np.array([0.05, 0.5, 0.95])) == pytest.approx(
        np.quantile(drawn, [0.05, 0.5, 0.95]), abs=5e-4
    )
    assert spread.gains == pytest.approx((np.maximum(drawn, 0).mean(), np.maximum(-drawn, 0).mean()), rel=0.02)
    assert spread.sd == pytest.approx(drawn.std(), rel=0.02)
    assert spread.expected == pytest.approx(drawn.mean(), abs=2e-4)
    assert spread.median == pytest.approx(np.median(drawn), abs=2e-4)


@pytest.mark.parametrize("decades", [1, 3, 12, 20, 40, -3, -12])
def test_far_out_no_mean_is_made_by_what_hardly_any_member_says(decades: int) -> None:
    """What is said of a difference has the likelier side's sign, and no answer goes where no ladder ever went."""
    generator = np.random.default_rng(0)
    drawn = [generator.normal(0, 0.03, size).tolist() for size in (2, 3, 4, 6)]
    for differences in (DIFFERENCES, [0.091, 0.067, 0.032], [0.02, 0.021, 0.019, 0.02], *drawn):
        ahead = Outlook(track(differences, 1e-5))
        there = ahead.at(ahead.track.log_x[-(decades > 0)] + decades * math.log(10))
        assert np.sign(there.median) == np.sign(0.5 - there.p_b_wins)
        most = max(5 * ahead.track.unit, *np.abs(ahead.track.difference))
        farthest = most * (1 + abs(decades) * math.log(10))
        assert min(there.sd, *there.gains) > 0
        assert max(there.sd, abs(there.expected), *there.gains) < farthest
        quantiles = there.quantiles(np.array([0.001, 0.05, 0.5, 0.95, 0.999]))
        assert np.all(np.diff(quantiles) >= 0)
        assert np.all(np.abs(quantiles) <= farthest * (1 + 1e-9))


def test_members_far_beyond_the_bounds_leave_digits() -> None:
    """Half of a mixture lies at a distance, and half beyond the bounds, however far."""
    for far in (1e3, 1e8, 1e14):
        spread = Spread(np.array([0.5, 0.5]), np.array([0.3, far]), np.array([1e-6, far / 10]), 1.0)
        assert spread.expected == pytest.approx(0.65, abs=1e-3)
        assert spread.sd == pytest.approx(0.35, abs=1e-3)
        assert spread.gains == pytest.approx((0.65, 0.0), abs=1e-3)


def test_differences_that_wander_as_the_prior_says_are_covered() -> None:
    """60 ladders drawn from the model: the 90% interval a decade on holds what comes, to the binomial 99.9% bounds."""
    generator, hits = np.random.default_rng(1), 0
    base = track([0.0] * 6)
    t = np.append(base.log_x, base.log_x[-1] + math.log(10)) - base.log_x[-1]
    for _ in range(60):
        theta = np.array(belief.PRIOR.mean) + np.array(belief.PRIOR.sd) * generator.standard_normal(4)
        shares = np.array(belief.PRIOR.shares)
        kind = generator.choice(len(process.MEMORY), p=shares / shares.sum())
        covariance = process.Sizes.of(theta[None], np.array([kind])).covariance(t[:, None], t)[..., 0]
        covariance[np.diag_indices(len(t))] += np.exp(2 * theta[2])
        level = generator.standard_normal() * 0.3  # instead of the prior's ten units, as recipes are
        covariance -= process.LEVEL**2 * np.exp(-theta[3] * t)[:, None] * np.exp(-theta[3] * t)
        values = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(t))) @ generator.standard_normal(len(t))
        values += level * np.exp(-theta[3] * t)
        unit = 0.1 * math.hypot(1, 0.3)  # what both gain per e-fold
        low, high = Outlook(replace(base, difference=values[:-1] * unit)).at(
            base.log_x[-1] + math.log(10)).quantiles(np.array([0.05, 0.95]))  # fmt: skip
        hits += low <= values[-1] * unit <= high
    assert hits >= stats.binom.ppf(0.0005, 60, 0.9)


def test_a_covariance_that_rounding_put_below_zero_has_a_root() -> None:
    """One that is exactly of rank one, and one pushed below by more than the first jitter lifts."""
    vector = np.array([1.0, 2.0, 3.0])
    covariance = np.stack([np.outer(vector, vector), np.outer(vector, vector) - 1e-7 * np.eye(3)])
    root = process.roots(covariance.copy(), np.full(2, 14.0))
    np.testing.assert_allclose(root @ root.transpose(0, 2, 1), covariance, atol=14 * 1e-6)
