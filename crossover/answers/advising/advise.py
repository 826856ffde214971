"""Which runs to make next: the sequence of cells that tells most about the answer at a target, for its cost.

    advise({"N": n, "D": d}, loss, Candidates({"N": cn, "D": cd}, cost), [{"N": 7e9, "D": 2e12}], budget=1e21)

The answer is the loss at the target or, of two recipes, which one has the lower loss there; where that stands is what
`compare` and `predict` say of the same runs. A belief (`crossover.belief.posterior`) holds every law that the runs
leave open; a cell's worth is how much its result is expected to narrow the answer (`advising.sequence`). Of two recipes
that worth is the knowledge gradient: the loss that one expects to save by choosing after the result instead of now
(Frazier, Powell and Dayanik 2008). Run the first cells, add their rows, ask again: what they turn out to be
moves all that follows. Sequential design for scaling laws by expected reduction of error at a target: Li et al. 2026,
arXiv 2604.22753.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from crossover.answers.advising.choices import SURE, Candidates, Table, check_budget, find_partners, read_candidates
from crossover.answers.advising.sequence import Cells, Chosen, Worth, plan
from crossover.answers.advising.standing import ADVISED, Known, Standing, believe_runs
from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Comparisons
from crossover.answers.decision import knowledge_gradient
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.numerals import short
from crossover.belief.posterior import Belief, Ints, Rows
from crossover.laws.law import Law
from crossover.laws.laws import get_law
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure

_LITTLE = 1 / 3  # of one run's noise: an answer of one recipe is settled where the rest would move it by less
_LIMIT = 1000
_TINY = 1e-6  # of the answer's standard deviation: a gain below it is none


@dataclass(frozen=True)
class Step:
    """One step: candidates to run (two where a pair is best run at once), and what is expected after it."""

    cells: list[int]
    """Row numbers of the candidates, from 0."""
    at: dict[str, float]
    recipe: list[str]
    pair: str | None
    """Pair label of the cells, where candidates have them."""
    cost: float
    cumulative_cost: float
    sd: float
    """Expected standard deviation of the answer after this step and those before it."""
    regret: float | None = None
    """Expected regret of choosing then."""


@dataclass(frozen=True)
class Advice(Answer):
    """What to run next, what that is expected to bring, and whether to stop."""

    law: str
    targets: list[dict[str, float]]
    recipes: list[str]
    n_rows: int
    budget: float
    noise_sd: float
    """Of a run's loss at the target."""
    discrepancy_sd: float
    """Of the part of the loss that the law does not have."""
    now: Standing
    steps: list[Step]
    moves: float
    """Standard deviation by which the steps together are expected to move the answer."""
    flips: float | None
    """P(the steps together change which recipe looks better)."""
    stop: bool
    enough: int
    """How many of the steps are worth making; 0 with `stop`."""
    why: str
    left_out: list[LeftOut] = field(default_factory=list)
    unit: str = "cost"
    """Of costs and the budget."""
    pair: str | None = None
    """What pair labels are called: the seed."""
    axes: tuple[str, str] = field(default=("x", "loss"), repr=False, compare=False)
    """What x and the loss are called in the figure."""
    comparisons: Comparisons | None = field(default=None, repr=False, compare=False)
    """Of two recipes along one x, for the figure; not part of the JSON."""

    def on_axes(self, axes: tuple[str, str]) -> "Advice":
        """The same, with what x and the loss are called in the figure."""
        return replace(self, axes=axes)

    def said(self) -> Iterator[Block]:
        """Where the answer stands, the next steps, and whether to go on."""
        from crossover.answers.advising.words import advice_said

        return advice_said(self)

    def draw(self) -> "Figure":
        """Of two recipes their difference and losses, with the runs to make next; else what is left after each step."""
        from crossover.answers.figure import draw_pairs
        from crossover.plots.charts import draw_advice

        if self.comparisons is None or not self.comparisons.pairs[0].rungs:
            return draw_advice(self)
        steps = [{"layer": "next", "step": i, "x": step.at["x"]} for i, step in enumerate(self.steps[: self.enough], 1)]
        title = "Difference between recipes, and the runs to make next (dotted)"
        return draw_pairs(self.comparisons.pairs, self.comparisons.runs, self.axes, "advise", title, steps)


