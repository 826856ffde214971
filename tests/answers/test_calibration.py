"""The calibration of docs/calibration.md, on the ladders that are hardest and on fewer draws."""

import pytest
from scipy import stats

from tests.calibration.__main__ import LADDERS, TRUTHS, simulate

DRAWS = 150
SHORT = LADDERS[0]


@pytest.mark.parametrize("truth", [truth for truth in TRUTHS if truth[1] is not None], ids=lambda truth: truth[0])
def test_sets_of_the_crossover_cover(truth: tuple[str, float | None, float, float]) -> None:
    """Nominal 90% sets cover at least 85%, to the binomial 99.9% bound: they are wide enough for tables less exact."""
    covered = simulate(SHORT, truth, DRAWS, seed=1).covered
    assert covered >= stats.binom.ppf(0.0005, DRAWS, 0.85)


@pytest.mark.parametrize("truth", [truth for truth in TRUTHS if truth[1] is None], ids=lambda truth: truth[0])
@pytest.mark.parametrize("ladder", LADDERS[:3], ids=lambda ladder: ladder.name)
def test_recipes_that_do_not_cross_are_rarely_said_to(
    ladder: object, truth: tuple[str, float | None, float, float]
) -> None:
    tally = simulate(ladder, truth, DRAWS, seed=2)
    assert tally.crosses <= stats.binom.ppf(0.999, DRAWS, 0.05)
