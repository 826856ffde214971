"""What a verdict is held against: the smallest effect of interest, the noise of seeds, and what the text adds.

The smallest effect is one for all claims of a scale and fixed before anything is measured: as a multiple of compute,
which a law turns into nats. It says what matters; how far seeds scatter says what can be seen, and is another question.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from crossover.runs.groups import Measured, NotMeasurableError, widened
from stages.study.claims import Claim, Interest
from stages.verdicts.measures import MEASURES
from stages.verdicts.tables import Tables, grouped

NOISE = "noise"
"""The study that measures what seeds alone do."""
_SEEDS, _WIDTHS = 8, 2  # the least that a seed SD may rest on


@dataclass(frozen=True)
class Smallest:
    """Smallest effect of interest, in the effect's unit, and where it comes from."""

    value: float
    words: str


def stated(value: float) -> Smallest:
    """In the claim itself."""
    return Smallest(value, "stated in the claim")


def bought(tables: Tables, interest: Interest | None, scale: str) -> Smallest:
    """What the scale's multiple of compute buys in nats: by the slope a A C^-a of the law at the ladder's top.

    Raises `NotMeasurableError` where the scale names none, or its law was not fitted.
    """
    if interest is None:
        raise NotMeasurableError(f"scales.{scale}.interest names no smallest effect of interest")
    laws = tables.fit(interest.study)["laws"].get(interest.recipe)
    if not laws:
        raise NotMeasurableError(f"no law of {interest.recipe} in study {interest.study} to turn compute into loss")
    means = tables.fits[interest.study]["means"][interest.recipe]
    a, scaled = (laws[0]["params"][name]["value"] for name in ("a", "A"))
    slope = a * scaled * means[-1]["flops_6n"] ** -a
    words = f"{interest.compute:g} times the compute by the law of {interest.recipe} in {interest.study} at its top"
    return Smallest(slope * math.log(interest.compute), words)


def seed_noise(tables: Tables) -> tuple[float, str]:
    """The seed SD of one run, in nats, pooled over the study `noise`, and where it comes from.

    Raises `NotMeasurableError` where it has too few seeds or widths.
    """
    rows = tables.rows(NOISE, sorted(set(tables.losses[NOISE]["recipe"])) if NOISE in tables.losses else [])
    groups = grouped(rows.assign(value=rows["loss_validation"]), "width")
    if len(groups.values) < _WIDTHS or min(map(len, groups.values.values())) < _SEEDS:
        raise NotMeasurableError(f"study {NOISE} needs {_SEEDS} finished seeds at {_WIDTHS} widths for a seed SD")
    return groups.sd, f"seed SD {groups.sd:.4f} at widths {', '.join(map(str, groups.values))}, {groups.dof} dof"


def with_text(found: Measured, claim: Claim, tables: Tables) -> Measured:
    """The measurement with what another choice of held-out text would have changed in it, mean and parts.

    By leaving out a block after another: the jackknife's variance. A note says where no blocks are at hand.
    """
    if found.shared_variance or not found.effect.se or claim.measure == "collapse":  # of curves, not of this text
        return found
    if not tables.has_text():
        return replace(found, notes=[*found.notes, "without the error of the shared text: its blocks are not at hand"])
    try:
        again = [MEASURES[claim.measure](less, claim.study, **claim.given) for less in tables.without_block]
    except NotMeasurableError:
        return replace(found, notes=[*found.notes, "without the error of the shared text: less of it measures nothing"])
    whole = _widened(found, _jackknife([item.effect.value for item in again]))
    parts = {
        name: _widened(part, _jackknife([item.parts[name].effect.value for item in again if name in item.parts]))
        for name, part in found.parts.items()
    }
    return replace(whole, parts=parts)


def _jackknife(values: list[float]) -> float:
    """Variance of a statistic from its values without one block each (Efron 1982)."""
    return (len(values) - 1) / len(values) * float(np.square(np.array(values) - np.mean(values)).sum())


def _widened(found: Measured, text: float) -> Measured:
    effect, dof = widened(found.effect.value, (found.effect.se or 0.0) ** 2, found.dof, text)
    return replace(found, effect=effect, dof=dof, shared_variance=text)
