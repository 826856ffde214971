"""Losses seed by seed between two snapshots: differenced where seeds are the same, by means where they are not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.diff.comparing import compare
from stages.diff.shifts import shifts
from stages.diff.snapshot import read_snapshot
from tests.diff.test_comparing import WIDTHS, table


def shifts_of(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, Any]:
    """The shifts of losses, by name; of tables alone, for speed."""
    a, b = (
        read_snapshot("x", {"data/results/s-c/losses.csv": rows.to_csv(index=False).encode()}) for rows in (old, new)
    )
    return {row.name: row for row in compare(a, b).quantities if row.kind == "loss"}


def test_a_loss_of_the_same_seeds_is_differenced_seed_by_seed() -> None:
    """Against SciPy, for the loss of one recipe at one width where no other group lends its variance."""
    old, new = (table(draw)[lambda rows: (rows["recipe"] == "a") & (rows["width"] == 16)] for draw in (0, 1))
    item = shifts_of(old, new)["a, width 16"]
    span = stats.ttest_rel(new["loss_validation"], old["loss_validation"]).confidence_interval(0.9)
    assert item.difference.ci == pytest.approx((span.low, span.high), rel=1e-6)


def test_a_loss_of_other_seeds_is_compared_by_its_means() -> None:
    old, new = (
        table(draw, seed)[lambda rows: (rows["recipe"] == "a") & (rows["width"] == 16)]
        for draw, seed in ((0, 0), (1, 3))
    )
    item = shifts_of(old, new)["a, width 16"]
    span = stats.ttest_ind(new["loss_validation"], old["loss_validation"]).confidence_interval(0.9)
    assert item.difference.ci == pytest.approx((span.low, span.high), rel=1e-6)


SCATTER = {16: 0.06, 24: 0.03, 32: 0.09, 48: 0.02}
"""Like that of committed results: as uneven."""
PLAIN = {first: table(0, first) for first in (0, 3)}


def rerun(draw: int, first_seed: int, shift: dict[int, float]) -> dict[Any, bool]:
    """What moved between results and a rerun with noise of each width's own, shifted by so many standard deviations."""
    generator = np.random.default_rng(draw)
    sides = []
    for rows, shifted in ((PLAIN[0], {}), (PLAIN[first_seed], shift)):
        runs = rows["fingerprint"].map({name: generator.normal() for name in dict.fromkeys(rows["fingerprint"])})
        off = runs + rows["width"].map({width: shifted.get(width, 0.0) for width in WIDTHS})
        sides.append(rows.assign(loss_validation=4 + rows["width"].map(SCATTER) * off))
    found = shifts(*sides)
    return {"all": found.together.sign != 0} | {key[::2]: item.sign != 0 for key, item in found.each.items()}


@pytest.mark.parametrize("first_seed", [0, pytest.param(3, marks=[pytest.mark.slow, pytest.mark.long])])
def test_small_shifts_of_everything_and_large_ones_of_a_width_are_found(first_seed: int) -> None:
    draws = 80
    still = pd.DataFrame([rerun(draw, first_seed, {}) for draw in range(draws)]).mean()
    assert still.max() <= stats.binom.ppf(0.995, draws, 0.1) / draws
    everything = [rerun(draw, first_seed, dict.fromkeys(WIDTHS, 1.0))["all"] for draw in range(draws)]
    assert np.mean(everything) >= 0.6
    for width in WIDTHS:
        one = [rerun(draw, first_seed, {width: 3.0})["b", width] for draw in range(draws)]
        assert np.mean(one) >= 0.6, width