def advise(
    inputs: Mapping[str, Floats],
    loss: Floats,
    candidates: Candidates,
    targets: Sequence[Mapping[str, float]],
    budget: float,
    *,
    law: str = "chinchilla",
    recipe: Sequence[str] | None = None,
    pair: Sequence[Any] | None = None,
    noise: float | None = None,
    sure: float = SURE,
) -> Advice:
    """Advise on the next cells.

    Args:
        inputs: one array of n positive values per input of the law.
        loss: n positive losses; rows where one is missing or infinite are left out.
        candidates: cells that could be run.
        targets: places whose loss is wanted; of two recipes one.
        budget: what the cells may cost together, in the candidates' unit.
        law: one of `ADVISED`.
        recipe: n names, of one or two recipes; A is the first one.
        pair: n labels (seeds); runs of two recipes at one place with one label share a part of their noise.
        noise: standard deviation of a run's loss; estimated where absent.
        sure: probability at which an answer is taken as settled.

    Raises:
        UsageError: no law of `ADVISED`, too few runs, a value that is not positive, three recipes, no candidate.
    """
    chosen = _law(law)
    _check(budget, noise, sure, targets)
    known = believe_runs(chosen, inputs, loss, recipe, pair, noise)
    names = known.names
    cells = read_candidates(chosen, candidates, names)
    if len(names) == 2 and len(targets) > 1:
        raise UsageError("which of two recipes wins is asked at one target; name one")
    goal = np.log([[_positive(place, name) for place in targets] for name in chosen.inputs])
    standing = known.at(goal)
    compared = None
    if len(names) == 2 and "x" in inputs:
        compared = _compared(inputs["x"], loss, recipe, pair, names, targets[0]["x"])
        standing = _as_compared(compared) or standing
    return replace(_advice(known, standing, cells, goal, budget, sure), comparisons=compared)


def _compared(
    x: Floats, loss: Floats, recipe: Sequence[str] | None, pair: Sequence[Any] | None, names: list[str], target: float
) -> Comparisons:
    assert recipe is not None
    labels = None if pair is None else np.asarray(pair)
    settings = Settings(target=target, sensitivity=False)
    return compare(x, loss, recipe, pair=labels, pairs=[(names[0], names[1])], settings=settings)


def _as_compared(found: Comparisons) -> Standing | None:
    """Where the choice stands, as `compare` says it; None where it is undecided for want of a common range."""
    gap = found.pairs[0].gap
    if gap is None or gap.difference.se is None:
        return None
    return Standing(gap.difference.value, gap.difference.se, gap.p_b_beats_a, gap.decision.expected_regret)


def _law(name: str) -> Law:
    found = get_law(name)
    if name not in ADVISED:
        raise UsageError(f"no advice by law '{name}'; use one of {', '.join(ADVISED)}")
    return found


def _check(budget: float, noise: float | None, sure: float, targets: Sequence[Mapping[str, float]]) -> None:
    check_budget(budget, sure)
    if noise is not None and not 0 < noise < math.inf:
        raise UsageError(f"the noise must be positive and finite; got {noise:g}")
    if not targets:
        raise UsageError("name a target")


def _positive(place: Mapping[str, float], name: str) -> float:
    value = place.get(name)
    if value is None or not 0 < value < math.inf:
        raise UsageError(f"the target needs a positive {name}; got {value}")
    return value


@dataclass(frozen=True)
class _Question:
    """What is asked: P quantities (candidates, runs, the law at the targets) and the answers they combine to."""

    mean: Floats
    cov: Floats
    answer: Floats
    """[P, T]; of two recipes the difference at the target."""
    now: Standing

    @property
    def variance(self) -> float:
        return float(np.einsum("pt,pq,qt->", self.answer, self.cov, self.answer))


def _ask(belief: Belief, rows: Rows, cells: Table, code: Ints, goal: Floats, now: Standing) -> _Question:
    """The laws' covariance, in the measure of what is open of the answer as it stands."""
    recipes, count = belief.model.recipes, goal.shape[1]
    places = np.concatenate([cells.log_x, rows.log_x, np.tile(goal, (1, recipes))], 1)
    mean, cov = belief.at(places, np.concatenate([code, rows.recipe, np.repeat(np.arange(recipes), count)]))
    answer = np.zeros((len(mean), count))
    answer[-recipes * count :] = np.array([[-1.0], [1.0]]) if recipes == 2 else np.eye(count) / math.sqrt(count)
    open_by_laws = float(np.einsum("pt,pq,qt->", answer, cov, answer))
    return _Question(mean, cov, answer * (now.sd / math.sqrt(max(open_by_laws, 1e-300))), now)


