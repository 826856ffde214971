"""Comparisons of recipes against planted differences, closed forms and the usual ways in which data are bad."""

import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from crossover.answers.compare import Settings, _scatter_flags, compare
from crossover.answers.comparison import Comparisons
from crossover.answers.crossing import CROSSES, NO_CROSSING, UNDECIDED
from crossover.answers.pairing import detectable
from crossover.answers.words import comparisons_said
from crossover.base.errors import UsageError
from crossover.base.numerals import short

Table = dict[str, np.ndarray]


def ladder(
    effects: dict[float, float], seeds: int = 3, noise: float = 0.01, seed: int = 0, meeting: float | None = None
) -> Table:
    """Runs of two recipes whose difference b - a at each size is `effects[x]` plus noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for x, effect in effects.items():
        for number in range(seeds):
            base = 3 * (x / 16) ** -0.1 + generator.normal(0, 0.02)
            extra = 0.0 if x == meeting else effect + generator.normal(0, noise)
            rows += [(x, base, "a", number, x == meeting), (x, base + extra, "b", number, x == meeting)]
    columns = zip(*rows, strict=True)
    return dict(zip(("x", "loss", "recipe", "pair", "structural"), map(np.array, columns), strict=True))


def only(table: Table, **options: object) -> object:
    return compare(**table, **options).pairs[0]


def test_a_ladder_repeated_on_one_rung_has_the_paired_t_interval_there() -> None:
    table = ladder({16: -0.02, 32: -0.02}, seeds=6)
    kept = (table["x"] == 16) | (table["pair"] == 0)  # the second rung has one pair, and says nothing of the noise
    table = {name: column[kept] for name, column in table.items()}
    rung = only(table).rungs[0]
    first = table["x"] == 16
    a, b = (table["loss"][first & (table["recipe"] == name)] for name in "ab")
    test = stats.ttest_rel(b, a).confidence_interval(0.9)
    assert rung.difference.ci == pytest.approx((test.low, test.high))


def test_pooled_intervals_cover_and_few_seeds_are_not_flattered() -> None:
    """Three seeds on three rungs: 90% intervals cover 90%, to the binomial 99.9% bounds over 500 ladders."""
    hits = 0
    for seed in range(500):
        rung = only(ladder({16: 0.0, 32: -0.02, 64: -0.05}, seed=seed), settings=Settings(sensitivity=False)).rungs[-1]
        hits += rung.difference.ci[0] <= -0.05 <= rung.difference.ci[1]
    low, high = stats.binom.ppf([0.0005, 0.9995], 500, 0.9)
    assert low <= hits <= high


def test_detectable_difference_is_detected_four_times_in_five() -> None:
    effect, found = detectable(0.01, 3, 6), 0
    for seed in range(500):
        table = ladder({16: effect, 32: 0.0, 64: 0.0}, seed=seed)
        found += only(table, settings=Settings(sensitivity=False)).rungs[0].difference.ci[0] > 0
    assert 0.75 < found / 500 < 0.85


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ({16: 0.06, 32: 0.02, 64: -0.02, 128: -0.06}, CROSSES),
        ({16: -0.1, 32: -0.1, 64: -0.1}, NO_CROSSING),
        ({16: 0.0, 32: 0.0, 64: 0.0}, UNDECIDED),
        ({16: -0.1, 32: -0.05, 64: 0.0}, UNDECIDED),
    ],
)
def test_verdicts(effects: dict[float, float], verdict: str) -> None:
    assert only(ladder(effects, noise=0.002)).verdict == verdict


def test_a_planted_crossing_is_found_where_it_is() -> None:
    x = np.geomspace(1e15, 1e18, 7)
    floor, place = 1.4, 3e16
    losses = [floor + 1.5 * (x / place) ** -exponent for exponent in (0.08, 0.12)]
    jitter = 1 + 1e-9 * np.random.default_rng(0).normal(size=7)
    found = compare(np.tile(x, 2), np.concatenate([losses[0], losses[1] * jitter]), ["a"] * 7 + ["b"] * 7)
    result = found.pairs[0]
    assert result.verdict == CROSSES
    low, high = result.crossover.ci
    assert low < place < high
    assert result.crossover.value == pytest.approx(place, rel=0.15)
    assert result.bracket == (x[3], x[4]) if place > x[3] else (x[2], x[3])
    chances = [c.p for c in result.p_b_beats_a]
    assert [*chances[:3], *chances[4:]] == pytest.approx([0, 0, 0, 1, 1, 1], abs=0.1)
    assert 0.6 < chances[3] < 1  # that rung lies 5% above the crossing
    assert result.baseline.better == "b"
    for arm, start, end in (
        (0.0, "crossover at x = ", "]"),
        (0.25, "carried on, the difference would vanish near x = ", "], 0.25 decades outside the runs"),
    ):
        moved = replace(result, crossover=replace(result.crossover, lever_arm_decades=arm))
        lines = [str(block) for block in comparisons_said(replace(found, pairs=[moved]))]
        (line,) = [line for line in lines if line.startswith(start)]
        assert line.endswith(end)
    assert [variant.change for variant in result.sensitivity] == [f"without the rung at {short(size, 4)}" for size in x]
    assert (result.backtest.x, result.backtest.right, result.backtest.held) == (x[-1], True, True)
    for p, told in (
        (0.9, "b better with P = 0.90, and so it came"),
        (0.2, "a better with P = 0.80, and it came the other"),
    ):
        moved = replace(result, backtest=replace(result.backtest, p_b_beats_a=p))
        assert f"told of it: {told}" in "\n".join(map(str, comparisons_said(replace(found, pairs=[moved]))))
    outside = replace(result, backtest=replace(result.backtest, measured=9.0))
    assert "is outside their 90% interval" in "\n".join(map(str, comparisons_said(replace(found, pairs=[outside]))))


def test_the_chances_of_rungs_that_are_not_listed_are_told_at_every_second() -> None:
    x = np.geomspace(1e15, 1e18, 7)
    loss = 3 - 0.1 * np.log10(x)
    found = compare(np.tile(x, 2), np.concatenate([loss, loss - 0.02]), ["a"] * 7 + ["b"] * 7)
    assert [chance.x for chance in found.pairs[0].p_b_beats_a] == pytest.approx(x)
    said = map(str, comparisons_said(replace(found, pairs=[replace(found.pairs[0], rungs=[])])))
    (line,) = [block for block in said if block.startswith("P(b better)")]
    assert re.findall(r"at (\S+?)(?:,|$)", line) == [short(place) for place in x[::2]]


def test_one_badly_tuned_rung_makes_no_crossing() -> None:
    """Recipes 0.01 apart, but that the last rung of a, or a middle one, is tuned worse by far more than its noise."""
    for bad in (2, 4):
        effects = {16.0 * 2**k: 0.01 - 0.05 * (k == bad) for k in range(5)}
        result = only(ladder(effects, noise=0.001))
        assert result.rungs[bad].difference.ci[1] < 0
        assert result.verdict != CROSSES
        assert bad != 4 or (result.backtest.right, result.backtest.held) == (False, False)


@pytest.mark.parametrize(("gap", "better"), [(0.2, "a"), (-0.2, "b")])
def test_the_plain_order_of_runs_that_nothing_pairs(gap: float, better: str) -> None:
    x = np.repeat([1e15, 1e16, 1e17], 2)
    loss = 3 - 0.1 * np.log10(x)
    both = np.concatenate([loss, loss + gap + 0.01 * np.tile([1, -1], 3)])
    result = compare(np.tile(x, 2), both, ["a"] * 6 + ["b"] * 6).pairs[0]
    assert (result.baseline.better, result.baseline.x) == (better, pytest.approx(1e17))
    assert result.baseline.difference.value == pytest.approx(gap)


@pytest.mark.parametrize("fewer", ["a", "b"])
def test_of_unlike_sizes_the_fewer_runs_are_the_rungs(fewer: str) -> None:
    """Each against the law of the recipe with more runs, which is the better known."""
    many, few = np.geomspace(1e15, 1e18, 24), np.geomspace(1.3e15, 0.8e18, 5)
    x = np.concatenate([many, few])
    recipe = np.array(["b" if fewer == "a" else "a"] * 24 + [fewer] * 5)
    loss = 3 * (x / 1e15) ** -0.05 - 0.02 * (recipe == "b") + 1e-4 * np.random.default_rng(0).normal(size=29)
    (result,) = compare(x, loss, recipe).pairs
    assert [chance.x for chance in result.p_b_beats_a] == pytest.approx(few)
    assert min(chance.p if result.b == "b" else 1 - chance.p for chance in result.p_b_beats_a) > 0.9


@pytest.mark.parametrize("target", [1e-3, 0.5, 1e30])
def test_targets_are_of_any_unit(target: float) -> None:
    """Sizes in units of 1e18, say."""
    x = np.array([0.01, 0.03, 0.1, 0.3])
    loss = 3 - 0.1 * np.log(x)
    settings = Settings(target=target)
    found = compare(np.tile(x, 2), np.concatenate([loss, loss - 0.1]), ["a"] * 4 + ["b"] * 4, settings=settings)
    assert found.pairs[0].gap
    for wrong in (0.0, -1.0, math.inf):
        with pytest.raises(UsageError, match="a target must be positive and finite"):
            compare(x, loss, ["a"] * 4, settings=Settings(target=wrong))


def test_two_crossings_are_both_reported() -> None:
    effects = {16.0 * 2**k: value for k, value in enumerate((0.06, 0.03, -0.04, -0.05, -0.04, 0.03, 0.06))}
    result = only(ladder(effects, noise=0.002))
    inside = [root for root in result.roots if 16 < root < 1024]
    assert len(inside) == 2
    assert 32 < inside[0] < 64 < 256 < inside[1] < 512
    assert "the measured difference changes sign 2 times" in result.flags


def test_a_metric_that_rises_is_the_same_question_with_its_sign() -> None:
    """Scores 4 - loss, compared as their negatives, are negative losses: the same answers as the losses'."""
    table = ladder({16: 0.06, 32: 0.02, 64: -0.02, 128: -0.06}, noise=0.002)
    accuracy = 4 - table["loss"]
    one, other = (only({**table, "loss": loss}, settings=Settings(target=512.0)) for loss in (table["loss"], -accuracy))
    assert other.verdict == one.verdict == CROSSES
    assert other.gap.p_b_beats_a == pytest.approx(one.gap.p_b_beats_a, rel=1e-6)
    assert other.crossover.value == pytest.approx(one.crossover.value, rel=1e-6)
    assert (one.gap.equivalent_compute is None, other.gap.equivalent_compute) == (False, None)


