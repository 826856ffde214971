"""Keeps of changes that are no better, by a program that asks after every run; `make keep` tries 2,000 series."""

import numpy as np
import pytest

from crossover.answers.keeping.change import Asked
from tests.keep.__main__ import NONE, falsely, fixed_pairs, is_false, tried
from tests.keep.loop import SIZES, Change, heavy, normal

SERIES = 20


@pytest.mark.parametrize("noise", [normal, heavy])
def test_of_changes_that_are_none_hardly_one_is_kept(noise: object) -> None:
    """At most 1 in 20 alone; in a series of 50 a tenth of the keeps, and so of series where none is better."""
    alone = [tried(draw, NONE, noise, None, Asked()) for draw in range(SERIES)]  # type: ignore[arg-type]
    kept = sum(is_false(item) for outcomes in alone for item in outcomes)
    assert kept / (SERIES * len(NONE)) < 0.05
    within = [tried(draw, NONE, noise, 50, Asked()) for draw in range(SERIES)]  # type: ignore[arg-type]
    assert sum(any(map(is_false, outcomes)) for outcomes in within) <= 4  # binomial of 20 and .1 is larger 1 in 23
    assert falsely(within)[0].startswith(("0.0", "0.1", "0.2", "0.3", "0.4"))


def test_a_gain_of_two_sd_is_found_in_few_looks() -> None:
    found = [tried(draw, [*NONE[:2], Change(2.0)], normal, None, Asked())[-1] for draw in range(SERIES)]
    assert sum(item[1] == "keep" for item in found) >= 19
    assert np.median([item[3] for item in found]) <= 5


def test_a_gain_that_turns_is_not_kept_for_the_largest_size() -> None:
    asked = Asked(target=SIZES[-1])
    verdicts = [tried(draw, [Change(2.0, 1.5)], normal, None, asked, sizes=SIZES)[0][1] for draw in range(SERIES)]
    assert verdicts.count("discard") >= 18


def test_the_fixed_sample_is_the_textbook_s() -> None:
    """Cohen 1988: a one-sided paired t test at .05 needs 8 pairs for d = 1 and 27 for d = .5."""
    assert [fixed_pairs(1.0), fixed_pairs(0.5)] == [8, 27]
