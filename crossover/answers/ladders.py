"""The runs of each recipe as a ladder: rungs, pair labels, and the recipe's own law, fitted once."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.answers.pairing import Pairs, pooled_noise
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.belief.difference import Lasting, Track
from crossover.laws.fit import Fitted, fit_law, lack_of_fit
from crossover.laws.objectives import squares
from crossover.runs.estimates import Estimate, interval
from crossover.runs.grouping import group_log
from crossover.runs.rows import require_positive

LOST = "diverged, missing or infinite"
COPIED = "the same recipe, size and loss as another row, to every digit: logged twice"
"""Why rows are left out."""
_SAME_X = 1e-6  # relative: x within this is one rung; x itself is never rounded
_DOUBT = 0.05
_DIGITS = 5  # of a loss, after its first, beyond which it is known by them
_MOST = 8  # rungs that runs at unlike sizes are gathered into
_FLOOR_RUNGS = 5  # sizes that a law needs before a floor is fitted: four can be met by any floor


@dataclass(frozen=True)
class Ladder:
    """One recipe's runs, sorted by `key`, which names a rung and a pair label."""

    name: str
    key: npt.NDArray[np.int64]
    x: Floats
    loss: Floats
    rung: npt.NDArray[np.int_]
    structural: npt.NDArray[np.bool_]
    label: npt.NDArray[np.object_] | None
    pairable: bool
    seed: npt.NDArray[np.int_]
    """Which pair label each has, as a number."""

    @property
    def log_x(self) -> Floats:
        """Natural logarithm of x."""
        logs: Floats = np.log(self.x)
        return logs


def make_ladders(
    x: Floats,
    loss: Floats,
    recipe: npt.NDArray[np.object_],
    pair: npt.NDArray[Any] | None,
    rung: npt.NDArray[Any] | None,
    structural: npt.NDArray[np.bool_],
) -> dict[str, Ladder]:
    """Ladders by recipe. Raises `UsageError` where one recipe has two runs with the same rung and pair label."""
    rungs = group_log(x, _SAME_X) if rung is None else np.unique(rung, return_inverse=True)[1]
    labels = np.zeros(len(x), int) if pair is None else np.unique(np.asarray(pair).astype(str), return_inverse=True)[1]
    key = rungs.astype(np.int64) * (int(labels.max(initial=0)) + 1) + labels
    names, codes = np.unique(recipe.astype(str), return_inverse=True)
    order = np.lexsort((key, codes))
    ends = np.searchsorted(codes[order], np.arange(len(names) + 1))
    ladders = {}
    for i, name in enumerate(names):
        rows = order[ends[i] : ends[i + 1]]
        repeated = bool((np.diff(key[rows]) == 0).any())
        if repeated and pair is not None:
            first = rows[:-1][np.diff(key[rows]) == 0][0]
            what = f"recipe '{name}' has two runs at x = {x[first]:g} with the pair label '{pair[first]}'"
            raise UsageError(f"{what}; drop the duplicates or name a column that tells them apart")
        ladders[str(name)] = Ladder(
            str(name),
            key[rows],
            x[rows],
            loss[rows],
            rungs[rows],
            structural[rows],
            None if rung is None else rung[rows],
            not repeated,
            labels[rows],
        )
    return ladders


def match(a: Ladder, b: Ladder) -> tuple[Pairs, list[str]]:
    """Pairs of runs with the same key, and which recipe has runs without a partner."""
    _, left, right = np.intersect1d(a.key, b.key, assume_unique=True, return_indices=True)
    x = 0.5 * (a.x[left] + b.x[right])
    codes = np.unique(a.rung[left], return_inverse=True)[1]
    if len(left):  # rungs numbered along x, whatever their labels
        counts = np.bincount(codes)
        codes = np.argsort(np.argsort(np.bincount(codes, x) / counts))[codes]
    same = (a.structural[left] & b.structural[right]) | _one_run(codes, a.loss[left], b.loss[right])
    label = None if a.label is None else a.label[left]
    pairs = Pairs(x, codes, a.loss[left], b.loss[right], same, label, a.seed[left])
    alone = {ladder.name: len(ladder.key) - len(left) for ladder in (a, b)}
    return pairs, [f"{count} run(s) of {name} have no partner" for name, count in alone.items() if count]


def _one_run(rung: npt.NDArray[np.int_], of_a: Floats, of_b: Floats) -> npt.NDArray[np.bool_]:
    """Pairs of rungs where both recipes ended, in every pair and to every digit, at the same loss."""
    if not len(rung):
        return np.zeros(0, bool)
    unlike = np.bincount(rung, (of_a != of_b) | ~_is_full(of_a))
    return np.asarray((unlike == 0)[rung])


