"""Which of many recipes is best at a target: P(best), those that cannot be excluded, ranks, and which to choose.

The belief speaks of pairs. Losses of N recipes that are jointly Student's t of four degrees of freedom, as the members
of a pair's belief are, are fitted to what it says of all pairs: levels mu to the medians of the differences, variances
v, of errors that are each recipe's own, to the squares of the scales that with these medians give their chances (least
squares, v not negative), as Bradley and Terry (1952) fit strengths to comparisons. Chances are of draws from it.

The recipe with the highest P(best) has often been lucky where it was last seen, the more so the more there are, so it
is not the choice: the recipe that is lowest at the largest common size is, unless another one is better at the target
with P above .9. On published ladders that costs no more than the order there (docs/decide.md).

Of all pairs those are called whose calls are expected to be wrong one time in twenty at most, together: the surest
first, until the mean of 1 - P reaches that (Newton et al. 2004), a false discovery rate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from crossover.answers.comparison import Arm, Best, Comparison, Gap
from crossover.base.arrays import Floats
from crossover.runs.estimates import CONFIDENCE, ENDS, Estimate

Ints = npt.NDArray[np.int_]
OVERRULED = 0.9
"""P of being better at the target than the recipe that leads the runs, above which another one is chosen."""
FALSE_CALLS = 0.05
_DRAWS = 8192
_EVEN = 0.01  # of a chance from a half, where a scale by it would be a quotient of nothings
_SUREST = 1 - 1e-6
_DOF = 4.0
_WIDTH = 2 * float(special.stdtrit(_DOF, 0.5 + CONFIDENCE / 2))


@dataclass(frozen=True)
class Levels:
    """Losses of recipes at a target, as the answers of their pairs have them together; zero is their mean."""

    names: list[str]
    told: list[tuple[Comparison, Gap]]
    a: Ints
    b: Ints
    """Which recipes each pair is of."""
    level: Floats
    variance: Floats
    """Squares of scales."""

    @property
    def loss(self) -> Floats:
        """Draws [draws, recipes]."""
        losses: Floats = self.level + draws(len(self.names)) * np.sqrt(self.variance)
        return losses


def levels(pairs: Sequence[Comparison]) -> Levels | None:
    """Of recipes compared each with each at one target; None of fewer than three that have an answer there."""
    every = list(dict.fromkeys(name for pair in pairs for name in (pair.a, pair.b)))
    if len(pairs) != len(every) * (len(every) - 1) // 2:
        return None
    names = _answered(pairs, every)
    told = [(pair, pair.gap) for pair in pairs if pair.gap and {pair.a, pair.b} <= set(names)]
    if len(names) < 3:
        return None
    a, b = (np.array([names.index(name) for name in side]) for side in zip(*((p.a, p.b) for p, _ in told), strict=True))
    median = np.array([gap.difference.value for _, gap in told])
    p = np.array([gap.p_b_beats_a for _, gap in told])
    width = np.diff([gap.spread.quantiles(ENDS) for _, gap in told])[:, 0]
    return Levels(names, told, a, b, *fit_levels(a, b, median, scales(median, p, width), len(names)))


def find_best(pairs: Sequence[Comparison]) -> Best | None:
    """The same, as an answer."""
    known = levels(pairs)
    if known is None:
        return None
    order = np.argsort(known.level, kind="stable")
    loss, ordered = known.loss[:, order], [known.names[i] for i in order]
    chosen, why = _choose(known)
    every = dict.fromkeys(name for pair in pairs for name in (pair.a, pair.b))
    return Best(
        x=known.told[0][1].x,
        choose=chosen,
        why=why,
        arms=list(_arms(loss, ordered)),
        contenders=[ordered[i] for i in contenders(loss)],
        groups=_groups(loss, ordered),
        called=_called([gap for _, gap in known.told], [(pair.a, pair.b) for pair, _ in known.told]),
        unknown=[name for name in every if name not in known.names],
    )


def _answered(pairs: Sequence[Comparison], names: list[str]) -> list[str]:
    """Without those, the fewest at a time, whose pairs have no answer."""
    names = list(names)
    while open_ := [
        name for pair in pairs if not pair.gap and {pair.a, pair.b} <= set(names) for name in (pair.a, pair.b)
    ]:
        names.remove(max(open_, key=open_.count))
    return names


def scales(median: Floats, p: Floats, width: Floats) -> Floats:
    """Of Student's t with medians and P(below zero), or where that is a half nearly, with the widths of 90%."""
    sure = np.minimum(np.maximum(p, 1 - p), _SUREST)
    by_chance = np.abs(median) / special.stdtrit(_DOF, np.maximum(sure, 0.5 + _EVEN))
    return np.where(sure > 0.5 + _EVEN, by_chance, width / _WIDTH)