def test_structural_meeting_points_are_left_out_and_sides_are_judged() -> None:
    result = only(ladder({16: 0.05, 24: 0.0, 32: -0.05, 48: -0.10}, meeting=24))
    assert [rung.structural for rung in result.rungs] == [False, True, False, False]
    assert result.dof == 6
    assert {side.name: side.verdict for side in result.sides} == {"below": "a better", "above": "b better"}
    assert (result.verdict, result.bracket, result.roots, result.crossover) == (CROSSES, (16, 32), [], None)
    assert result.trend.value == pytest.approx(-0.05 / math.log2(1.5), abs=0.03)
    assert "same run at 24" in result.flags[0]
    assert [chance.p > 0.95 for chance in result.p_b_beats_a] == [False, True, True]


def test_rungs_can_be_named_apart_from_x() -> None:
    table = ladder({16.0: 0.05, 32.0: -0.05})
    flops = table["x"] ** 4 * np.where(table["recipe"] == "b", 1.001, 1.0)
    result = only({**table, "x": flops, "rung": table["x"].astype(int)})
    assert [rung.name for rung in result.rungs] == ["16", "32"]
    assert result.paired


def test_the_gap_at_a_target_needs_its_lever_arm() -> None:
    x = np.geomspace(1e15, 1e18, 7)
    generator = np.random.default_rng(0)
    a = 1.0 + 2 * (x / 1e15) ** -0.1
    b = 1.0 + 1.9 * (x / 1e15) ** -0.1
    table = {
        "x": np.tile(x, 2),
        "loss": np.concatenate([a, b + generator.normal(0, 1e-6, 7)]),
        "recipe": ["a"] * 7 + ["b"] * 7,
    }
    gap = only(table, settings=Settings(target=1e19)).gap
    assert gap.lever_arm_decades == pytest.approx(1.0)
    assert gap.difference.value == pytest.approx(-0.1 * 1e4**-0.1, rel=0.1)
    assert gap.equivalent_compute.value == pytest.approx((2 / 1.9) ** 10, rel=0.1)  # 2 f^-0.1 = 1.9
    assert (gap.next_pair, gap.p_one_run) == (None, gap.p_b_beats_a)  # sure; and without seeds no noise is known
    far = only(table, settings=Settings(target=1e21)).gap  # never refused: it is less sure instead
    assert far.lever_arm_decades == pytest.approx(3.0)
    assert far.difference.se > 1.5 * gap.difference.se