def _is_full(loss: Floats) -> npt.NDArray[np.bool_]:
    """Losses of so many digits that two runs do not share one by chance."""
    largest = float(np.abs(loss).max(initial=0.0))
    share = loss / 10.0 ** math.floor(math.log10(largest)) if largest else loss
    return np.asarray(np.round(share, _DIGITS) != share)


def without_copies(x: Floats, loss: Floats, recipe: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which rows stay, where a row that has another one's recipe, x and loss, to every digit, is a copy of it."""
    codes = np.unique(recipe.astype(str), return_inverse=True)[1]
    rows = np.stack([codes.astype(float), x, loss], 1)
    stays = np.zeros(len(x), bool)
    stays[np.unique(rows, axis=0, return_index=True)[1]] = True
    return stays | ~_is_full(loss)


def follow(a: Ladder, b: Ladder, laws: "RecipeLaws | None" = None) -> Track | None:
    """Their difference at the rungs that both have, but those where they are one run; None below two of them.

    Runs that a pair label tells apart are differenced pair by pair, so that the noise they share cancels. Where fewer
    than two rungs are common, the runs of the recipe that has fewer are held against the other one's law, if `laws` are
    given: a rung's noise is then the scatter of both about their laws.
    """
    if a.pairable and b.pairable:
        both = match(a, b)[0]
        pairs = both.free()
        if len(both.d) and not len(pairs.d):
            return None
        if len(pairs.d) and pairs.rung.max() >= 1:
            mean, count = pairs.means(pairs.d)
            x, loss = pairs.means(pairs.x)[0], pairs.means((pairs.loss_a + pairs.loss_b) / 2)[0]
            noise = pooled_noise(pairs).at_least(x) ** 2
            share, seeds = _lasting(pairs, float(noise.mean()))
            lasting = Lasting(share * float(noise.mean()) / seeds, max(seeds - 1, 2)) if share else None
            return Track(x, mean, loss, (1 - share) * noise / count, float(noise[-1]), lasting).merged()
        return _follow_laws(a, b, laws)
    rungs = np.intersect1d(a.rung[~a.structural], b.rung[~b.structural])
    if len(rungs) < 2:
        return _follow_laws(a, b, laws)
    (x, left, n_a), (_, right, n_b) = (_means(ladder, rungs) for ladder in (a, b))
    noises = [_scatter(ladder.loss, np.unique(ladder.rung, return_inverse=True)[1]) for ladder in (a, b)]
    order = np.argsort(x)
    variance = (noises[0] / n_a + noises[1] / n_b)[order]
    return Track(x[order], (right - left)[order], (left + right)[order] / 2, variance, sum(noises)).merged()


def _follow_laws(a: Ladder, b: Ladder, laws: "RecipeLaws | None") -> Track | None:
    """Of runs at unlike sizes: at most eight rungs, each of neighbouring runs in the range that both cover.

    The other recipe's law is taken to be as uncertain at every run as one of its own runs is: what it is off by is
    common to the rungs, and as many runs of it as there are of the first would leave that.
    """
    low, high = max(a.log_x.min(), b.log_x.min()), min(a.log_x.max(), b.log_x.max())
    if laws is None or low >= high or a.structural.any() or b.structural.any():
        return None
    try:
        law_a, law_b = laws.both(a, b)
    except UsageError:
        return None
    inside = [(ladder.log_x >= low) & (ladder.log_x <= high) for ladder in (a, b)]
    mine = int(inside[1].sum() < inside[0].sum())
    ladder, other = (a, b)[mine], (law_b, law_a)[mine]
    log_x, loss = ladder.log_x[inside[mine]], ladder.loss[inside[mine]]
    if not len(log_x) or log_x.max() <= log_x.min():
        return None
    order = np.argsort(log_x, kind="stable")
    log_x, loss = log_x[order], loss[order]
    there = np.exp(other.problem.law.log_loss(log_x[None], other.theta[None])[0])
    groups = np.array_split(np.arange(len(log_x)), min(_MOST, len(np.unique(ladder.rung[inside[mine]]))))
    parts = [log_x, (loss - there) * (1 if mine else -1), (loss + there) / 2]
    x, d, both = (np.array([part[group].mean() for group in groups]) for part in parts)
    level = float(np.mean(loss))
    noise = (level * law_a.cov.residual_sd) ** 2 + (level * law_b.cov.residual_sd) ** 2
    return Track(np.exp(x), d, both, noise / np.array([len(group) for group in groups]), noise)


def price_of(x: Floats, cost: Floats, recipe: npt.NDArray[np.object_], a: str, b: str) -> Estimate | None:
    """What a unit of x costs with B over what it costs with A: the mean of logarithms over common sizes.

    Of every size the median run counts. None where the two share no size; one size alone has no interval, more a t one.
    """
    size, paid = group_log(x, _SAME_X), np.log(cost / x)
    common = np.intersect1d(size[recipe == a], size[recipe == b])
    if not len(common):
        return None
    of_a, of_b = ([np.median(paid[(recipe == name) & (size == k)]) for k in common] for name in (a, b))
    apart = np.subtract(of_b, of_a)
    error = float(apart.std(ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    low, high = interval(float(apart.mean()), error, len(apart) - 1).ci or (None, None)
    ci = None if low is None or high is None else (math.exp(low), math.exp(high))
    return Estimate(math.exp(float(apart.mean())), None, ci)


def _means(ladder: Ladder, rungs: npt.NDArray[np.int_]) -> tuple[Floats, Floats, Floats]:
    """Size, mean loss and number of runs at some rungs."""
    here = np.isin(ladder.rung, rungs)
    place = np.searchsorted(rungs, ladder.rung[here])
    count = np.bincount(place).astype(float)
    return np.bincount(place, ladder.x[here]) / count, np.bincount(place, ladder.loss[here]) / count, count


def _scatter(values: Floats, group: npt.NDArray[np.int_]) -> float:
    """Variance within groups, pooled; zero where no group has two."""
    count = np.bincount(group)
    freedom = len(values) - len(count)
    return float(((values - (np.bincount(group, values) / count)[group]) ** 2).sum() / freedom) if freedom else 0.0


def _lasting(pairs: Pairs, noise: float) -> tuple[float, int]:
    """Share of the noise of pairs that a seed has at every size alike, and how many seeds tell.

    By what the scatter of a seed at one size has in common with its scatter at others; of that, what is more than its
    standard error where nothing lasts.
    """
    some = pairs.on(np.bincount(pairs.rung)[pairs.rung] > 1)
    if not noise or some.seed is None or not len(some.d):
        return 0.0, 0
    mean, count = some.means(some.d)
    off, seed = some.d - mean[some.rung], np.unique(some.seed, return_inverse=True)[1]
    times, sums, squares = (np.bincount(seed, part) for part in (np.ones(len(off)), off, off**2))
    rungs, seeds, both = len(count), len(times), float((times * (times - 1)).sum())
    if rungs < 2 or not both:
        return 0.0, 0
    usual = 1 - 1 / float(count.mean())
    share = float((sums**2 - squares).sum()) / both / usual / noise
    error = math.sqrt(2 / (rungs * (rungs - 1) * max(seeds - 1, 1)))
    return min(max(share - error, 0.0), 1.0), seeds


class RecipeLaws:
    """Each recipe's own law: the one asked for, or with `auto` a power law, with a floor where five sizes carry it."""

    def __init__(self, law: str) -> None:
        self._law = law
        self._fits: dict[tuple[str, str], Fitted] = {}

    def both(self, a: Ladder, b: Ladder, law: str | None = None) -> tuple[Fitted, Fitted]:
        """The same law for both recipes. Raises `UsageError` where the runs of one cannot carry it."""
        for ladder in (a, b):
            require_positive({f"the losses of {ladder.name}": ladder.loss})
        wanted = law or self._law
        if wanted == "auto":
            sizes = min(len(np.unique(ladder.rung)) for ladder in (a, b))
            wanted = default_law(sizes)
        return self._of(a, wanted), self._of(b, wanted)

    def _of(self, ladder: Ladder, law: str) -> Fitted:
        key = (ladder.name, law)
        if key not in self._fits:
            inputs = {"x": ladder.x}
            fitted = fit_law(law, inputs, ladder.loss, objective=squares(True), starts=3, intervals=False)
            self._fits[key] = honest(fitted)
        return self._fits[key]


def default_law(sizes: int) -> str:
    """The law of one input that so many sizes carry."""
    return "power_floor" if sizes >= _FLOOR_RUNGS else "power"


def honest(fitted: Fitted) -> Fitted:
    """With the scatter of the sizes about the law as its noise, where that is more than repeated runs explain."""
    lack = lack_of_fit(fitted.problem, fitted.theta)
    if lack is None or lack.p > _DOUBT:
        return fitted
    inflated = replace(fitted.cov, matrix=fitted.cov.matrix * lack.inflation, dof=lack.dof)
    return replace(fitted, cov=inflated)
