"""The answer as it stands: of one recipe its loss, of two their difference, B less A, and who wins."""

import numpy as np
import pytest

from crossover.answers.advising.standing import believe_runs
from crossover.laws.laws import get_law

X = np.repeat([1e15, 1e16, 1e17, 1e18], 3)
GOAL = np.log([[1e19]])


def losses(gap: float) -> np.ndarray:
    """A and then B, which ends lower by 5% where the gap is 0.05."""
    noise = 1 + 2e-3 * np.random.default_rng(0).normal(size=24)
    return np.concatenate([3 * (X / 1e15) ** -0.05, (1 - gap) * 3 * (X / 1e15) ** -0.05]) * noise


@pytest.mark.parametrize(("gap", "b_wins"), [(0.05, 1.0), (-0.05, 0.0)])
def test_of_two_recipes_the_difference_and_who_wins(gap: float, b_wins: float) -> None:
    known = believe_runs(get_law("power"), {"x": np.tile(X, 2)}, losses(gap), ["a"] * 12 + ["b"] * 12, None)
    now = known.at(GOAL)
    truth = 3 * 1e4**-0.05
    assert now.value == pytest.approx(-gap * truth, abs=4 * now.sd)
    assert abs(now.value) > 5 * now.sd
    assert now.b_wins == pytest.approx(b_wins, abs=1e-3)
    assert now.regret == pytest.approx(0.0, abs=1e-3)


def test_of_one_recipe_its_loss() -> None:
    now = believe_runs(get_law("power"), {"x": X}, losses(0.0)[:12], None, None).at(GOAL)
    assert now.value == pytest.approx(3 * 1e4**-0.05, abs=4 * now.sd)
    assert (now.b_wins, now.regret) == (None, None)
