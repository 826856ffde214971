"""A run that goes on, asked where it stands as it goes: what was planted is found before its end, and no more."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crossover.base.errors import UsageError
from crossover.curves.foresee import BLOCKS, Logged, stand, whole_ladder
from tests.curves.scoring import CURVES, PLANTED, Case, beside, by_recipe

SHARES = (0.15, 0.3, 0.5, 0.7, 0.85, 0.97)
"""Of the run, at which one looks."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(by_recipe(pd.read_parquet(CURVES)))


def until(run: Logged, share: float) -> Logged:
    """What has come of it by then."""
    come = run.x <= share * run.x[-1]
    return Logged(run.name, run.n, run.x, np.where(come, run.loss, np.nan), run.lr)


def raised(run: Logged, share: float, by: float) -> Logged:
    return Logged(run.name, run.n, run.x, run.loss + by * (run.x > share * run.x[-1]), run.lr)


def found_at(case: Case, run: Logged) -> float | None:
    ladder = whole_ladder(case.ladder)
    for share in SHARES:
        standing = stand(ladder, until(run, share))
        if standing and standing.left:
            return share
    return None


def test_healthy_runs_are_left_alone_and_planted_departures_found_before_the_end(cases: list[Case]) -> None:
    healthy = [found_at(case, run) for case in cases for run in case.runs]
    planted = [found_at(case, raised(run, 0.4, PLANTED)) for case in cases for run in case.runs]
    assert len(healthy) > 20
    assert sum(share is not None for share in healthy) <= 0.05 * len(healthy)
    assert sum(share is not None and share > 0.4 for share in planted) >= 0.85 * len(planted)


def test_a_second_seed_is_watched_beside_the_first() -> None:
    """Of one width that is done so far: 24 of our runs, each from one other seed; of another width nothing is said."""
    cases = list(beside(pd.read_parquet(CURVES), 1))[::6]
    assert sum(found_at(case, case.runs[0]) is not None for case in cases) <= 1
    planted = [found_at(case, raised(case.runs[0], 0.4, PLANTED)) for case in cases]
    assert sum(share is not None and share > 0.4 for share in planted) >= 0.9 * len(planted)
    with pytest.raises(UsageError, match="of the run's own size"):
        stand(whole_ladder(cases[0].ladder), replace(cases[0].runs[0], n=1e6))


def test_a_run_stands_beside_what_was_expected_of_its_last_block(cases: list[Case]) -> None:
    case = cases[0]
    ladder, run = whole_ladder(case.ladder), case.runs[0]
    standing = stand(ladder, until(run, 0.5))
    block = run.x <= 0.5 * run.x[-1]
    last = run.loss[block][-max(1, len(run.x) // BLOCKS) :]
    assert standing.measured == pytest.approx(last.mean(), abs=0.1)
    low, high = standing.expected.ci
    assert low < standing.expected.value < high
    assert stand(ladder, until(run, 0.0)) is None