def exact(rungs: int, seeds: int = 1, noise: float = 1e-9) -> Table:
    """Exponents 0.1 and 0.07 over one floor; the losses meet at 3^(1/0.03) = 8.02e15."""
    x = np.repeat(np.geomspace(1e15, 1e19, rungs), seeds)
    generator = np.random.default_rng(0)
    losses = [1.7 + 60 * x**-0.1, 1.7 + 20 * x**-0.07 + generator.normal(0, noise, len(x))]
    pair = np.tile(np.arange(seeds), rungs)
    recipe = np.repeat(["a", "b"], len(x))
    return {"x": np.tile(x, 2), "loss": np.concatenate(losses), "recipe": recipe, "pair": np.tile(pair, 2)}


@pytest.mark.parametrize("rungs", [5, 9])
def test_exact_laws_are_followed(rungs: int) -> None:
    """Crossover, difference and equivalent compute hold the truth by algebra; nearly exact runs come close to it."""
    target = 1e20
    truth = 20 * target**-0.07 - 60 * target**-0.1
    factor = (20 * target**-0.07 / 60) ** (-1 / 0.1) / target
    for noise in (1e-6, 0.005):
        item = only(exact(rungs, 3, noise), settings=Settings(target=target))
        for found, true in ((item.crossover, 3 ** (1 / 0.03)), (item.gap.difference, truth),
                            (item.gap.equivalent_compute, factor)):  # fmt: skip
            low, high = found.ci
            assert low < true < high
        assert item.crossover.value == pytest.approx(3 ** (1 / 0.03), rel=0.4)
        assert item.gap.difference.value == pytest.approx(truth, rel=0.3)
        assert item.gap.p_b_beats_a < 0.05


