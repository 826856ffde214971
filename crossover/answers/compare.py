"""Which of two recipes wins, where they cross and how sure that is, in anybody's runs.

    compare(x, loss, recipe, pair=seed, settings=Settings(target=1e22))

Recipes run at the same x with the same pair label (a seed) are compared pair by pair; those that share fewer than two
sizes, through the other one's law. What is believed of their difference along x is one posterior
(`crossover.belief.difference`), and verdict, crossover, chances and the gap at a target are all asked of it. Beside the
answer stands the plain ranking at the largest common size, which is hard to beat (DataDecide, arXiv 2504.11393).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.answers import pairing
from crossover.answers.best import find_best
from crossover.answers.comparison import Baseline, Chance, Comparison, Comparisons, Variant
from crossover.answers.crossing import (
    CROSSES,
    NO_CROSSING,
    UNDECIDED,
    Crossings,
    Crossover,
    find_crossings,
    judge,
    judge_alone,
    without,
)
from crossover.answers.decision import backtest, gap_at, worth_along
from crossover.answers.figure import Runs, curve_along, start_of
from crossover.answers.ladders import (
    COPIED,
    LOST,
    Ladder,
    RecipeLaws,
    follow,
    make_ladders,
    match,
    price_of,
    without_copies,
)
from crossover.answers.pairing import Pairs, Rung, Side
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.base.numerals import short
from crossover.belief.difference import MOST_RUNGS, Outlook
from crossover.laws.fit import Fitted
from crossover.laws.laws import LAWS
from crossover.runs.estimates import Estimate, digest_arrays
from crossover.runs.rows import require_positive, same_length
from crossover.runs.table import LeftOut

_SAME_SIZE = 0.05
_FAR = 5.0  # times the error of repeated runs
_DETAIL = 30  # with more pairs than this, sensitivity, curves and what was worked out on the way are not kept
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
    cost: Floats | None = None,
    settings: Settings | None = None,
    names: tuple[str, str] = ("x", "loss"),
) -> Comparisons:
    """Compare recipes along x.

    Args:
        x: n positive sizes (FLOPs, tokens, parameters), never rounded; equal to 1e-6 means the same rung.
        loss: n losses in any unit, of either sign; NaN or infinity marks a diverged run, which is left out and counted.
        recipe: n names.
        pair: n labels (a seed); rows of two recipes with the same rung and label are a pair. Absent: recipes that
            have one run per rung are paired by rung.
        rung: n labels that name the rung where x alone does not (a width); x of the pair is then its mean.
        structural: n flags of runs that are the same by construction.
        pairs: which pairs (A, B); all where absent.
        cost: n positive costs of runs, in any unit, for what a recipe is worth at measured throughput.
        settings: the recipes' laws, target scale, sensitivity.
        names: what x and loss are called.

    Raises:
        UsageError: a single recipe, an unknown one, a non-positive value.
    """
    chosen = settings or Settings()
    _check_settings(chosen)
    x, loss, price = same_length({names[0]: x, names[1]: loss, "cost": np.ones(len(x)) if cost is None else cost})
    label = np.array([str(name) for name in recipe], object)
    for name, column in (("recipe", label), ("pair", pair), ("rung", rung), ("structural", structural)):
        if column is not None and len(column) != len(x):
            raise UsageError(f"{name} has {len(column)} entries, and {names[0]} has {len(x)}")
    used = np.isfinite(x) & np.isfinite(loss)
    require_positive({names[0]: x[used], "cost": price[used]})
    marks = np.zeros(len(x), bool) if structural is None else np.asarray(structural, bool)
    finite = used.copy()
    used[used] = without_copies(x[used], loss[used], label[used])
    ladders = make_ladders(x[used], loss[used], label[used], _take(pair, used), _take(rung, used), marks[used])
    wanted = _wanted(list(dict.fromkeys(label.tolist())), ladders, pairs)
    detail = chosen.sensitivity and len(wanted) <= _DETAIL
    laws = RecipeLaws(chosen.law)
    lost, results = {name: np.sort(x[~finite & (label == name)]) for name in dict.fromkeys(label[~finite].tolist())}, []
    for a, b in wanted:
        known = used & np.isfinite(price)
        paid = None if cost is None else price_of(x[known], price[known], label[known], a, b)
        item = _compare(ladders[a], ladders[b], chosen.target, detail, laws, paid)
        kept = item.outlook if len(wanted) <= _DETAIL or item.outlook is None else Outlook(item.outlook.track)
        results.append(replace(item, flags=[*item.flags, *_blind(item, lost, ladders)], outlook=kept))
    left_out = [LeftOut(f"{name}: {LOST}", len(places)) for name, places in lost.items()]
    if copies := int((finite & ~used).sum()):
        left_out.append(LeftOut(COPIED, copies))
    runs = Runs(x[used], loss[used], label[used])
    digest = digest_arrays(runs.x, runs.loss)
    return Comparisons(*names, results, len(runs.x), left_out, digest, find_best(results), runs)


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
            shown = ", ".join(short(place, 4) for place in places[:6]) + (", ..." if len(places) > 6 else "")
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


def _compare(
    a: Ladder, b: Ladder, target: float | None, detail: bool, laws: RecipeLaws, price: Estimate | None
) -> Comparison:
    track = follow(a, b, laws)
    pairs, alone = match(a, b) if a.pairable and b.pairable else (None, [])
    if pairs is not None and len(pairs.d) and pairs.rung.max() >= 1:
        item = _with_meeting_point(a, b, pairs) if pairs.structural.any() else _paired(a, b, pairs)
        item = replace(item, flags=[*item.flags, *alone])
    else:
        item = _unpaired(a, b)
    if track is None:
        return replace(item, flags=[*item.flags, _silent(a, b)])
    known = None if target is None else _laws(laws, a, b)
    return _believed(replace(item, price=price), Outlook(track), target, detail, known)


def _silent(a: Ladder, b: Ladder) -> str:
    low, high = max(a.x.min(), b.x.min()), min(a.x.max(), b.x.max())
    if low >= high:
        why = "have no range of x in common" if low > high else "share only one x"
        return f"the two recipes {why}: undecided"
    return "the two recipes share fewer than two sizes, and their runs carry no law to compare them by: undecided"


def _laws(laws: RecipeLaws, a: Ladder, b: Ladder) -> tuple[Fitted, Fitted] | None:
    """Of both recipes, for compute; None where their runs carry none."""
    try:
        return laws.both(a, b)
    except UsageError:
        return None


def _believed(
    item: Comparison, ahead: Outlook, target: float | None, detail: bool, laws: tuple[Fitted, Fitted] | None
) -> Comparison:
    """With all that the belief says of the pair; the verdict of recipes that meet is that of their two sides."""
    low, high = float(ahead.track.log_x[0]), float(ahead.track.log_x[-1])
    met = bool(item.sides)
    found = Crossings([], None, None) if met else find_crossings(ahead, low, high)
    measured = [rung for rung in item.rungs if not rung.structural]
    x, d = ahead.track.x, ahead.track.difference  # merged, where the rungs are too many to be listed
    if measured:
        x, d = np.array([(rung.x, rung.difference.value) for rung in measured]).T
    return replace(
        item,
        outlook=ahead,
        verdict=item.verdict if met else judge(ahead),
        roots=found.roots,
        crossover=found.nearest,
        sure_until=found.sure_until,
        bracket=_bracket(x, d, found.nearest),
        p_b_beats_a=_chances(ahead, x),
        backtest=backtest(ahead),
        curve=curve_along(ahead, target, start_of(item)) if detail else [],
        sensitivity=_sensitivity(ahead) if detail and not met else [],
        gap=None if target is None else gap_at(item.a, item.b, ahead, target, laws),
        worth=worth_along(ahead, x, target, laws, item.price) if detail and target and not met else [],
        flags=[*item.flags, *([] if met else _sign_flags(d)), *_scatter_flags(ahead)],
    )


def _paired(a: Ladder, b: Ladder, pairs: Pairs) -> Comparison:
    noise = pairing.pooled_noise(pairs)
    last = int(pairs.rung.max())
    rungs = pairing.rung_table(pairs if last < _LONG else pairs.on(pairs.rung == last), noise)
    return Comparison(
        a=a.name,
        b=b.name,
        baseline=_ranking(rungs[-1], a.name, b.name),
        paired=True,
        rungs=rungs if last < _LONG else [],
        trend=pairing.trend(pairs) if last < _LONG else None,
        noise_sd=noise.sd,
        dof=noise.dof,
        flags=pairing.noise_flags(pairs, noise),
    )


def _with_meeting_point(a: Ladder, b: Ladder, pairs: Pairs) -> Comparison:
    """Recipes that are one run somewhere: the sign on each side, and the growth of the gap above."""
    free = pairs.free()
    noise = pairing.pooled_noise(free)
    rungs = pairing.rung_table(pairs, noise)
    met = [rung for rung in rungs if rung.structural]
    apart = [rung for rung in rungs if not rung.structural]
    sides = pairing.sides(rungs, free, a.name, b.name)
    where = ", ".join(rung.name for rung in met)
    flag = f"the recipes are the same run at {where}: no crossover is estimated, only the sign on each side"
    return Comparison(
        a=a.name,
        b=b.name,
        verdict=_verdict_of_sides(sides),
        bracket=_bracket(free.means(free.x)[0], free.means(free.d)[0], None) if apart else None,
        baseline=_ranking(apart[-1], a.name, b.name) if apart else None,
        paired=True,
        rungs=rungs,
        sides=sides,
        trend=pairing.trend(free, max(rung.x for rung in met)) if apart else None,
        noise_sd=noise.sd,
        dof=noise.dof,
        flags=[flag, *(pairing.noise_flags(free, noise) if apart else [])],
    )


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


def _scatter_flags(ahead: Outlook) -> list[str]:
    """Where rungs scatter far more than their repeated runs: the runs may not be what they seem."""
    error, misfit = math.sqrt(float(ahead.track.variance.mean())), ahead.misfit
    if not error or misfit is None or misfit < _FAR * error:
        return []
    return [
        f"rungs are off a smooth difference by {short(misfit, 2)}, {misfit / error:.0f} times what repeated runs there "
        "differ by: are they repeats, or rows logged again, or is a rung badly tuned?"
    ]


def _ranking(rung: Rung, a: str, b: str) -> Baseline:
    value = rung.difference.value
    return Baseline(rung.x, b if value < 0 else a if value > 0 else None, rung.difference)


def _chances(ahead: Outlook, at: Floats) -> list[Chance]:
    """P(B beats A) at places."""
    return [Chance(float(x), ahead.at(math.log(x)).p_b_wins) for x in at]


def _unpaired(a: Ladder, b: Ladder) -> Comparison:
    why = "unpaired: runs of both recipes at one size are compared by their means, others through the other one's law"
    if not (a.pairable and b.pairable):
        why += "; a recipe has several runs at one x and no pair label tells them apart"
    high = float(min(a.log_x.max(), b.log_x.max()))
    return Comparison(a.name, b.name, baseline=_nearest(a, b, high), flags=[why])


def _nearest(a: Ladder, b: Ladder, high: float) -> Baseline | None:
    """The runs of each recipe nearest to the upper end of the common range; None where they differ in size by 5%."""
    rows = [np.abs(ladder.log_x - high) <= np.abs(ladder.log_x - high).min() + 1e-9 for ladder in (a, b)]
    places = [ladder.log_x[row].mean() for ladder, row in zip((a, b), rows, strict=True)]
    if abs(places[0] - places[1]) > _SAME_SIZE:
        return None
    value = float(b.loss[rows[1]].mean() - a.loss[rows[0]].mean())
    return Baseline(math.exp(high), b.name if value < 0 else a.name if value > 0 else None, Estimate(value))


def _sensitivity(ahead: Outlook) -> list[Variant]:
    """Does the verdict survive without any one rung? Not asked of so many that they may be merged."""
    low, high = float(ahead.track.log_x[0]), float(ahead.track.log_x[-1])
    if len(ahead.track.x) == MOST_RUNGS:
        return []
    rest = without(ahead)
    places = [find_crossings(other, low, high).nearest for other in rest]
    return [
        Variant(f"without the rung at {short(x, 4)}", judge_alone(other), None if place is None else place.value)
        for x, other, place in zip(ahead.track.x, rest, places, strict=bool(rest))
    ]
