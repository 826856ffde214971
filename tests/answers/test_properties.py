"""What must hold whatever the numbers are: units, order of rows, weights, the scale of x."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossover.answers.compare import Settings, compare
from crossover.laws.fit import fit

FEW = settings(max_examples=15, deadline=None)
factors = st.floats(1e-6, 1e6)
seeds = st.integers(0, 10_000)
objectives = st.sampled_from(["squares_log", "huber_log"])


def runs(seed: int, rows: int = 30) -> tuple[dict[str, np.ndarray], np.ndarray]:
    generator = np.random.default_rng(seed)
    n, d = 10 ** generator.uniform(6, 9, rows), 10 ** generator.uniform(8, 11, rows)
    return {"N": n, "D": d}, (1.8 + 300 / n**0.35 + 900 / d**0.35) * np.exp(generator.normal(0, 0.005, rows))


def values(inputs: dict[str, np.ndarray], loss: np.ndarray, **options: object) -> dict[str, float]:
    result = fit("chinchilla", inputs, loss, roll_out=False, **options)
    return {name: item.value for name, item in result.params.items()}


@FEW
@given(seeds, factors, factors, factors, objectives)
def test_units_rescale_the_parameters_as_algebra_says(
    seed: int, n: float, d: float, unit: float, objective: str
) -> None:
    inputs, loss = runs(seed)
    before = values(inputs, loss, objective=objective)
    after = values({"N": inputs["N"] * n, "D": inputs["D"] * d}, loss * unit, objective=objective)
    assert after["a"] == pytest.approx(before["a"], rel=1e-4)
    assert after["b"] == pytest.approx(before["b"], rel=1e-4)
    assert after["E"] == pytest.approx(before["E"] * unit, rel=1e-4)
    assert np.log(after["A"]) == pytest.approx(np.log(before["A"] * n ** before["a"] * unit), abs=1e-2)
    assert np.log(after["B"]) == pytest.approx(np.log(before["B"] * d ** before["b"] * unit), abs=1e-2)


@FEW
@given(seeds, objectives)
def test_the_order_of_rows_does_not_matter(seed: int, objective: str) -> None:
    inputs, loss = runs(seed)
    order = np.random.default_rng(seed).permutation(len(loss))
    shuffled = values({name: column[order] for name, column in inputs.items()}, loss[order], objective=objective)
    assert shuffled == pytest.approx(values(inputs, loss, objective=objective), rel=1e-5)


@FEW
@given(seeds, objectives)
def test_a_weight_of_two_is_a_row_twice(seed: int, objective: str) -> None:
    inputs, loss = runs(seed)
    weights = np.random.default_rng(seed).integers(1, 4, len(loss))
    repeated = {name: np.repeat(column, weights) for name, column in inputs.items()}
    twice = values(repeated, np.repeat(loss, weights), objective=objective)
    assert twice == pytest.approx(values(inputs, loss, weights=weights.astype(float), objective=objective), rel=1e-5)


def ladder(seed: int, rungs: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = np.repeat(np.geomspace(1e15, 1e18, rungs), 3)
    shared = generator.normal(0, 0.03, len(x))
    a = 1 + 2.5 * (x / 1e15) ** -0.08 + shared
    b = 1 + 2.45 * (x / 1e15) ** -generator.uniform(0.05, 0.11) + shared + generator.normal(0, 0.01, len(x))
    names = np.repeat(["A", "B"], len(x))
    return np.tile(x, 2), np.concatenate([a, b]), names, np.tile(np.arange(len(x)) % 3, 2)


QUICK = Settings(sensitivity=False)


@FEW
@given(seeds, st.sampled_from([0.3, 1.0, 1.0, 3.0]), factors)
def test_the_bracket_knows_only_the_order_of_x(seed: int, power: float, factor: float) -> None:
    x, loss, recipe, pair = ladder(seed)
    before = compare(x, loss, recipe, pair=pair, settings=QUICK).pairs[0]
    after = compare(factor * x**power, loss, recipe, pair=pair, settings=QUICK).pairs[0]
    expected = None if before.bracket is None else tuple(factor * end**power for end in before.bracket)
    assert after.bracket == (None if expected is None else pytest.approx(expected))
    if power == 1 and before.crossover:
        assert after.verdict == before.verdict
        assert after.crossover.value == pytest.approx(factor * before.crossover.value, rel=1e-6)


@FEW
@given(seeds)
def test_exchanging_the_recipes_mirrors_the_answer(seed: int) -> None:
    x, loss, recipe, pair = ladder(seed)
    forth = compare(x, loss, recipe, pair=pair, pairs=[("A", "B")], settings=QUICK).pairs[0]
    back = compare(x, loss, recipe, pair=pair, pairs=[("B", "A")], settings=QUICK).pairs[0]
    assert forth.verdict == back.verdict
    assert forth.roots == pytest.approx(back.roots)
    assert [c.p for c in forth.p_b_beats_a] == pytest.approx([1 - c.p for c in back.p_b_beats_a])


@FEW
@given(seeds, st.floats(0.1, 10))
def test_the_unit_of_the_loss_changes_no_verdict(seed: int, unit: float) -> None:
    x, loss, recipe, pair = ladder(seed)
    before, after = (compare(x, loss * scale, recipe, pair=pair, settings=QUICK).pairs[0] for scale in (1.0, unit))
    assert (after.verdict, after.roots) == (before.verdict, pytest.approx(before.roots))
    assert [c.p for c in after.p_b_beats_a] == pytest.approx([c.p for c in before.p_b_beats_a])
