"""Best of many: against planted levels, closed forms, and what must not matter."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from crossover.answers.best import choose, contenders, draws, find_best, fit_levels
from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Comparisons

LEVELS, VARIANCES = np.array([-0.2, 0.0, 0.05, 0.15]), np.array([0.01, 0.0004, 0.02, 0.003])
A, B = np.triu_indices(4, 1)


def test_levels_and_variances_are_those_that_the_pairs_were_made_of() -> None:
    level, variance = fit_levels(A, B, LEVELS[B] - LEVELS[A], np.sqrt(VARIANCES[A] + VARIANCES[B]), 4)
    np.testing.assert_allclose(level, LEVELS - LEVELS.mean(), atol=1e-9)
    np.testing.assert_allclose(variance, VARIANCES, atol=1e-9)


def test_between_two_the_chance_is_student_s() -> None:
    """The third is far off, so P(best) of the first is P(D < 0) of a t of four degrees."""
    level, variance = np.array([0.0, 0.1, 50.0]), np.array([0.01, 0.02, 0.01])
    loss = level + draws(3) * np.sqrt(variance)
    share = float((loss.argmin(1) == 0).mean())
    assert share == pytest.approx(stats.t.cdf(0.1 / np.sqrt(0.03), 4), abs=0.01)


def test_who_is_not_told_apart_is_best_as_often_as_the_others() -> None:
    shares = np.bincount(draws(5).argmin(1), minlength=5) / len(draws(5))
    np.testing.assert_allclose(shares, 0.2, atol=0.02)
    assert sorted(contenders(draws(5))) == [0, 1, 2, 3, 4]
    assert contenders(draws(5) + np.array([0, 0, 40, 40, 40])) in ([0, 1], [1, 0])


def test_the_leader_is_chosen_unless_another_is_better_with_nine_in_ten() -> None:
    lead = np.array([0.0, -1.0, -0.5])
    for p, chosen in ((0.89, 1), (0.91, 2)):
        chances = np.array([[0.5, 0.1, 0.1], [0.9, 0.5, 1 - p], [0.9, p, 0.5]])
        assert choose(lead, chances) == (1, chosen)


def ladders(exponents: dict[str, float], noise: float = 0.001, sizes: int = 5) -> Comparisons:
    """Recipes that begin alike at 1e15 and fall by their exponents, three seeds."""
    generator = np.random.default_rng(0)
    x = np.repeat(np.geomspace(1e15, 1e17, sizes), 3)
    names = np.repeat(list(exponents), len(x))
    loss = np.concatenate([3 * (x / 1e15) ** -power for power in exponents.values()])
    loss = loss + noise * generator.normal(size=len(loss))
    seed = np.tile([0, 1, 2], sizes * len(exponents))
    return compare(np.tile(x, len(exponents)), loss, names, pair=seed, settings=Settings(target=3e17))


def test_the_best_of_many_its_groups_and_its_pairs() -> None:
    best = ladders({"a": 0.02, "b": 0.02, "c": 0.1, "d": 0.1, "e": 0.06}).best
    assert best is not None
    assert set(best.contenders) <= {"c", "d"}
    assert best.choose in {"c", "d"}
    assert [set(group) for group in best.groups] == [{"c", "d"}, {"e"}, {"a", "b"}]
    assert [arm.recipe for arm in best.arms[2:3]] == ["e"]
    assert best.arms[2].rank == (3, 3)
    assert sum(arm.p_best for arm in best.arms) == pytest.approx(1)
    assert {("c", "e"), ("d", "e"), ("e", "a"), ("e", "b"), ("c", "a")} <= set(best.called)


def test_the_order_of_recipes_does_not_matter() -> None:
    powers = {"a": 0.04, "b": 0.05, "c": 0.047}
    one, other = (ladders(found).best for found in (powers, powers))
    assert one == other
    first = ladders({"a": 0.02, "b": 0.08, "c": 0.05}).best
    last = ladders({"c": 0.05, "b": 0.08, "a": 0.02}).best
    assert first is not None
    assert last is not None
    assert (first.choose, first.contenders, first.groups) == (last.choose, last.contenders, last.groups)


def test_two_recipes_are_a_pair_and_who_cannot_be_compared_is_named() -> None:
    assert ladders({"a": 0.02, "b": 0.021}).best is None
    x = np.array([1e15, 1e16, 1e17])
    loss = np.concatenate([3 * x**-0.01 * (1 + 0.01 * i) for i in range(3)])
    columns: Any = (np.tile(x, 3), loss, np.repeat(list("abc"), 3))
    lone = [np.append(column, item) for column, item in zip(columns, (1e30, 0.5, "z"), strict=True)]
    found = compare(*lone, settings=Settings(target=1e18)).best
    assert found is not None
    assert (found.unknown, len(found.arms)) == (["z"], 3)
    assert find_best([]) is None


def test_calls_are_wrong_one_time_in_twenty_at_most() -> None:
    """Recipes that differ by as little as the noise of their runs, judged by losses without any."""
    wrong = made = 0
    for draw in range(20):
        generator = np.random.default_rng(draw)
        powers = 0.05 + 0.004 * generator.normal(size=6)
        x = np.repeat(np.geomspace(1e15, 1e17, 4), 2)
        loss = np.concatenate([3 * (x / 1e15) ** -power for power in powers]) + 0.01 * generator.normal(size=48)
        found = compare(np.tile(x, 6), loss, np.repeat(list("abcdef"), 8), pair=np.tile([0, 1], 24),
                        settings=Settings(target=1e18)).best  # fmt: skip
        assert found is not None
        power = dict(zip("abcdef", powers, strict=True))
        made += len(found.called)
        wrong += sum(power[better] < power[worse] for better, worse in found.called)
    assert made > 50
    assert wrong / made < 0.1
