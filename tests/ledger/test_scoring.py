"""Scores against a computation by hand, and forecasts that could have known are refused."""

import numpy as np
import pytest
from scipy import stats

from crossover.ledger.scoring import Realised, binomial, score, score_all
from crossover.ledger.words import score_rows, track_words
from tests.ledger.test_chain import forecast

CAME = {"a": Realised(3.05, 2), "b": Realised(3.25, 2)}


def test_a_score_by_hand() -> None:
    """a: 3.0 in [2.9, 3.1], s.d. 0.05; b: 2.8 in [2.6, 3.0], s.d. 0.1; P(b wins) 0.8, and a won: 0.8^2."""
    found = score(forecast(), CAME)
    a, b = found.recipes
    assert (a.error, a.error_in_sd, a.covered) == (pytest.approx(0.05), pytest.approx(1.0), True)
    assert (b.error, b.error_in_sd, b.covered) == (pytest.approx(0.45), pytest.approx(4.5), False)
    (pair,) = found.pairs
    assert (pair.outcome, pair.brier) == (0.0, pytest.approx(0.64))


def test_the_track_record_by_hand() -> None:
    """b wins in the second: Brier 0.04, mean 0.34; errors 0.05, 0.45, -0.05, 0.1; three of four inside."""
    came = {"f": CAME, "g": {"a": Realised(2.95, 1), "b": Realised(2.9, 1)}, "h": {}}
    forecasts = [forecast("f"), forecast("g", runs=1), forecast("h")]
    record = score_all(forecasts, lambda item: came[item.name])
    track = record.track
    assert (track.lodged, track.scored, track.pending, track.refused) == (3, 2, 1, 0)
    assert track.mean_error == pytest.approx((0.05 + 0.45 - 0.05 + 0.1) / 4)
    assert track.mean_absolute_error == pytest.approx((0.05 + 0.45 + 0.05 + 0.1) / 4)
    assert track.mean_error_in_sd == pytest.approx((1 + 4.5 - 1 + 1) / 4)
    assert (track.covered, track.predictions, track.chances) == (3, 4, 2)
    assert track.mean_brier == pytest.approx((0.64 + 0.04) / 2)
    words = track_words(track)
    assert "3 forecast(s): 2 scored, 1 pending, 0 refused." in words
    assert "3 of 4 losses came inside their 90% interval (75% [25%, 99%])" in words
    assert "Mean Brier score of 2 P(B wins): 0.340; a coin has 0.25." in words
    assert [row[0] for row in score_rows(record.scores)] == ["f", "f", "f", "g", "g", "g", "h"]


def test_a_recipe_that_has_not_come_waits_alone() -> None:
    found = score(forecast(), {"a": CAME["a"], "stranger": Realised(1.0, 1)})
    assert [part.recipe for part in found.recipes] == ["a"]
    assert found.pairs == []


def test_equal_losses_are_half_a_win() -> None:
    (pair,) = score(forecast(), {"a": Realised(3.0, 1), "b": Realised(3.0, 1)}).pairs
    assert (pair.outcome, pair.brier) == (0.5, pytest.approx(0.09))


def test_a_target_among_the_inputs_is_refused() -> None:
    inputs = forecast().inputs.model_copy(update={"places": [{"x": 10.0}, {"x": 1004.0}]})
    record = score_all([forecast(inputs=inputs.model_dump())], lambda _: CAME)
    assert (record.scores[0].status, record.track.refused, record.track.predictions) == ("refused", 1, 0)
    assert "among its inputs" in record.scores[0].why
    assert score(forecast(), CAME).status == "scored"


def test_a_cell_that_was_in_training_before_the_forecast_is_refused() -> None:
    early = {**CAME, "b": Realised(3.25, 2, "2026-11-23T12:59:00+01:00")}  # a minute before, by another clock
    assert score(forecast(), early).status == "refused"
    assert (
        score(forecast(), early).why == "b began to train at 2026-11-23T12:59:00+01:00, before the forecast was lodged"
    )
    late = {**CAME, "b": Realised(3.25, 2, "2026-11-23T13:01:00+01:00")}
    assert score(forecast(), late).status == "scored"


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (3, 4), (9, 10), (7, 7)])
def test_the_binomial_interval_is_the_exact_one(hits: int, trials: int) -> None:
    exact = stats.binomtest(hits, trials).proportion_ci(0.9, "exact")
    assert np.allclose(binomial(hits, trials).ci, (exact.low, exact.high))