def fit_levels(a: Ints, b: Ints, median: Floats, width: Floats, count: int) -> tuple[Floats, Floats]:
    """Levels [count], of mean zero, and variances of t, from medians and scales of b - a."""
    width = np.maximum(width, 1e-9 * max(float(np.abs(median).max()), 1e-300))
    rows = np.arange(len(a))
    apart, both = np.zeros((2, len(a), count))
    apart[rows, b], apart[rows, a] = 1.0, -1.0
    both[rows, b] = both[rows, a] = 1.0
    level = np.linalg.lstsq(apart / width[:, None], median / width, rcond=None)[0]
    variance = optimize.nnls(both / width[:, None] ** 2, np.ones(len(a)))[0]
    return level - level.mean(), variance


@cache
def draws(count: int) -> Floats:
    """[draws, count] of a standard t whose scale all share, the same whenever asked; each has its mirror image."""
    generator = np.random.default_rng(count)
    normal = generator.normal(size=(_DRAWS // 2, count))
    scale = np.sqrt(_DOF / generator.chisquare(_DOF, _DRAWS // 2))
    half = normal * scale[:, None]
    return np.concatenate([half, -half])


def choose(lead: Floats, p: Floats) -> tuple[int, int]:
    """The recipe that leads the runs, lowest in `lead` [N], and the one to choose.

    The latter is another one where its chance to be better than the first, in `p` [N, N], row against column, is over
    `OVERRULED`.
    """
    first = int(lead.argmin())
    better = int(p[:, first].argmax())
    return first, better if p[better, first] > OVERRULED else first


def contenders(loss: Floats) -> list[int]:
    """The fewest of draws' [draws, N] columns that hold the lowest with a probability of .9, the likeliest first."""
    best = _shares(loss)
    order = np.argsort(-best, kind="stable")
    return [int(i) for i in order[: int(np.searchsorted(np.cumsum(best[order]), CONFIDENCE)) + 1]]


def _shares(loss: Floats) -> Floats:
    """How often each is lowest."""
    return np.asarray(np.bincount(loss.argmin(1), minlength=loss.shape[1]) / len(loss))


def _choose(known: Levels) -> tuple[str, str]:
    """By the order at the largest common sizes, on average over the others."""
    count = len(known.names)
    lead, p = np.zeros(count), np.full((count, count), 0.5)
    for (pair, gap), i, j in zip(known.told, known.a, known.b, strict=True):
        d = pair.baseline.difference.value if pair.baseline else 0.0
        lead[i], lead[j] = lead[i] - d, lead[j] + d
        p[j, i], p[i, j] = gap.p_b_beats_a, 1 - gap.p_b_beats_a
    first, chosen = choose(lead, p)
    leader = known.names[first]
    if chosen == first:
        return leader, f"it leads where all were run, and none is better there with P above {OVERRULED:g}"
    why = f"P = {p[chosen, first]:.3f} that it is better there than {leader}, which leads where all were run"
    return known.names[chosen], why


def _arms(loss: Floats, names: list[str]) -> Iterator[Arm]:
    best = _shares(loss)
    behind = loss - loss.min(1, keepdims=True)
    rank = 1 + loss.argsort(1).argsort(1)
    ends = (0.5 - CONFIDENCE / 2, 0.5, 0.5 + CONFIDENCE / 2)
    low, middle, high = np.quantile(behind, ends, axis=0)
    first, _, last = np.quantile(rank, ends, axis=0, method="inverted_cdf")
    for i, name in enumerate(names):
        around = Estimate(float(middle[i]), None, (float(low[i]), float(high[i])))
        yield Arm(name, float(best[i]), around, (int(first[i]), int(last[i])))


def _groups(loss: Floats, names: list[str]) -> list[list[str]]:
    """Cut wherever the worst of those above is better than the best of those below in nine draws of ten."""
    above = np.maximum.accumulate(loss, axis=1)
    below = np.minimum.accumulate(loss[:, ::-1], axis=1)[:, ::-1]
    apart = (above[:, :-1] < below[:, 1:]).mean(0) >= CONFIDENCE
    cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(names)]
    return [names[start:end] for start, end in pairwise(cuts)]


def _called(gaps: Sequence[Gap], names: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Better and worse, the surest first."""
    wrong = np.array([min(gap.p_b_beats_a, 1 - gap.p_b_beats_a) for gap in gaps])
    order = np.argsort(wrong, kind="stable")
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    called = order[: int(np.searchsorted(share, FALSE_CALLS, side="right"))]
    return [names[i] if gaps[i].p_b_beats_a < 0.5 else names[i][::-1] for i in called]
