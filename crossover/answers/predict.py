"""From runs to a forecast at a target that nobody has trained: each recipe's loss, and who wins.

A recipe's loss is asked of the belief that `advise` asks (`crossover.belief.posterior`): every law with a floor that
the runs leave open, and what such laws lack. The realised mean of k runs scatters about it by the noise of a run over
sqrt(k). On published ladders that holds more often than the interval of the one law that fits best, which is what is
given for laws that the belief does not know. Who wins is asked of the belief that `compare` asks: which recipe is the
better one, and whose mean of k runs will be the lower one. Recipes that share no range of x are told apart by their two
losses, taken as independent.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.answers.advising.standing import ADVISED, await_losses, believe_runs, is_believed
from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Comparison, Comparisons
from crossover.answers.ladders import default_law, honest
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.fields import Finite, Fraction, Positive, Strict
from crossover.laws.fit import Fitted, fit_law, line
from crossover.laws.intervals import law_errors
from crossover.laws.laws import get_law
from crossover.laws.objectives import squares
from crossover.laws.result import LinePoint
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import CONFIDENCE, digest_arrays, t_factor
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure

SAME = 0.01
"""Places whose inputs agree to this share are one place."""


class Expected(Strict):
    """What is believed of the mean loss of `runs` new runs of one recipe at the target, in the unit of the loss."""

    formula: str
    """Of the one law that fits best, with its parameters."""
    params: dict[str, Finite]
    value: Finite
    low: Finite
    high: Finite
    """The ends of the interval."""
    sd: Positive
    """Of the realised mean about `value`: what is not known of the recipe, and noise of the runs."""
    dof: Finite
    """Degrees of freedom of a law's interval; of the belief's, which is normal, the runs that it rests on."""


class PairChance(Strict):
    """How likely B's realised mean loss is below A's."""

    a: str
    b: str
    p_b_wins: Fraction
    difference: Finite
    """Median of loss(B) - loss(A), without the noise of runs, which `p_b_wins` and `sd` have."""
    sd: Finite
    """Of the realised difference."""
    p_b_better: Fraction | None = None
    """How likely B is the better recipe there: the same without the noise of single runs."""


@dataclass(frozen=True)
class Evidence:
    """Runs to forecast from: n losses at n places, each with its recipe."""

    inputs: Mapping[str, Floats]
    """One array of n positive values per input of the law."""
    loss: Floats
    recipe: npt.NDArray[Any]
    pair: npt.NDArray[Any] | None = None
    rung: npt.NDArray[Any] | None = None
    structural: npt.NDArray[np.bool_] | None = None

    @property
    def digest(self) -> str:
        """Of the numbers."""
        return digest_arrays(*self.inputs.values(), self.loss)

    def places(self) -> list[dict[str, float]]:
        """Where finished runs lie, each place once."""
        columns = np.array(list(self.inputs.values()))[:, np.isfinite(self.loss)]
        return [dict(zip(self.inputs, map(float, place), strict=True)) for place in np.unique(columns.T, axis=0)]

    def nearest(self, at: Mapping[str, float]) -> dict[str, float]:
        """Mean loss of each recipe's finished runs at its place nearest to a target, in logarithms of the inputs."""
        logs = np.log(np.array([values / at[name] for name, values in self.inputs.items()]))
        away, found = np.hypot.reduce(logs, axis=0), {}
        for name in dict.fromkeys(self.recipe.tolist()):
            mine = np.flatnonzero((self.recipe == name) & np.isfinite(self.loss))
            if len(mine):
                here = mine[np.abs(away[mine] - away[mine].min()) < SAME]
                found[str(name)] = float(self.loss[here].mean())
        return found

    def lever_arm(self, at: Mapping[str, float]) -> float:
        """Decades by which the target lies outside the runs, by the input for which that is most."""
        places = {name: np.log10([place[name] for place in self.places()]) for name in at}
        here = {name: math.log10(value) for name, value in at.items()}
        return max(float(max(0.0, here[n] - logs.max(), logs.min() - here[n])) for n, logs in places.items())


def among(at: Mapping[str, float], places: Sequence[Mapping[str, float]]) -> bool:
    """Whether a target is one of some places."""
    return any(all(abs(math.log(place[name] / value)) < SAME for name, value in at.items()) for place in places)


