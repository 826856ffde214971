"""How lodged forecasts did: error, coverage and Brier score of each, and the track record of all.

The Brier score of P(B wins) is (P - outcome)^2 with outcome 1 where B's realised mean loss is the lower one (Brier
1950): 0 is certainty that was right, 0.25 what a coin earns, 1 certainty that was wrong.

A record cannot be bought by easy or repeated forecasts. In every mean each forecast counts once, of however many
recipes it speaks (their errors hang together); by the decades it reached beyond its runs, at most one; and forecasts of
one outcome share its weight. The interval of the coverage is that of Clopper and Pearson (1934) with as many trials as
forecasts of equal weight would have given (Kish 1965). Beside each stands what the plain order of the recipes, or their
plain loss, at the place nearest to the target would have earned.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special

from crossover.answers.predict import Expected, PairChance
from crossover.ledger.body import Forecast
from crossover.ledger.chain import Ledger
from crossover.ledger.realised import Lookup, Realised
from crossover.ledger.witness import refused, waits_for_commit
from crossover.runs.estimates import CONFIDENCE, Estimate, Serialisable

SCORED, PENDING, REFUSED = "scored", "pending", "refused"
_FULL = 1.0  # decades beyond the runs from which on a forecast counts in full


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
    plain_error: float | None = None
    """realised - the loss at the place of its runs nearest to the target, where that is on record."""
    gate: "GateScore | None" = None


@dataclass(frozen=True)
class GateScore:
    """A launch against the criterion that was lodged before it."""

    below: float
    p: float
    """Of passing, as forecast."""
    passed: bool


@dataclass(frozen=True)
class PairScore:
    """One chance against what came."""

    a: str
    b: str
    p_b_wins: float
    outcome: float
    """1 where B won, 0 where A did, 0.5 where they came out equal."""
    brier: float
    plain_brier: float | None = None
    """Of the order at the place nearest to the target taken for certain, where that is on record."""


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
    weight: float = 0.0
    """In the track record: decades beyond its runs, at most one, shared with other forecasts of what came."""
    where: str | None = None
    """Which rows what came was taken from, where not all were looked at."""


@dataclass(frozen=True)
class Track:
    """The record of all forecasts; means are weighted, so that every forecast counts once and by how far it reached."""

    lodged: int
    scored: int
    pending: int
    refused: int
    predictions: int
    covered: int
    """Of the predictions, unweighted."""
    effective: float
    """Forecasts of full and equal weight that would say as much."""
    mean_error: float | None
    mean_absolute_error: float | None
    mean_error_in_sd: float | None
    coverage: Estimate | None
    """Weighted share of predictions inside their interval, with its binomial interval."""
    chances: int
    mean_brier: float | None
    plain_absolute_error: float | None
    """What the loss at the nearest place would have erred by, where it is on record."""
    plain_brier: float | None
    """What the order at the nearest place, taken for certain, would have had."""
    compared_absolute_error: float | None
    compared_brier: float | None
    """The forecasts' own, on those for which the plain ones are on record."""
    unproven: str | None = None
    """Why nothing shows when the forecasts were lodged, in words."""


@dataclass(frozen=True)
class Record(Serialisable):
    """Every score, and the track record."""

    scores: list[Score]
    track: Track


def score_all(forecasts: Sequence[Forecast], realised: Lookup, ledger: Ledger | None = None) -> Record:
    """Every forecast scored, in the order of the ledger; against git's witness where the ledger is given."""
    scores = _weighed(forecasts, [score(item, realised(item), ledger) for item in forecasts])
    return Record(scores, track(scores, ledger.history.flaw if ledger else None))


def score(forecast: Forecast, realised: Mapping[str, Realised], ledger: Ledger | None = None) -> Score:
    """A forecast against what came; refused where it could have known it."""
    known = {name: realised[name] for name in forecast.recipes if name in realised}
    if why := refused(ledger, forecast, known):
        return Score(forecast.name, forecast.date, REFUSED, why)
    if ledger and (why := waits_for_commit(ledger, forecast)):
        return Score(forecast.name, forecast.date, PENDING, why)
    if more := next((name for name, came in known.items() if came.runs > forecast.runs), None):
        return Score(forecast.name, forecast.date, REFUSED, _of_other_runs(forecast, more, known[more].runs))
    there = {name: came for name, came in known.items() if came.runs == forecast.runs}
    if not there:
        few = next(iter(known.values()), None)
        why = f"{few.runs} of {forecast.runs} runs have come" if few else ""
        return Score(forecast.name, forecast.date, PENDING, why)
    lacking = {name: known[name].runs if name in known else 0 for name in forecast.recipes if name not in there}
    waits = ", ".join(f"{name}: {count} of {forecast.runs} runs have come" for name, count in lacking.items())
    return Score(
        forecast.name, forecast.date, SCORED, f"{waits}; a run that diverged passes no gate" if waits else "",
        recipes=[_recipe(forecast, name, found) for name, found in there.items()],
        pairs=[_pair(forecast, item, there) for item in forecast.pairs if item.a in there and item.b in there],
        where=next(iter(there.values())).where,
    )  # fmt: skip


