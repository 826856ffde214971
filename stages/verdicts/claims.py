"""From the claims of params.yaml and the tables of a scale to verdicts with their power, cells and cost to decide."""

import inspect
import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.base.numerals import short
from crossover.runs.estimates import Estimate, Serialisable
from crossover.runs.groups import ALIKE, Measured, NotMeasurableError, alike
from stages.study.claims import Claim, Interest
from stages.study.params import PARAMS
from stages.verdicts.design import detectable
from stages.verdicts.judge import POWERED, holm, judge, power, repeats_to_decide, spoken_of
from stages.verdicts.measures import CHOICES, MEASURES
from stages.verdicts.noise import bought, stated, with_text
from stages.verdicts.tables import Tables

_NEVER = 1e4  # times the seeds: the effect sits on the place that decides


@dataclass(frozen=True)
class Part:
    """Mean of one group behind an effect, and the verdict on it where groups are told one by one."""

    name: str
    value: float
    runs: int
    effect: Estimate | None = None
    dof: float | None = None
    verdict: str = ""
    direction: str = ""
    size: str = ""


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
    published: float | None
    unit: str
    verdict: str = "INCONCLUSIVE"
    """SUPPORTED, REFUTED, INCONCLUSIVE, or MIXED where groups that differ have verdicts that differ."""
    direction: str = "open"
    """lower, higher, open, or mixed."""
    size: str = "open"
    """meaningful, negligible, open, or mixed."""
    effect: Estimate | None = None
    """Less the centre of the claim: the verdict is about this. None where groups differ and are told one by one."""
    dof: float | None = None
    """Degrees of freedom of its standard error."""
    text_se: float | None = None
    """The part of the standard error that the choice of held-out text adds; None where its blocks are not at hand."""
    alike: float | None = None
    """p value of groups whose means are the same."""
    interest: float | None = None
    interest_from: str = ""
    detectable: float | None = None
    """The smallest true effect whose direction would be told with 80% power."""
    power: float | None = None
    power_at: float | None = None
    """The true effect for which the power is stated."""
    power_published: float | None = None
    """The power if the paper's number were true."""
    p: float | None = None
    holm: bool = False
    """Whether the verdict holds with all of its scale's together at 5% (Holm 1979)."""
    cells: int = 0
    machine_hours: float = 0.0
    """Predicted, on the scale's machine."""
    why: str = ""
    """Why it is inconclusive and what deciding would cost; empty where it is decided."""
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def judge_claims(
    claims: dict[str, Claim], tables: Tables, scale: str, interest: Interest | None = None
) -> list[Judged]:
    """Every claim whose study the tables hold, in order; `interest` is the scale's."""
    found = [
        _judged(name, claim, tables, scale, interest) for name, claim in claims.items() if claim.study in tables.losses
    ]
    kept = holm([item.p if item.verdict != "INCONCLUSIVE" else None for item in found], sum(map(measured, found)))
    return [replace(item, holm=holds) for item, holds in zip(found, kept, strict=True)]


def measured(item: Judged) -> bool:
    """Whether a claim was asked at all: its measurement has an interval, whatever its premise came to."""
    return item.p is not None


def _judged(name: str, claim: Claim, tables: Tables, scale: str, interest: Interest | None) -> Judged:
    measure = MEASURES[claim.measure]
    require_arguments(name, claim)
    tables.used = set()
    base = Judged(
        id=name, scale=scale, study=claim.study, statement=claim.statement, paper=claim.paper, differs=claim.differs,
        measure=claim.measure, what=" ".join((measure.__doc__ or "").split("\n\n")[0].split()), expects=claim.expects,
        centre=claim.centre, published=claim.published, unit=claim.unit,
    )  # fmt: skip
    try:
        smallest = stated(claim.interest) if claim.interest != "compute" else bought(tables, interest, scale)
        found = measure(tables, claim.study, **claim.given)
        if not math.isfinite(found.effect.value):
            raise NotMeasurableError("what is left of the runs gives no finite effect")
    except NotMeasurableError as reason:
        return replace(base, why=f"not measurable here: {reason}")
    base = replace(base, interest=smallest.value, interest_from=smallest.words, cells=len(tables.used),
                   machine_hours=math.fsum(tables.seconds.get(name, 0.0) for name in tables.used) / 3600)  # fmt: skip
    lacking = tables.failed.get(claim.study)
    notes = [*found.notes, *([f"{lacking} run(s) of the study failed and are left out"] if lacking else [])]
    apart = alike(list(found.parts.values()))  # by seeds alone: what the text adds to all of them parts none
    return _with_verdict(base, claim, with_text(replace(found, notes=notes), claim, tables), smallest.value, apart)


