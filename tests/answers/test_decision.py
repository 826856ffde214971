"""The decision between two recipes against closed forms, a simulation, and what may not change it."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Decision
from crossover.answers.decision import as_compute, decide, knowledge_gradient
from crossover.answers.words import decision_words as words
from crossover.belief.spread import Spread
from crossover.runs.estimates import plain
from tests.answers.test_compare import Table, exact, ladder, only


@pytest.mark.parametrize("value", [-0.03, -0.004, 0.0, 0.01, 0.05])
def test_the_gain_of_choosing_after_a_move_is_the_unit_normal_loss(value: float) -> None:
    s, z = 0.01, abs(value) / 0.01
    closed = s * stats.norm.pdf(z) - abs(value) * stats.norm.cdf(-z)
    assert knowledge_gradient(value, np.array([s]))[0] == pytest.approx(closed, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("value", [-0.02, 0.005])
def test_regret_and_probability_are_those_of_a_million_draws(value: float) -> None:
    """Draws of the difference: the loss of whoever follows the likelier sign."""
    draws = value + 0.01 * stats.t.rvs(4, size=1_000_000, random_state=7)
    lost = np.where(np.sign(draws) != np.sign(value), np.abs(draws), 0.0)
    spread = Spread(np.ones(1), np.array([value]), np.array([0.01]))
    found = decide(("a", "b"), spread.p_b_wins, spread.gains, (-0.1, -0.2))
    error = float(lost.std() / 1000)
    assert found.expected_regret == pytest.approx(lost.mean(), abs=4 * error)
    assert found.p == pytest.approx((lost == 0).mean(), abs=0.002)
    assert found.cost_if_wrong == pytest.approx(lost[lost > 0].mean(), rel=0.02)
    assert found.expected_regret == pytest.approx((1 - found.p) * found.cost_if_wrong)


def test_a_sure_choice_costs_nothing() -> None:
    sure = decide(("a", "b"), 1.0, (0.0, 0.01), (-1.0, -1.0))
    assert (sure.choose, sure.p, sure.expected_regret, sure.cost_if_wrong, sure.regret_as_compute) == (
        "b",
        1,
        0,
        None,
        1,
    )


def decided(table: Table, **options: object) -> object:
    return only(table, settings=Settings(target=400.0, **options)).gap.decision


@pytest.mark.parametrize("law", ["auto", "power"])
def test_exchanged_recipes_are_decided_alike(law: str) -> None:
    table = ladder({16: 0.02, 32: 0.0, 64: -0.02, 128: -0.03}, seed=3)
    names = np.where(table["recipe"] == "a", "z", "b")  # recipes are compared in the order of their runs
    first = compare(**table, pairs=[("a", "b")], settings=Settings(law, 400.0)).pairs[0].gap.decision
    swapped = compare(**{**table, "recipe": names}, pairs=[("b", "z")], settings=Settings(law, 400.0))
    second = swapped.pairs[0].gap.decision
    assert (first.choose, second.choose) == ("b", "b")
    for name, value in asdict(first).items():
        if name != "choose":
            assert getattr(second, name) == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("law", ["auto", "power"])
def test_another_unit_of_loss_changes_only_what_is_in_that_unit(law: str) -> None:
    table = ladder({16: 0.02, 32: 0.0, 64: -0.02, 128: -0.03}, seed=3)
    nats, bits = decided(table, law=law), decided({**table, "loss": table["loss"] / math.log(2)}, law=law)
    assert bits.p == pytest.approx(nats.p, rel=1e-6)
    assert bits.regret_as_compute == pytest.approx(nats.regret_as_compute, rel=1e-5)
    assert bits.cost_if_wrong_as_compute == pytest.approx(nats.cost_if_wrong_as_compute, rel=1e-5)
    assert bits.expected_regret == pytest.approx(nats.expected_regret / math.log(2), rel=1e-5)


@pytest.mark.parametrize("law", ["auto", "power_floor"])
def test_the_price_is_by_the_slope_of_the_chosen_law(law: str) -> None:
    """A's law is 1.7 + 60 x^-0.1: a loss r is won back by x e^(r / slope), to first order the law itself."""
    gap = only(exact(9, 3, 1e-3), settings=Settings(law, 1e20, sensitivity=False)).gap
    assert gap.decision.choose == "a"
    slope = -6 * 1e20**-0.1
    assert math.log(gap.decision.cost_if_wrong_as_compute) == pytest.approx(
        gap.decision.cost_if_wrong / -slope, rel=0.1
    )


def test_a_law_that_rises_wins_nothing_back() -> None:
    assert as_compute(0.01, 0.002) is None
    assert as_compute(0.01, math.nan) is None
    assert as_compute(0.01, -1e-5) is None  # more than any number


def test_words() -> None:
    found = Decision("B", 0.92149, 0.00052, 0.0066, 1.00173, 1.0222)
    assert words(plain(found)) == (
        "choose B: P = 0.921; if wrong it costs on average 0.0066 nats, as much as 2.2% of compute; "
        "expected regret 0.00052 nats, as much as 0.17% of compute"
    )
    far = replace(found, p=0.99999, cost_if_wrong_as_compute=3.21)
    assert "P above 0.999; if wrong it costs on average 0.0066 in loss, as much as 3.21 times the flops;" in words(
        plain(far), "flops", "in loss"
    )
