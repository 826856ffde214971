"""From the claims of params.yaml and the tables of a scale to verdicts with their power, cells and cost to decide."""

import inspect
import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.runs.estimates import Estimate, Serialisable
from stages.study.params import PARAMS, Claim
from stages.verdicts.groups import Measured, NotMeasurableError
from stages.verdicts.judge import POWERED, judge, power, repeats_to_decide
from stages.verdicts.measures import CHOICES, MEASURES
from stages.verdicts.tables import Tables, grouped

NOISE = "noise"
"""The study that measures what seeds alone do."""
_SEEDS, _WIDTHS = 8, 2  # the least that a tolerance may rest on
_NEVER = 1e4  # times the seeds: the effect sits on the tolerance


@dataclass(frozen=True)
class Part:
    """Mean of one group behind an effect."""

    name: str
    value: float
    runs: int


@dataclass(frozen=True)
class Judged(Serialisable):
    """A claim with its verdict at one scale."""

    id: str
    scale: str
    study: str
    statement: str
    paper: str
    differs: str
    measure: str
    what: str
    """The measurement in words."""
    expects: str
    centre: float
    unit: str
    verdict: str
    effect: Estimate | None
    """Less the centre of the claim: the verdict is about this."""
    dof: float | None
    """Degrees of freedom of its standard error."""
    tolerance: float | None
    tolerance_from: str
    power: float | None
    power_at: float | None
    """The true effect for which the power is stated."""
    cells: int
    core_hours: float
    why: str
    """Why it is inconclusive and what deciding would cost; empty where it is decided."""
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tolerance:
    """Twice the seed standard deviation, and where it comes from."""

    value: float
    words: str


def seed_noise(tables: Tables) -> Tolerance:
    """From the study `noise`. Raises `NotMeasurableError` where it has too few seeds or widths."""
    rows = tables.rows(NOISE, sorted(set(tables.losses[NOISE]["recipe"])) if NOISE in tables.losses else [])
    groups = grouped(rows.assign(value=rows["loss_validation"]), "width")
    if len(groups.values) < _WIDTHS or min(map(len, groups.values.values())) < _SEEDS:
        raise NotMeasurableError(f"study {NOISE} needs {_SEEDS} finished seeds at {_WIDTHS} widths for a tolerance")
    widths = ", ".join(map(str, groups.values))
    return Tolerance(2 * groups.sd, f"2 x the seed SD {groups.sd:.4f} at widths {widths}, {groups.dof} dof")


def judge_claims(claims: dict[str, Claim], tables: Tables, scale: str) -> list[Judged]:
    """Every claim whose study the tables hold, in order."""
    try:
        noise: Tolerance | str = seed_noise(tables)
    except NotMeasurableError as reason:
        noise = str(reason)
    return [
        _judged(name, claim, tables, scale, noise) for name, claim in claims.items() if claim.study in tables.losses
    ]


def _judged(name: str, claim: Claim, tables: Tables, scale: str, noise: Tolerance | str) -> Judged:
    measure = MEASURES[claim.measure]
    require_arguments(name, claim)
    tables.used = set()
    base = Judged(
        id=name, scale=scale, study=claim.study, statement=claim.statement, paper=claim.paper, differs=claim.differs,
        measure=claim.measure, what=" ".join((measure.__doc__ or "").split("\n\n")[0].split()), expects=claim.expects,
        centre=claim.centre, unit=claim.unit, verdict="INCONCLUSIVE", effect=None, dof=None, tolerance=None,
        tolerance_from="", power=None, power_at=None, cells=0, core_hours=0.0, why="",
    )  # fmt: skip
    try:
        if isinstance(noise, str) and claim.tolerance == "noise":
            raise NotMeasurableError(noise)
        measured = measure(tables, claim.study, **claim.given)
    except NotMeasurableError as reason:
        return replace(base, why=f"not measurable here: {reason}")
    return _with_verdict(base, claim, measured, tables, noise)