def test_more_seeds_make_the_set_of_the_crossover_narrower() -> None:
    one, many = (only(exact(8, seeds, 0.004)).crossover.ci for seeds in (2, 40))
    assert one[0] < many[0] < 3 ** (1 / 0.03) < many[1] < one[1]


def test_a_loss_that_rises_has_no_equivalent_compute() -> None:
    table = exact(5)
    table["loss"] = 2 + 0.1 * np.log10(table["x"]) + 0.05 * (table["recipe"] == "b")
    assert only(table, settings=Settings(target=1e20)).gap.equivalent_compute is None


def test_every_rung_that_is_listed_has_its_chance() -> None:
    """Also where the belief has merged them."""
    item = only(exact(20, 3, 1e-3), settings=Settings(sensitivity=False))
    assert [chance.x for chance in item.p_b_beats_a] == [rung.x for rung in item.rungs]
    assert len(item.outlook.track.x) < len(item.rungs) == 20


def test_units_far_from_one_do_not_overflow() -> None:
    before = only(exact(6, 3, 1e-3))
    for scale in (1e-100, 1e100):
        table = exact(6, 3, 1e-3)
        table["loss"] = table["loss"] * scale
        assert only(table).crossover.value == pytest.approx(before.crossover.value)


def test_unpaired_recipes_have_the_scatter_of_their_sizes() -> None:
    """Identical recipes whose sizes scatter by more than their runs: verdicts stay rare."""
    wrong, generator = 0, np.random.default_rng(3)
    for _ in range(60):
        x = np.concatenate([np.repeat(np.geomspace(1e15, 1e18, k), 3) for k in (6, 5)])
        recipe = np.repeat(["a", "b"], [18, 15])
        bump = np.concatenate([np.repeat(generator.normal(0, 0.005, k), 3) for k in (6, 5)])
        loss = 1.5 + 1.5 * (x / 1e15) ** -0.1 + bump + generator.normal(0, 0.001, 33)
        wrong += compare(x, loss, recipe, settings=Settings(sensitivity=False)).pairs[0].verdict != UNDECIDED
    assert wrong <= 9  # the binomial 99.9% bound of 5%


def test_a_ranking_needs_one_size() -> None:
    x = np.array([1.0, 10, 100, 1000, 3, 30, 300])
    result = compare(x, 1 + x**-0.3, ["a"] * 4 + ["b"] * 3).pairs[0]
    assert (result.baseline, result.bracket) == (None, None)


def test_where_a_recipe_was_lost_is_said() -> None:
    table = ladder({16: 0.02, 32: 0.02, 64: 0.02, 128: 0.02})
    table["loss"][(table["recipe"] == "a") & (table["x"] == 128)] = np.inf
    result = compare(**table)
    assert result.left_out[0].reason.startswith("a: ")
    assert any("a lost 3 run(s)" in flag and "its largest sizes" in flag for flag in result.pairs[0].flags)
    assert any("3 run(s) of b have no partner" in flag for flag in result.pairs[0].flags)


