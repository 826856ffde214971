"""Which of two recipes wins, where they cross and how sure that is, in anybody's runs.

    compare(x, loss, recipe, pair=seed, settings=Settings(target=1e22))

Recipes run at the same x with the same pair label (a seed) are compared pair by pair. Others are interpolated: each
recipe's law is fitted to its own runs and the two laws are subtracted. Beside the answer stands the plain ranking at
the largest common size, which law-based rules find hard to beat (DataDecide, arXiv 2504.11393).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.answers import pairing
from crossover.answers.comparison import Baseline, Chance, Comparison, Comparisons, CurvePoint, Variant
from crossover.answers.crossing import CROSSES, NO_CROSSING, UNDECIDED, Crossover, Difference, crossover, judge, roots
from crossover.answers.difference import PAIRED, law_difference, paired_difference, target_gap
from crossover.answers.ladders import Ladder, RecipeLaws, follow, make_ladders, match
from crossover.answers.pairing import Pairs, Rung, Side
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.belief.difference import outlook
from crossover.laws.laws import LAWS
from crossover.runs.estimates import Estimate, digest_arrays
from crossover.runs.rows import require_positive, same_length
from crossover.runs.table import LeftOut

_SAME_SIZE = 0.05
_DETAIL = 30  # with more pairs than this, sensitivity and curves are left out
_MISFIT = "the rungs contradict the fitted difference; the verdict is theirs, its error is their scatter about it"
_LONG = 64  # a ladder with more rungs than this is not listed rung by rung


@dataclass(frozen=True)
class Settings:
    """What is asked of every pair."""

    law: str = "auto"
    target: float | None = None
    sensitivity: bool = True


def compare(
    x: Floats,
    loss: Floats,
    recipe: Sequence[str] | npt.NDArray[Any],
    *,
    pair: npt.NDArray[Any] | None = None,
    rung: npt.NDArray[Any] | None = None,
    structural: npt.NDArray[np.bool_] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    settings: Settings | None = None,
    names: tuple[str, str] = ("x", "loss"),
) -> Comparisons:
    """Compare recipes along x.

    Args:
        x: n positive sizes (FLOPs, tokens, parameters), never rounded; equal to 1e-6 means the same rung.
        loss: n positive losses; NaN or infinity marks a diverged run, which is left out and counted.
        recipe: n names.
        pair: n labels (a seed); rows of two recipes with the same rung and label are a pair. Absent: recipes that
            have one run per rung are paired by rung.
        rung: n labels that name the rung where x alone does not (a width); x of the pair is then its mean.
        structural: n flags of runs that are the same by construction.
        pairs: which pairs (A, B); all where absent.
        settings: law of unpaired recipes, target scale, sensitivity.
        names: what x and loss are called.

    Raises:
        UsageError: a single recipe, an unknown one, a non-positive value.
    """
    chosen = settings or Settings()
    _check_settings(chosen)
    x, loss = same_length({names[0]: x, names[1]: loss})
    label = np.array([str(name) for name in recipe], object)
    for name, column in (("recipe", label), ("pair", pair), ("rung", rung), ("structural", structural)):
        if column is not None and len(column) != len(x):
            raise UsageError(f"{name} has {len(column)} entries, and {names[0]} has {len(x)}")
    used = np.isfinite(x) & np.isfinite(loss)
    require_positive({names[0]: x[used], names[1]: loss[used]})
    marks = np.zeros(len(x), bool) if structural is None else np.asarray(structural, bool)
    ladders = make_ladders(x[used], loss[used], label[used], _take(pair, used), _take(rung, used), marks[used])
    wanted = _wanted(list(dict.fromkeys(label.tolist())), ladders, pairs)
    detail = chosen.sensitivity and len(wanted) <= _DETAIL
    laws = RecipeLaws(chosen.law)
    lost = {name: np.sort(x[~used & (label == name)]) for name in dict.fromkeys(label[~used].tolist())}
    results = [
        replace(item, flags=[*item.flags, *_blind(item, lost, ladders)])
        for item in (_compare(ladders[a], ladders[b], chosen, detail, laws) for a, b in wanted)
    ]
    if chosen.target is not None:
        results = [_with_gap(item, ladders, chosen.target) for item in results]
    left_out = [LeftOut(f"{name}: diverged, missing or infinite", len(places)) for name, places in lost.items()]
    return Comparisons(*names, results, int(used.sum()), left_out, digest_arrays(x[used], loss[used]))


def _check_settings(settings: Settings) -> None:
    known = ["auto", *(name for name, law in LAWS.items() if law.inputs == ("x",))]
    if settings.law not in known:
        raise UsageError(f"no law of one input is called '{settings.law}'; {nearest(settings.law, known)}")
    if settings.target is not None and not 0 < settings.target < math.inf:
        raise UsageError(f"a target must be positive and finite; got {settings.target:g}")


def _blind(item: Comparison, lost: dict[str, Floats], ladders: dict[str, Ladder]) -> list[str]:
    """Where a recipe's runs were lost: what the comparison cannot see, and that may decide it."""
    flags = []
    for name in (item.a, item.b):
        if name in lost:
            places = np.unique(lost[name][np.isfinite(lost[name])])
            beyond = bool(len(places) and places[-1] > ladders[name].x.max())
            shown = ", ".join(f"{place:.4g}" for place in places[:6]) + (", ..." if len(places) > 6 else "")
            end = ": its largest sizes are not in the comparison" if beyond else ""
            flags.append(f"{name} lost {len(lost[name])} run(s) (diverged, missing or infinite) at {shown}{end}")
    return flags