def _with_verdict(base: Judged, claim: Claim, measured: Measured, tables: Tables, noise: Tolerance | str) -> Judged:
    tolerance = Tolerance(claim.tolerance, "stated in the claim") if claim.tolerance != "noise" else noise
    assert isinstance(tolerance, Tolerance)
    effect, truth = centred(measured.effect, claim.centre), _truth(claim, tolerance.value)
    verdict = "INCONCLUSIVE" if measured.blocked else judge(effect, claim.expects, tolerance.value)
    chance = power(claim.expects, tolerance.value, truth, effect.se or math.nan, measured.dof)
    hours = math.fsum(tables.seconds.get(name, 0.0) for name in tables.used) / 3600  # exact in any order of the set
    return replace(
        base,
        verdict=verdict,
        effect=effect,
        dof=measured.dof,
        tolerance=tolerance.value,
        tolerance_from=tolerance.words,
        power=chance,
        power_at=truth,
        cells=len(tables.used),
        core_hours=hours,
        why=""
        if verdict != "INCONCLUSIVE"
        else measured.blocked or _why(effect, claim, tolerance.value, measured, hours),
        parts=[
            Part(_name(group), float(values.mean()), len(values)) for group, values in measured.groups.values.items()
        ],
        notes=measured.notes,
    )


def centred(effect: Estimate, centre: float) -> Estimate:
    """The effect less the centre of its claim."""
    if effect.ci is None:
        return Estimate(effect.value - centre)
    low, high = (None if end is None else end - centre for end in effect.ci)
    return Estimate(effect.value - centre, effect.se, (low, high))


def _truth(claim: Claim, tolerance: float) -> float:
    """For which true effect the power is stated: zero for no difference, else as expected, else twice the tolerance."""
    if claim.expected is not None:
        return claim.expected - claim.centre
    return {"above": 2.0, "below": -2.0}.get(claim.expects, 0.0) * tolerance


def _why(effect: Estimate, claim: Claim, tolerance: float, measured: Measured, hours: float) -> str:
    if measured.blocked:
        return measured.blocked
    factor = repeats_to_decide(effect, claim.expects, tolerance, measured.shared_variance)
    if math.isnan(factor):
        return "there are no repeats to take an interval from; run it with more seeds"
    if factor > _NEVER:
        return "the effect is too near the tolerance: more seeds would not decide it, more text or a larger scale may"
    more = (factor - 1) * hours
    return (
        f"the interval reaches across the tolerance; if the effect stays, about {factor:.2g} times the seeds would "
        f"decide it, {more:.2g} core-hours more"
    )


def _name(group: Hashable) -> str:
    return f"width {group}" if isinstance(group, int) else str(group)


def require_arguments(name: str, claim: Claim) -> None:
    """Refuse a claim whose `given` does not fit its measurement. Raises `UsageError`."""
    known = {
        key: item for key, item in inspect.signature(MEASURES[claim.measure]).parameters.items()
        if key not in ("tables", "study")
    }  # fmt: skip
    for key, value in claim.given.items():
        if key not in known:
            raise UsageError(f"{PARAMS}: claims.{name}.given.{key} is unknown; {nearest(key, list(known))}")
        if key in CHOICES and value not in CHOICES[key]:
            raise UsageError(
                f"{PARAMS}: claims.{name}.given.{key} cannot be '{value}'; {nearest(str(value), CHOICES[key])}"
            )
    missing = [key for key, item in known.items() if item.default is item.empty and key not in claim.given]
    if missing:
        raise UsageError(f"{PARAMS}: claims.{name}.given.{missing[0]} is missing; measure {claim.measure} needs it")


def metrics(judged: list[Judged]) -> dict[str, Any]:
    """Few numbers with stable names for `dvc metrics`: by scale and claim, and how many came out how."""
    found: dict[str, Any] = {}
    for item in judged:
        at = found.setdefault(item.scale, {"counts": {}, "powered": 0, "claims": {}})
        at["counts"][item.verdict] = at["counts"].get(item.verdict, 0) + 1
        at["powered"] += bool(item.power is not None and item.power >= POWERED)
        at["claims"][item.id] = {
            "verdict": item.verdict,
            "effect": None if item.effect is None else item.effect.value,
            "tolerance": item.tolerance,
            "power": item.power,
        }
    return found
