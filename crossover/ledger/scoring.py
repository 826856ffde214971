"""How lodged forecasts did: error, coverage and Brier score of each, and the track record of all.

The Brier score of P(B wins) is (P - outcome)^2 with outcome 1 where B's realised mean loss is the lower one (Brier
1950): 0 is certainty that was right, 0.25 what a coin earns, 1 certainty that was wrong. The interval of the coverage
is that of Clopper and Pearson (1934), with every recipe's prediction counted as one trial.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from scipy import special

from crossover.answers.predict import Expected, PairChance, among
from crossover.ledger.body import Forecast
from crossover.runs.estimates import CONFIDENCE, Estimate, Serialisable

SCORED, PENDING, REFUSED = "scored", "pending", "refused"


@dataclass(frozen=True)
class Realised:
    """What one recipe came to at the target."""

    loss: float
    """Mean over its finished runs."""
    runs: int
    started: str | None = None
    """When the first of them began to train, where that is known: UTC, ISO 8601."""


Lookup = Callable[[Forecast], Mapping[str, Realised]]
"""The realised losses by recipe at a forecast's target; those that exist."""


@dataclass(frozen=True)
class RecipeScore:
    """One prediction against what came; in the unit of the loss."""

    recipe: str
    predicted: float
    low: float
    high: float
    realised: float
    runs: int
    error: float
    """realised - predicted."""
    error_in_sd: float
    covered: bool


@dataclass(frozen=True)
class PairScore:
    """One chance against what came."""

    a: str
    b: str
    p_b_wins: float
    outcome: float
    """1 where B won, 0 where A did, 0.5 where they came out equal."""
    brier: float


@dataclass(frozen=True)
class Score:
    """One forecast against what came."""

    name: str
    date: str
    status: str
    """scored, pending or refused."""
    why: str = ""
    recipes: list[RecipeScore] = field(default_factory=list)
    pairs: list[PairScore] = field(default_factory=list)


@dataclass(frozen=True)
class Track:
    """The record of all forecasts."""

    lodged: int
    scored: int
    pending: int
    refused: int
    predictions: int
    mean_error: float | None
    mean_absolute_error: float | None
    mean_error_in_sd: float | None
    covered: int
    coverage: Estimate | None
    """Share of predictions inside their interval, with its binomial interval."""
    chances: int
    mean_brier: float | None


@dataclass(frozen=True)
class Record(Serialisable):
    """Every score, and the track record."""

    scores: list[Score]
    track: Track


def score_all(forecasts: Sequence[Forecast], realised: Lookup) -> Record:
    """Every forecast scored, in the order of the ledger."""
    scores = [score(item, realised(item)) for item in forecasts]
    return Record(scores, track(scores))


def score(forecast: Forecast, realised: Mapping[str, Realised]) -> Score:
    """A forecast against what came; refused where it could have known it."""
    known = {name: realised[name] for name in forecast.recipes if name in realised}
    if why := _knew(forecast, known):
        return Score(forecast.name, forecast.date, REFUSED, why)
    if not known:
        return Score(forecast.name, forecast.date, PENDING)
    return Score(
        forecast.name, forecast.date, SCORED,
        recipes=[_recipe(name, forecast.recipes[name], found) for name, found in known.items()],
        pairs=[_pair(item, known) for item in forecast.pairs if item.a in known and item.b in known],
    )  # fmt: skip


def _knew(forecast: Forecast, realised: Mapping[str, Realised]) -> str:
    if among(forecast.at, forecast.inputs.places):
        return "its target is among its inputs: that is no forecast"
    lodged = datetime.fromisoformat(forecast.date)
    for name, found in realised.items():
        if found.started is not None and datetime.fromisoformat(found.started) < lodged:
            return f"{name} began to train at {found.started}, before the forecast was lodged"
    return ""


def _recipe(name: str, expected: Expected, found: Realised) -> RecipeScore:
    error = found.loss - expected.value
    return RecipeScore(
        name, expected.value, expected.low, expected.high, found.loss, found.runs, error, error / expected.sd,
        expected.low <= found.loss <= expected.high,
    )  # fmt: skip


def _pair(item: PairChance, realised: Mapping[str, Realised]) -> PairScore:
    a, b = realised[item.a].loss, realised[item.b].loss
    outcome = 0.5 if a == b else float(b < a)
    return PairScore(item.a, item.b, item.p_b_wins, outcome, (item.p_b_wins - outcome) ** 2)


def track(scores: Sequence[Score]) -> Track:
    """The record of all scores."""
    recipes = [part for item in scores for part in item.recipes]
    pairs = [part for item in scores for part in item.pairs]
    counts = {status: sum(item.status == status for item in scores) for status in (SCORED, PENDING, REFUSED)}
    errors = np.array([part.error for part in recipes])
    covered = sum(part.covered for part in recipes)
    return Track(
        lodged=len(scores), scored=counts[SCORED], pending=counts[PENDING], refused=counts[REFUSED],
        predictions=len(recipes),
        mean_error=_mean(errors.tolist()), mean_absolute_error=_mean(np.abs(errors).tolist()),
        mean_error_in_sd=_mean([part.error_in_sd for part in recipes]),
        covered=covered, coverage=binomial(covered, len(recipes)) if recipes else None,
        chances=len(pairs), mean_brier=_mean([part.brier for part in pairs]),
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def binomial(hits: int, trials: int) -> Estimate:
    """A share with the interval of Clopper and Pearson, which covers at least `CONFIDENCE`."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(special.betaincinv(hits + 1, trials - hits, 1 - tail))
    return Estimate(hits / trials, None, (low, high))