def _take(values: npt.NDArray[Any] | None, used: npt.NDArray[np.bool_]) -> npt.NDArray[Any] | None:
    return None if values is None else np.asarray(values)[used]


def _wanted(
    order: list[str], ladders: dict[str, Ladder], pairs: Sequence[tuple[str, str]] | None
) -> list[tuple[str, str]]:
    for pair in pairs or ():
        if len(pair) != 2 or pair[0] == pair[1]:
            raise UsageError(f"a pair must name two different recipes; got {pair}")
    for name in {name for pair in pairs or () for name in pair} - set(ladders):
        raise UsageError(f"no finished run of a recipe called '{name}'; {nearest(name, list(ladders))}")
    known = [name for name in order if name in ladders]
    if len(known) < 2:
        raise UsageError(f"a comparison needs two recipes with finished runs; found {', '.join(known) or 'none'}")
    return list(pairs) if pairs else list(combinations(known, 2))


def _compare(a: Ladder, b: Ladder, settings: Settings, detail: bool, laws: RecipeLaws) -> Comparison:
    if settings.law == "auto" and a.pairable and b.pairable:
        pairs, alone = match(a, b)
        if len(pairs.d) and pairs.rung.max() >= 1:
            item = _with_meeting_point(a, b, pairs) if pairs.structural.any() else _paired(a, b, pairs, detail, laws)
            return replace(item, flags=[*item.flags, *alone])
    return _unpaired(a, b, laws)


def _paired(a: Ladder, b: Ladder, pairs: Pairs, detail: bool, laws: RecipeLaws) -> Comparison:
    noise = pairing.pooled_noise(pairs)
    x, d = pairs.means(pairs.x)[0], pairs.means(pairs.d)[0]
    item = Comparison(
        a=a.name,
        b=b.name,
        bracket=_bracket(x, d, None),
        baseline=_ranking(pairing.rung_at(pairs, len(x) - 1, noise), a.name, b.name),
        paired=True,
        rungs=pairing.rung_table(pairs, noise) if len(x) <= _LONG else [],
        trend=pairing.trend(pairs, noise),
        noise_sd=noise.sd,
        dof=noise.dof,
        flags=pairing.noise_flags(pairs, noise) + _sign_flags(d),
    )
    fitted = paired_difference(pairs)
    if fitted is None:
        return replace(item, flags=[*item.flags, "too few rungs or seeds for a fitted difference: undecided"])
    places = np.array([rung.x for rung in item.rungs]) if item.rungs else x
    judged = _judged(item, fitted.difference, PAIRED, d, places)
    return replace(
        judged,
        verdict=pairing.judge_rungs(pairs, noise) if fitted.misfit else judged.verdict,
        bracket=_bracket(x, d, judged.crossover),
        curve=_curve(fitted.difference) if detail else [],
        sensitivity=_sensitivity(a, b, pairs, laws) if detail else [],
        flags=[*item.flags, *([_MISFIT] if fitted.misfit else [])],
    )