@dataclass(frozen=True)
class Prediction(Answer):
    """What each recipe's loss will be at a target, and who wins there."""

    at: dict[str, float]
    lever_arm_decades: float
    """How far outside the runs the target lies, by the input for which that is furthest."""
    runs: int
    """How many runs of each recipe the mean loss at the target is of."""
    confidence: float
    recipes: dict[str, Expected]
    pairs: list[PairChance]
    n_rows: int
    digest: str
    left_out: list[LeftOut] = field(default_factory=list)
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    lines: dict[str, list[LinePoint]] = field(default_factory=dict, repr=False, compare=False)
    """For the figure alone, as the evidence: laws of one input from the smallest run to the target."""
    axes: tuple[str, str] = field(default=("x", "loss"), repr=False, compare=False)
    """What x and the loss are called there."""
    comparisons: Comparisons | None = field(default=None, repr=False, compare=False)

    def said(self, name: str = "forecast") -> Iterator[Block]:
        """Every recipe's law and loss at the target, and who wins."""
        from crossover.answers.words import prediction_said

        return prediction_said(self, name)

    def draw(self) -> "Figure":
        """Differences and losses along x, on to the target; of two inputs the losses alone."""
        from crossover.answers.figure import draw_pairs
        from crossover.plots.losses import draw_places, place_rows

        x = float(np.prod(list(self.at.values())))
        ends = {name: (item.value, item.low, item.high) for name, item in self.recipes.items()}
        if self.comparisons is not None and self.comparisons.pairs:
            title = "Difference between recipes, and losses at the target"
            pairs, runs = self.comparisons.pairs, self.comparisons.runs
            return draw_pairs(pairs, runs, self.axes, "predict", title, place_rows(x, ends))
        columns = None
        if (known := self.evidence) is not None:
            columns = (np.prod([*known.inputs.values()], 0), known.loss, known.recipe)
        return draw_places(columns, self.lines, place_rows(x, ends), self.axes)


