"""Scores against a computation by hand, and forecasts that could have known are refused."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from crossover.ledger.realised import Realised
from crossover.ledger.scoring import binomial, score, score_all
from crossover.ledger.words import score_rows, track_words
from tests.ledger.test_chain import expected, forecast

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
    """Both reach a decade: b wins in the second, Brier 0.04, mean 0.34; errors 0.05, 0.45, -0.05, 0.1; three inside.

    Two forecasts of equal weight: 1.5 of 2 trials, whose interval is that of the beta distribution.
    """
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
    assert track.effective == pytest.approx(2)
    assert track.coverage
    assert track.coverage.ci == pytest.approx((stats.beta.ppf(0.05, 1.5, 1.5), stats.beta.ppf(0.95, 2.5, 0.5)))
    assert "3 of 4 losses came inside their 90% interval." in words
    assert "that is 75% [10%, 100%], as of 2.0 full forecasts" in words
    assert "Mean Brier score of 2 P(B wins): 0.340; a coin has 0.25." in words
    assert [row[0] for row in score_rows(record.scores)] == ["f", "f", "f", "g", "g", "g", "h"]


def test_a_recipe_that_has_not_come_waits_alone() -> None:
    found = score(forecast(), {"a": CAME["a"], "stranger": Realised(1.0, 1)})
    assert [part.recipe for part in found.recipes] == ["a"]
    assert found.pairs == []


def test_equal_losses_are_half_a_win() -> None:
    (pair,) = score(forecast(), {"a": Realised(3.0, 2), "b": Realised(3.0, 2)}).pairs
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


def test_the_interval_of_one_mean_is_not_scored_on_another() -> None:
    """That of one run is wider than the mean of many strays; that of many is narrower than one run does."""
    few, more = ({"a": Realised(3.05, runs), "b": Realised(3.25, runs)} for runs in (1, 3))
    assert (score(forecast(), few).status, score(forecast(), few).why) == ("pending", "1 of 2 runs have come")
    assert score(forecast(), more).status == "refused"
    assert (
        "its intervals are of the mean of 2 run(s), and a is on record with the mean of 3"
        in score(forecast(), more).why
    )
    mixed = {"a": Realised(3.05, 1), "b": Realised(3.25, 2)}
    assert [part.recipe for part in score(forecast(), mixed).recipes] == ["b"]


def easy(name: str, arm: float = 0.001) -> tuple[str, dict[str, Any]]:
    return name, {"lever_arm_decades": arm, "pairs": []}


def test_a_record_cannot_be_bought_by_targets_near_the_runs() -> None:
    """Thirty sure hits beside the runs and one miss a decade above them: 31 losses of 32 inside, and worth nothing."""
    forecasts = [forecast(name, **more) for name, more in map(easy, map(str, range(30)))] + [forecast("far", pairs=[])]
    hit = {n: {"a": Realised(3 + i / 1e6, 2)} for i, n in enumerate(map(str, range(30)))}
    record = score_all(forecasts, lambda item: hit.get(item.name, {"a": Realised(3.5, 2)}))
    assert (record.track.covered, record.track.predictions) == (30, 31)
    assert record.track.coverage
    assert record.track.coverage.value == pytest.approx(30 * 0.001 / 1.03)
    assert record.track.effective < 1.1


def test_forecasts_of_one_outcome_share_its_weight() -> None:
    """Lodged twenty times, of the same recipe alone or with another, it counts about as one."""
    hits = [
        forecast(str(number), pairs=[], recipes={"a": expected(3.0, 0.1 + number / 1e3, 0.05)}) for number in range(20)
    ]
    miss = forecast("miss", pairs=[], recipes={"a": expected(2.0, 0.1, 0.05)})
    record = score_all([*hits, miss], lambda item: {"a": Realised(3.05 if item.name != "miss" else 2.5, 2)})
    assert record.track.coverage
    assert record.track.coverage.value == pytest.approx(0.5)
    assert sum(item.weight for item in record.scores[:20]) == pytest.approx(1)


def test_many_recipes_of_one_forecast_count_as_one() -> None:
    """Their errors hang together: eleven recipes inside are one forecast, 55 pairs one chance."""
    names = [f"r{number}" for number in range(11)]
    pairs = [{"a": a, "b": b, "p_b_wins": 0.9, "difference": -0.1, "sd": 0.1} for a in names for b in names if a < b]
    many = forecast("many", recipes={name: expected(3.0, 0.5, 0.2) for name in names}, pairs=pairs)
    came = {name: Realised(3.2 - number / 100, 2) for number, name in enumerate(names)}
    lost = {"a": Realised(2.7, 2), "b": Realised(3.3, 2)}
    record = score_all([many, forecast("one")], lambda item: came if item.name == "many" else lost)
    ahead = sum(came[b].loss < came[a].loss for a in names for b in names if a < b) / 55
    assert record.track.coverage
    assert record.track.coverage.value == pytest.approx(0.5)
    assert record.track.mean_brier == pytest.approx((0.1**2 * ahead + 0.9**2 * (1 - ahead) + 0.8**2) / 2)


def test_skill_stands_beside_the_plain_order_and_the_plain_loss() -> None:
    """b was the better one at the nearest place, and a won: the order taken for certain has a Brier score of 1."""
    found = score_all([forecast(nearest={"a": 3.3, "b": 3.15}), forecast("old")], lambda _: CAME)
    (pair,), (a, b) = found.scores[0].pairs, found.scores[0].recipes
    assert (pair.brier, pair.plain_brier) == (pytest.approx(0.64), 1.0)
    assert (a.plain_error, b.plain_error) == (pytest.approx(-0.25), pytest.approx(0.1))
    assert found.scores[1].pairs[0].plain_brier is None
    track = found.track
    assert (track.plain_brier, track.compared_brier) == (1.0, pytest.approx(0.64))
    assert (track.plain_absolute_error, track.compared_absolute_error) == (pytest.approx(0.175), pytest.approx(0.25))
    assert "the order at the nearest place 1.000 (where that is on record, these 0.640)" in track_words(track)
    assert "that would have erred by 0.1750, these by 0.2500" in track_words(track)


def test_which_rows_were_looked_at_stays_in_the_record() -> None:
    chosen = {name: Realised(came.loss, came.runs, where="seed != 3") for name, came in CAME.items()}
    record = score_all([forecast()], lambda _: chosen)
    assert record.scores[0].where == "seed != 3"
    assert any("what came is of the rows where seed != 3" in row[-1] for row in score_rows(record.scores))


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (3, 4), (9, 10), (7, 7)])
def test_the_binomial_interval_is_the_exact_one(hits: int, trials: int) -> None:
    exact = stats.binomtest(hits, trials).proportion_ci(0.9, "exact")
    assert np.allclose(binomial(hits, trials).ci, (exact.low, exact.high))