def _judged(item: Comparison, difference: Difference, model: str, signs: Floats, at: Floats) -> Comparison:
    """With verdict, roots, crossover and chances of a fitted difference."""
    found = roots(difference)
    return replace(
        item,
        verdict=judge(difference, signs),
        roots=found,
        crossover=crossover(difference, found),
        p_b_beats_a=_chances(difference, at),
        model=model,
        difference=difference,
    )


def _with_meeting_point(a: Ladder, b: Ladder, pairs: Pairs) -> Comparison:
    """Recipes that are one run somewhere: the sign on each side, and the growth of the gap above."""
    free = pairs.free()
    noise = pairing.pooled_noise(free)
    rungs = pairing.rung_table(pairs, noise)
    met = [rung for rung in rungs if rung.structural]
    apart = [rung for rung in rungs if not rung.structural]
    above = free.on(free.x > max(rung.x for rung in met))
    fitted = paired_difference(above)
    sides = pairing.sides(rungs, noise, a.name, b.name)
    where = ", ".join(rung.name for rung in met)
    flag = f"the recipes are the same run at {where}: no crossover is estimated, only the sign on each side"
    return Comparison(
        a=a.name,
        b=b.name,
        verdict=_verdict_of_sides(sides),
        bracket=_bracket(free.means(free.x)[0], free.means(free.d)[0], None) if apart else None,
        baseline=_ranking(apart[-1], a.name, b.name) if apart else None,
        p_b_beats_a=_chances(fitted.difference, above.means(above.x)[0]) if fitted else [],
        paired=True,
        model=f"{PAIRED}, above the meeting point" if fitted else None,
        rungs=rungs,
        sides=sides,
        trend=pairing.trend(above, noise),
        noise_sd=noise.sd,
        dof=noise.dof,
        difference=fitted.difference if fitted else None,
        flags=[
            flag,
            *(pairing.noise_flags(free, noise) if apart else []),
            *([_MISFIT] if fitted and fitted.misfit else []),
        ],
    )


def _with_gap(item: Comparison, ladders: dict[str, Ladder], target: float) -> Comparison:
    track = follow(ladders[item.a], ladders[item.b])
    ahead = None if track is None else outlook(track)
    return replace(item, outlook=ahead, gap=target_gap(item.a, item.b, item.difference, ahead, target))


def _verdict_of_sides(sides: list[Side]) -> str:
    signs = [side.difference.sign for side in sides]
    if len(signs) == 2 and all(signs):
        return CROSSES if signs[0] != signs[1] else NO_CROSSING
    return UNDECIDED


def _bracket(x: Floats, d: Floats, place: Crossover | None) -> tuple[float, float] | None:
    """The measured sign change that holds the root, or the first one. Only the order of x matters."""
    x, d = x[d != 0], d[d != 0]
    changes = [(float(x[i]), float(x[i + 1])) for i in np.flatnonzero(np.sign(d[1:]) != np.sign(d[:-1]))]
    around = [pair for pair in changes if place is not None and pair[0] <= place.value <= pair[1]]
    return next(iter(around or changes), None)


def _sign_flags(d: Floats) -> list[str]:
    signs = np.sign(d[d != 0])
    changes = int((signs[1:] != signs[:-1]).sum())
    return [f"the measured difference changes sign {changes} times"] if changes > 1 else []