def predict(
    runs: Evidence, at: Mapping[str, float], *, count: int = 1, law: str | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> Prediction:  # fmt: skip
    """Every recipe's mean loss of `count` runs at a target, and who wins.

    Args:
        runs: what is known.
        at: the target, one positive value per input.
        count: runs of each recipe that there will be.
        law: of all recipes; by default a power law, with a floor where five sizes carry it, or `chinchilla`.
        pairs: (A, B) to compare; all where absent.

    Raises:
        UsageError: a law that cannot be fitted, or leaves no interval.
    """
    runs, left_out = _finished(runs)
    fits = {str(name): _own_law(runs, name, law) for name in dict.fromkeys(runs.recipe.tolist())}
    believed = law or ("power_floor" if "x" in runs.inputs else "chinchilla")
    expected = {name: _expected(runs, name, fitted, at, count, believed) for name, fitted in fits.items()}
    wanted = list(combinations(expected, 2)) if pairs is None else [two for two in pairs if set(two) <= set(expected)]
    compared = _compared(runs, at, law, wanted)
    return Prediction(
        at=dict(at), lever_arm_decades=runs.lever_arm(at), runs=count, confidence=CONFIDENCE, recipes=expected,
        pairs=_chances(runs, at, count, law, expected, wanted, compared), n_rows=len(runs.loss), digest=runs.digest,
        left_out=left_out, evidence=runs,
        lines={name: line(fitted, *([at["x"]] if "x" in at else [])) for name, fitted in fits.items()},
        comparisons=compared,
    )  # fmt: skip


def _finished(runs: Evidence) -> tuple[Evidence, list[LeftOut]]:
    """The runs that have a loss, and of which recipes others are left out."""
    fine = np.isfinite(runs.loss) & np.isfinite(np.array(list(runs.inputs.values()))).all(0)
    if fine.all():
        return runs, []
    lost, counts = np.unique(runs.recipe[~fine].astype(str), return_counts=True)
    rest = (None if part is None else part[fine] for part in (runs.pair, runs.rung, runs.structural))
    kept = Evidence(
        {name: values[fine] for name, values in runs.inputs.items()}, runs.loss[fine], runs.recipe[fine], *rest
    )
    named = zip(lost.tolist(), counts.tolist(), strict=True)
    return kept, [LeftOut(f"{name}: diverged, missing or infinite", count) for name, count in named]


def _own_law(runs: Evidence, recipe: Any, law: str | None) -> Fitted:
    rows = runs.recipe == recipe
    inputs = {name: values[rows] for name, values in runs.inputs.items()}
    if law is None:
        sizes = len(np.unique(np.log(inputs["x"][np.isfinite(runs.loss[rows])]).round(6))) if "x" in inputs else 0
        law = default_law(sizes) if "x" in inputs else "chinchilla"
    try:
        return honest(fit_law(law, inputs, runs.loss[rows], objective=squares(True), intervals=False))
    except UsageError as error:
        raise UsageError(f"recipe '{recipe}': {error}") from None


def _expected(runs: Evidence, name: str, fitted: Fitted, at: Mapping[str, float], count: int, law: str) -> Expected:
    rows = runs.recipe.astype(str) == name
    if is_believed(law, int(rows.sum())):
        inputs = {key: runs.inputs[key][rows] for key in get_law(law).inputs}
        (loss,) = await_losses(get_law(law), inputs, runs.loss[rows], [at])
        value, sd, dof = loss.value, loss.sd_of(count), int(rows.sum())
        low, high = loss.interval(count)
    else:
        value, total, dof = _by_fit(name, fitted, at, count)
        factor, sd = t_factor(dof) or math.inf, value * total
        low, high = (value * math.exp(sign * factor * total) for sign in (-1, 1))
    params = {key: item.value for key, item in fitted.fit.params.items()}
    return Expected(formula=fitted.fit.formula, params=params, value=value, low=low, high=high, sd=sd, dof=float(dof))


def _by_fit(name: str, fitted: Fitted, at: Mapping[str, float], count: int) -> tuple[float, float, int]:
    """The law's value, its relative s.d. for the mean of `count` runs, and its degrees of freedom."""
    place = np.log([[at[key]] for key in fitted.problem.law.inputs])
    logs, errors = law_errors(fitted.problem, fitted.theta, fitted.cov, place)
    total = math.hypot(float(errors[0]), fitted.cov.residual_sd / math.sqrt(count))
    if t_factor(fitted.cov.dof) is None or not 0 < total < math.inf:
        raise UsageError(f"recipe '{name}': its runs leave no interval for {fitted.fit.formula}; add sizes or seeds")
    return math.exp(float(logs[0])), total, fitted.cov.dof


def _compared(
    runs: Evidence, at: Mapping[str, float], law: str | None, wanted: Sequence[tuple[str, str]]
) -> Comparisons | None:
    """Of runs along one x; None where there is no pair, or more than one input."""
    if not wanted or "x" not in runs.inputs:
        return None
    return compare(
        runs.inputs["x"], runs.loss, runs.recipe, pair=runs.pair, rung=runs.rung, structural=runs.structural,
        pairs=wanted, settings=Settings(law or "auto", at["x"], sensitivity=False),
    )  # fmt: skip


def _chances(
    runs: Evidence, at: Mapping[str, float], count: int, law: str | None, expected: Mapping[str, Expected],
    wanted: Sequence[tuple[str, str]], compared: Comparisons | None,
) -> list[PairChance]:  # fmt: skip
    """Who wins, for every pair."""
    found = {(item.a, item.b): item for item in compared.pairs} if compared else {}
    return [_chance(a, b, found.get((a, b)), runs, at, count, law or "chinchilla", expected) for a, b in wanted]


def _chance(
    a: str, b: str, item: Comparison | None, runs: Evidence, at: Mapping[str, float], count: int, law: str,
    expected: Mapping[str, Expected],
) -> PairChance:  # fmt: skip
    if item and item.outlook and item.gap:
        spread = item.gap.spread.with_noise(item.outlook.track.noise / count)
        return PairChance(
            a=a, b=b, p_b_wins=spread.p_b_wins, difference=item.gap.difference.value, sd=spread.sd,
            p_b_better=item.gap.p_b_beats_a,
        )  # fmt: skip
    if "x" not in runs.inputs and law in ADVISED:
        return _by_laws(a, b, runs, at, count, law)
    value, sd = expected[b].value - expected[a].value, math.hypot(expected[a].sd, expected[b].sd)
    dof = min(expected[a].dof, expected[b].dof)
    return PairChance(a=a, b=b, p_b_wins=float(special.stdtr(dof, -value / sd)), difference=value, sd=sd)


def _by_laws(a: str, b: str, runs: Evidence, at: Mapping[str, float], count: int, law: str) -> PairChance:
    """Of two inputs, as `advise` says it."""
    chosen = np.isin(runs.recipe.astype(str), [a, b])
    recipe = runs.recipe[chosen].astype(str)
    rows = np.argsort(recipe == b, kind="stable")  # A first
    inputs = {name: runs.inputs[name][chosen][rows] for name in get_law(law).inputs}
    pair = None if runs.pair is None else runs.pair[chosen][rows]
    known = believe_runs(get_law(law), inputs, runs.loss[chosen][rows], recipe[rows].tolist(), pair)
    goal = np.log([[at[name]] for name in inputs])
    now, noise = known.at(goal), known.noise(goal)
    sd = math.hypot(now.sd, noise / math.sqrt(count))
    p = float(special.ndtr(-now.value / sd))
    return PairChance(a=a, b=b, p_b_wins=p, difference=now.value, sd=sd, p_b_better=now.b_wins)