def _with_verdict(base: Judged, claim: Claim, found: Measured, interest: float, apart: float) -> Judged:
    effect = centred(found.effect, claim.centre)
    judged = judge(effect, claim.expects, interest, found.dof)
    base = replace(
        base,
        text_se=math.sqrt(found.shared_variance) if found.shared_variance else None,
        notes=found.notes,
        parts=[Part(_name(group), float(values.mean()), len(values)) for group, values in found.groups.values.items()],
    )
    if found.blocked and not (judged.verdict == "REFUTED" and judged.size != "negligible"):
        return replace(base, effect=effect, dof=found.dof, p=judged.p, why=found.blocked)  # the other way is refuted
    if apart < ALIKE:
        return replace(_by_group(base, claim, found, interest), alike=apart)
    return replace(
        base, verdict=judged.verdict, direction=judged.direction, size=judged.size, p=judged.p, effect=effect,
        dof=found.dof, alike=None if math.isnan(apart) else apart, **_powers(claim, interest, [found]),
        notes=[*found.notes, found.blocked] if found.blocked else found.notes,
        why="" if judged.verdict != "INCONCLUSIVE" else _why(effect, claim, interest, found, base.machine_hours),
    )  # fmt: skip


def _by_group(base: Judged, claim: Claim, found: Measured, interest: float) -> Judged:
    """Groups differ beyond their noise, so their mean speaks for none of them."""
    parts, sure = [], []
    for name, part in found.parts.items():
        effect = centred(part.effect, claim.centre)
        judged = judge(effect, claim.expects, interest, part.dof)
        said = Part(_name(name), part.effect.value, len(part.groups.values[name]), effect, part.dof)
        parts.append(replace(said, verdict=judged.verdict, direction=judged.direction, size=judged.size))
        sure.append(1.0 if judged.p is None else judged.p)
    verdicts = [part.verdict for part in parts]
    verdict = _common(verdicts, ("SUPPORTED", "REFUTED"), "INCONCLUSIVE")
    undecided = [part.name for part in parts if part.verdict == "INCONCLUSIVE"]
    return replace(
        base,
        verdict=verdict.upper(),
        direction=_common([part.direction for part in parts], ("lower", "higher"), "open"),
        size=_common([part.size for part in parts], ("meaningful", "negligible"), "open"),
        parts=parts,
        p=max(sure) if len(set(verdicts)) == 1 else min(1.0, min(sure) * len(sure)),
        why=f"groups differ, and {', '.join(undecided)} may be either" if verdict == "INCONCLUSIVE" else "",
        **_powers(claim, interest, found.parts.values()),
    )


def _common(values: list[str], opposed: tuple[str, str], neither: str) -> str:
    """What all groups say; mixed where two say the opposite; else undecided."""
    if set(opposed) <= set(values):
        return "mixed"
    return values[0] if len(set(values)) == 1 else neither


def _powers(claim: Claim, interest: float, measured: Iterable[Measured]) -> dict[str, Any]:
    """The least over what is judged: power at the smallest effect of interest and at the paper's, and what is told."""
    noise = [(item.effect.se or math.nan, item.dof) for item in measured]

    def least(truth: float) -> float:
        return min(power(claim.expects, interest, truth, *each) for each in noise)

    at = spoken_of(claim.expects, interest)
    published = None if claim.published is None else claim.published - claim.centre
    return {
        "power_at": at if interest else published,
        "power": least(at) if interest else None if published is None else least(published),
        "power_published": None if published is None or published == at or not interest else least(published),
        "detectable": max(detectable(*each, POWERED) for each in noise),
    }


def centred(effect: Estimate, centre: float) -> Estimate:
    """The effect less the centre of its claim."""
    if effect.ci is None:
        return Estimate(effect.value - centre)
    low, high = (None if end is None else end - centre for end in effect.ci)
    return Estimate(effect.value - centre, effect.se, (low, high))


def _why(effect: Estimate, claim: Claim, interest: float, measured: Measured, hours: float) -> str:
    factor = repeats_to_decide(effect, claim.expects, interest, measured.shared_variance)
    if math.isnan(factor):
        return "there are no repeats to take an interval from; run it with more seeds"
    if factor > _NEVER:
        return "the effect is too near the place that decides: more text or a larger scale may, more seeds would not"
    return (
        f"the interval is too wide; if the effect stays, about {short(factor, 2)} times the seeds would decide it, "
        f"{short((factor - 1) * hours, 2)} hours of the scale's machine more"
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