def _ranking(rung: Rung, a: str, b: str) -> Baseline:
    value = rung.difference.value
    return Baseline(rung.x, b if value < 0 else a if value > 0 else None, rung.difference)


def _curve(difference: Difference) -> list[CurvePoint]:
    log_x = np.linspace(difference.low, difference.high, 33)
    return [CurvePoint(*map(float, point)) for point in zip(np.exp(log_x), *difference.band(log_x), strict=True)]


def _chances(difference: Difference, at: Floats) -> list[Chance]:
    if len(at) > _LONG:
        at = np.geomspace(at[0], at[-1], 16)
    if not len(at):
        return []
    p = difference.probability_b_better(np.log(at))
    return [Chance(float(x), float(value)) for x, value in zip(at, p, strict=True) if math.isfinite(value)]


def _unpaired(a: Ladder, b: Ladder, laws: RecipeLaws) -> Comparison:
    item = Comparison(a.name, b.name)
    low, high = (float(edge) for edge in (max(a.log_x.min(), b.log_x.min()), min(a.log_x.max(), b.log_x.max())))
    if low >= high:
        why = "have no range of x in common" if low > high else "share only one x"
        return replace(item, flags=[f"the two recipes {why}: undecided"])
    try:
        left, right = laws.both(a, b)
    except UsageError as error:
        return replace(item, flags=[f"undecided: {error}"])
    flags = [f"{name}: {flag}" for name, law in ((a.name, left), (b.name, right)) for flag in law.fit.flags]
    why = "unpaired: each recipe's law is interpolated"
    if not (a.pairable and b.pairable):
        why += "; a recipe has several runs at one x and no pair label tells them apart"
    item = replace(item, baseline=_nearest(a, b, high), flags=[why, *flags])
    if min(left.cov.dof, right.cov.dof) < 1:
        return replace(item, flags=[*item.flags, "no degrees of freedom: undecided"])
    difference = law_difference(left, right, low, high)
    inside = np.linspace(low, high, 65)
    signs = difference.at(inside)[0]
    judged = _judged(item, difference, f"{right.fit.formula} less {left.fit.formula}", signs, np.exp(inside[::8]))
    return replace(judged, curve=_curve(difference))


def _nearest(a: Ladder, b: Ladder, high: float) -> Baseline | None:
    """The runs of each recipe nearest to the upper end of the common range; None where they differ in size by 5%."""
    rows = [np.abs(ladder.log_x - high) <= np.abs(ladder.log_x - high).min() + 1e-9 for ladder in (a, b)]
    places = [ladder.log_x[row].mean() for ladder, row in zip((a, b), rows, strict=True)]
    if abs(places[0] - places[1]) > _SAME_SIZE:
        return None
    value = float(b.loss[rows[1]].mean() - a.loss[rows[0]].mean())
    return Baseline(math.exp(high), b.name if value < 0 else a.name if value > 0 else None, Estimate(value))


def _sensitivity(a: Ladder, b: Ladder, free: Pairs, laws: RecipeLaws) -> list[Variant]:
    """Does the verdict survive another choice?"""
    variants = []
    larger = free.on(free.rung > 0)
    smaller = paired_difference(larger)
    if smaller is not None:
        variants.append(_variant("without the smallest rung", smaller.difference, larger.means(larger.d)[0]))
    for law in ("power", "power_floor"):
        try:
            left, right = laws.both(a, b, law)
        except UsageError:
            continue
        if min(left.cov.dof, right.cov.dof) < 1:
            continue
        apart = law_difference(left, right, float(free.log_x.min()), float(free.log_x.max()))
        signs = apart.at(np.unique(free.log_x))[0]
        variants.append(_variant(f"unpaired, through {left.fit.formula}", apart, signs))
    return variants


def _variant(change: str, difference: Difference, signs: Floats) -> Variant:
    place = crossover(difference, roots(difference))
    return Variant(change, judge(difference, signs), None if place is None else place.value)