def test_unpaired_runs_are_interpolated_through_their_laws() -> None:
    generator = np.random.default_rng(1)
    x = 10 ** generator.uniform(15, 18, 40)
    recipe = np.array(["a", "b"])[np.arange(40) % 2]
    exponent = np.where(recipe == "a", 0.08, 0.12)
    loss = 1.2 + 1.5 * (x / 3e16) ** -exponent + generator.normal(0, 0.002, 40)
    result = compare(x, loss, recipe).pairs[0]
    assert not result.paired
    assert result.verdict == CROSSES
    low, high = result.crossover.ci
    assert low < 3e16 < high
    assert result.crossover.value == pytest.approx(3e16, rel=0.5)


def test_without_an_overlap_nothing_is_decided() -> None:
    x = np.geomspace(1e9, 8e9, 4)
    apart = compare(np.append(x, 100 * x), np.append(x**-0.1, x**-0.1), ["a"] * 4 + ["b"] * 4).pairs[0]
    assert (apart.verdict, apart.roots) == (UNDECIDED, [])
    assert "no range of x in common" in apart.flags[-1]


def test_a_ladder_that_stops_early_is_compared_where_both_were_run() -> None:
    table = ladder({16: 0.06, 32: 0.02, 64: -0.02, 128: -0.06}, noise=0.002)
    kept = (table["recipe"] == "a") | (table["x"] < 100)
    short = only({name: column[kept] for name, column in table.items()}, settings=Settings(target=256.0))
    assert [rung.x for rung in short.rungs] == [16, 32, 64]
    assert short.gap.lever_arm_decades == pytest.approx(math.log10(4))


def test_one_seed_and_lost_runs_are_said() -> None:
    alone = only(ladder({16: -0.1, 32: -0.1}, seeds=1))
    assert alone.rungs[0].difference.ci is None
    assert any("no rung has two seeds" in flag for flag in alone.flags)
    table = ladder({16: -0.1, 32: -0.1, 64: -0.1})
    table["loss"][0] = math.nan
    result = compare(**table)
    assert result.left_out[0].rows == 1
    assert any("1 run(s) of b have no partner" in flag for flag in result.pairs[0].flags)


def test_x_is_never_rounded_but_float_noise_is_one_rung() -> None:
    table = ladder({16: -0.1, 16.001: -0.1, 32: -0.1})
    assert len(only(table).rungs) == 3
    table["x"] = table["x"] * (1 + 1e-12 * (table["recipe"] == "b"))
    assert len(only(table).rungs) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe": np.repeat("a", 12), "pair": np.arange(12)}, "needs two recipes"),
        ({"pair": np.zeros(12, int)}, "two runs at x = 16 with the pair label '0'"),
        ({"x": -np.ones(12)}, "not positive"),
        ({"pairs": [("a", "bb")]}, "no finished run of a recipe called 'bb'"),
        ({"pairs": [("a", "a")]}, "two different recipes"),
        ({"pairs": [("a",)]}, "two different recipes"),
        ({"pair": np.zeros(3)}, "pair has 3 entries"),
        ({"x": np.ones((6, 2))}, "equally long"),
        ({"settings": Settings(law="nope")}, "no law of one input"),
        ({"settings": Settings(target=math.inf)}, "positive and finite"),
        ({"settings": Settings(target=math.nan)}, "positive and finite"),
    ],
)
def test_bad_input_is_a_clear_error(change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compare(**{**ladder({16: 0.0, 32: 0.1}), **change})


def test_everything_serialises() -> None:
    result: Comparisons = compare(**ladder({16: 0.06, 32: 0.02, 64: -0.02, 128: -0.06}))
    loaded = json.loads(json.dumps(result.to_json(), allow_nan=False))
    pair = loaded["pairs"][0]
    assert {"a", "b", "verdict", "bracket", "roots", "crossover", "baseline", "p_b_beats_a"} <= set(pair)
    assert {"value", "ci"} <= set(pair["crossover"])
    assert {"x", "p"} == set(pair["p_b_beats_a"][0])
    assert "difference" not in pair


@pytest.mark.parametrize(("times", "told"), [(4.5, False), (5.5, True)])
def test_rungs_that_scatter_far_more_than_their_runs_are_told(times: float, told: bool) -> None:
    ahead: Any = SimpleNamespace(track=SimpleNamespace(variance=np.array([4e-6])), misfit=times * 2e-3)
    assert bool(_scatter_flags(ahead)) == told