def _advice(known: Known, now: Standing, cells: Table, goal: Floats, budget: float, sure: float) -> Advice:
    belief, names = known.belief, known.names
    code = np.array([names.index(name) for name in cells.recipe])
    question = _ask(belief, known.rows, cells, code, goal, now)
    partner, measured = find_partners(cells, code, known.rows, known.label)
    loss = question.mean[: len(code)]
    other = np.where(measured >= 0, question.mean[measured], np.where(partner >= 0, loss[partner], loss))
    spread = belief.noise.sd**2 * np.abs(loss * other)  # a pair's two runs are taken to have noise of one size
    options = Cells(np.arange(len(code)), spread, cells.cost, partner, measured, belief.noise.shared)
    steps = plan(question.cov, question.answer, options, budget, _worth(question), _LIMIT)
    variance = [question.variance, *(step.variance for step in steps)]
    noise = belief.noise.sd * abs(float(question.mean[-goal.shape[1] :].mean()))
    enough, flips, why = _enough(now, variance, noise, sure, names)
    inputs = belief.model.law.inputs
    return Advice(
        law=belief.model.law.name,
        targets=[dict(zip(inputs, np.exp(place).tolist(), strict=True)) for place in goal.T],
        recipes=[name for name in names if name],
        n_rows=len(known.rows.recipe),
        budget=budget,
        noise_sd=noise,
        discrepancy_sd=belief.noise.discrepancy * belief.model.level,
        now=now,
        steps=_steps(steps, cells, now, inputs),
        moves=_move(variance[0], variance[-1]),
        flips=flips,
        stop=enough == 0,
        enough=enough,
        why=why,
        left_out=known.left_out,
    )


def _move(before: float, after: float) -> float:
    """Standard deviation by which results that leave variance `after` move an estimate of variance `before`."""
    return math.sqrt(max(before - after, 0.0))


def _worth(question: _Question) -> Worth:
    """The knowledge gradient of two recipes; where no single cell has any (it underflows), and of one, the variance."""

    def worth(removed: Floats) -> Floats:
        gain = knowledge_gradient(question.now.value, np.sqrt(removed))
        return gain if gain.max() > _TINY * math.sqrt(question.variance) else removed

    return worth if question.now.b_wins is not None else lambda removed: removed


def _steps(chosen: list[Chosen], cells: Table, now: Standing, inputs: tuple[str, ...]) -> list[Step]:
    steps, spent = [], 0.0
    for item in chosen:
        spent += item.cost
        regret = None
        if now.regret is not None:
            saved = knowledge_gradient(now.value, np.array([_move(now.sd**2, item.variance), now.sd]))
            regret = now.regret * max(1 - float(saved[0] / max(saved[1], 1e-300)), 0.0)
        first = item.cells[0]
        steps.append(
            Step(
                cells=list(item.cells),
                at=dict(zip(inputs, np.exp(cells.log_x[:, first]).tolist(), strict=True)),
                recipe=[str(cells.recipe[cell]) for cell in item.cells if cells.recipe[cell]],
                pair=str(cells.label[first]) or None,
                cost=item.cost,
                cumulative_cost=spent,
                sd=_move(item.variance, 0.0),
                regret=regret,
            )
        )
    return steps


def _enough(
    now: Standing, variance: list[float], noise: float, sure: float, names: list[str]
) -> tuple[int, float | None, str]:
    """How many steps are worth making, the chance that all of them flip the decision, and the reason in words."""
    if len(variance) == 1:
        why = "no candidate is within the budget and tells anything about the answer"
        return 0, None if now.b_wins is None else 0.0, why
    moves = [_move(at, variance[-1]) for at in variance[:-1]]  # by all steps that are left
    if now.b_wins is None:
        worth = sum(move > _LITTLE * noise for move in moves)
        if not worth:
            little = f"less than a third of one run's noise, {short(noise, 2)}"
            return 0, None, f"all of it would move the answer by {short(moves[0], 2)}, {little}"
        return (
            worth,
            None,
            f"after {worth} step(s) the rest would move the answer by less than a third of one run's noise",
        )
    flips = [float(special.ndtr(-abs(now.value) / max(move, 1e-300))) for move in moves]
    winner, chance = (names[1], now.b_wins) if now.b_wins > 0.5 else (names[0], 1 - now.b_wins)
    if chance >= sure:
        return 0, flips[0], f"{winner} wins with probability {chance:.3f}, over {sure:g}"
    if flips[0] < 1 - sure:
        return (
            0,
            flips[0],
            f"all of it would take the decision away from {winner} with probability {short(flips[0], 2)} only",
        )
    worth = sum(flip >= 1 - sure for flip in flips)
    return worth, flips[0], f"if {winner} still looks better after {worth} step(s), the rest would hardly change that"