def _of_other_runs(forecast: Forecast, name: str, runs: int) -> str:
    return f"its intervals are of the mean of {forecast.runs} run(s), and {name} is on record with the mean of {runs}"


def _recipe(forecast: Forecast, name: str, found: Realised) -> RecipeScore:
    expected: Expected = forecast.recipes[name]
    error, plain = found.loss - expected.value, (forecast.nearest or {}).get(name)
    gate = None
    if told := forecast.gate:
        gate = GateScore(told.below, told.p[name], found.loss < told.below)
    return RecipeScore(
        name, expected.value, expected.low, expected.high, found.loss, found.runs, error, error / expected.sd,
        expected.low <= found.loss <= expected.high, None if plain is None else found.loss - plain,
        gate,
    )  # fmt: skip


def _pair(forecast: Forecast, item: PairChance, realised: Mapping[str, Realised]) -> PairScore:
    outcome = _won(realised[item.a].loss, realised[item.b].loss)
    plain, brier = forecast.nearest or {}, (item.p_b_wins - outcome) ** 2
    known = item.a in plain and item.b in plain
    plain_brier = (_won(plain[item.a], plain[item.b]) - outcome) ** 2 if known else None
    return PairScore(item.a, item.b, item.p_b_wins, outcome, brier, plain_brier)


def _won(a: float, b: float) -> float:
    return 0.5 if a == b else float(b < a)


def _weighed(forecasts: Sequence[Forecast], scores: Sequence[Score]) -> list[Score]:
    """By reach, shared among the forecasts of one outcome."""
    told = Counter((part.recipe, part.realised) for item in scores for part in item.recipes)
    weights = [
        float(np.mean([1 / told[part.recipe, part.realised] for part in item.recipes])) if item.recipes else 0.0
        for item in scores
    ]
    reach = [min(max(item.lever_arm_decades, 0.0), _FULL) for item in forecasts]
    return [replace(item, weight=r * w) for item, r, w in zip(scores, reach, weights, strict=True)]


def track(scores: Sequence[Score], unproven: str | None = None) -> Track:
    """The record of all scores."""
    recipes = [(item.weight / len(item.recipes), part) for item in scores for part in item.recipes]
    pairs = [(item.weight / len(item.pairs), part) for item in scores for part in item.pairs]
    counts = {status: sum(item.status == status for item in scores) for status in (SCORED, PENDING, REFUSED)}
    weights = np.array([item.weight for item in scores])
    effective = float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0
    share = _mean([(w, float(part.covered)) for w, part in recipes])
    beside = [(w, part) for w, part in recipes if part.plain_error is not None]
    ordered = [(w, part) for w, part in pairs if part.plain_brier is not None]
    return Track(
        lodged=len(scores), scored=counts[SCORED], pending=counts[PENDING], refused=counts[REFUSED],
        predictions=len(recipes), covered=sum(part.covered for _, part in recipes), effective=effective,
        mean_error=_mean([(w, part.error) for w, part in recipes]),
        mean_absolute_error=_mean([(w, abs(part.error)) for w, part in recipes]),
        mean_error_in_sd=_mean([(w, part.error_in_sd) for w, part in recipes]),
        coverage=None if share is None else binomial(share * effective, effective),
        chances=len(pairs), mean_brier=_mean([(w, part.brier) for w, part in pairs]),
        plain_absolute_error=_mean([(w, abs(part.plain_error or 0.0)) for w, part in beside]),
        compared_absolute_error=_mean([(w, abs(part.error)) for w, part in beside]),
        plain_brier=_mean([(w, part.plain_brier or 0.0) for w, part in ordered]),
        compared_brier=_mean([(w, part.brier) for w, part in ordered]),
        unproven=unproven,
    )  # fmt: skip


def _mean(weighted: Sequence[tuple[float, float]]) -> float | None:
    """Of (weight, value); None where nothing has weight."""
    total = sum(weight for weight, _ in weighted)
    return sum(weight * value for weight, value in weighted) / total if total else None


def binomial(hits: float, trials: float) -> Estimate:
    """A share with the interval of Clopper and Pearson, which covers at least `CONFIDENCE`."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if hits <= 0 else float(special.betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits >= trials else float(special.betaincinv(hits + 1, trials - hits, 1 - tail))
    return Estimate(hits / trials, None, (low, high))
