"""Which runs to make next: the sequence of cells that tells most about the answer at a target, for its cost.

    advise({"N": n, "D": d}, loss, Candidates({"N": cn, "D": cd}, cost), [{"N": 7e9, "D": 2e12}], budget=1e21)

The answer is the loss at the target or, of two recipes, which one has the lower loss there. A belief
(`crossover.belief.posterior`) holds every law that the runs leave open; a cell's worth is how much its result is
expected to narrow the answer (`crossover.answers.sequence`). Of two recipes that worth is the knowledge gradient: the
loss that one expects to save by choosing after the result instead of now (Frazier, Powell and Dayanik 2008). Run the
first cells, add their rows, ask again: what they turn out to be moves all that follows. Sequential design for scaling
laws by expected reduction of error at a target: Li et al. 2026, arXiv 2604.22753.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import special

from crossover.answers.choices import Candidates, Table, find_partners, order_runs, read_candidates, read_finished
from crossover.answers.sequence import Cells, Chosen, Worth, plan
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.belief.posterior import Belief, Ints, Rows, believe
from crossover.laws.laws import Law, get_law
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure

SURE = 0.95
ADVISED = ("power", "power_floor", "chinchilla", "chinchilla_shared")
"""Laws whose shape are exponents alone, so that a belief can hold all of them."""
_LITTLE = 1 / 3  # of one run's noise: an answer of one recipe is settled where the rest would move it by less
_LIMIT = 1000
_TINY = 1e-6  # of the answer's standard deviation: a gain below it is none


@dataclass(frozen=True)
class Standing:
    """The answer at the target as it stands. Losses are in the unit of the runs'."""

    value: float
    """Loss at the target (mean over targets), or of two recipes loss(B) - loss(A)."""
    sd: float
    """Its standard deviation (root mean square over targets)."""
    b_wins: float | None = None
    """P(B has the lower loss)."""
    regret: float | None = None
    """Loss that one expects to lose by choosing the likelier winner now."""


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

    def said(self) -> Iterator[Block]:
        """Where the answer stands, the next steps, and whether to go on."""
        from crossover.answers.words import advice_said

        return advice_said(self)

    def draw(self) -> "Figure":
        """What is left to know after each step, along what the steps cost together."""
        from crossover.plots.charts import draw_advice

        return draw_advice(self)


def knowledge_gradient(mean: float, moves: Floats) -> Floats:
    """Expected gain of choosing between two by the sign of a difference, after its estimate has moved.

    With today's estimate `mean` and a move of standard deviation `moves` [J]: s phi(mean/s) - |mean| Phi(-|mean|/s)
    (Frazier, Powell and Dayanik 2008), in the unit of the mean. A total move gives the regret of choosing now.
    """
    moves = np.maximum(moves, 1e-300)
    ratio = np.minimum(abs(mean) / moves, 1e6)
    gain = moves * np.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi) - abs(mean) * special.ndtr(-ratio)
    least: Floats = np.maximum(gain, 0.0)
    return least


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
    runs, losses, left_out = read_finished(chosen, inputs, loss, recipe, pair)
    names = list(dict.fromkeys(runs.recipe.tolist()))
    cells = read_candidates(chosen, candidates, names)
    if len(names) == 2 and len(targets) > 1:
        raise UsageError("which of two recipes wins is asked at one target; name one")
    goal = np.log([[_positive(place, name) for place in targets] for name in chosen.inputs])
    rows, order = order_runs(runs, names)
    losses = losses[order]
    relative = None if noise is None else noise / float(np.exp(np.log(losses).mean()))
    belief = believe(chosen, rows, losses, len(names), sd=relative)
    return _advice(belief, rows, runs.label[order], cells, goal, budget, names, sure, left_out)


def _law(name: str) -> Law:
    found = get_law(name)
    if name not in ADVISED:
        raise UsageError(f"no advice by law '{name}'; use one of {', '.join(ADVISED)}")
    return found


def _check(budget: float, noise: float | None, sure: float, targets: Sequence[Mapping[str, float]]) -> None:
    if not 0 < budget < math.inf:
        raise UsageError(f"the budget must be positive and finite; got {budget:g}")
    if noise is not None and not 0 < noise < math.inf:
        raise UsageError(f"the noise must be positive and finite; got {noise:g}")
    if not 0.5 < sure < 1:
        raise UsageError(f"sure must be over 0.5 and under 1; got {sure:g}")
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
    two: bool

    @property
    def value(self) -> float:
        told = self.answer.T @ self.mean
        return float(told[0] if self.two else told.mean() * math.sqrt(len(told)))

    @property
    def variance(self) -> float:
        return float(np.einsum("pt,pq,qt->", self.answer, self.cov, self.answer))


def _ask(belief: Belief, rows: Rows, cells: Table, code: Ints, goal: Floats) -> _Question:
    recipes, count = belief.model.recipes, goal.shape[1]
    places = np.concatenate([cells.log_x, rows.log_x, np.tile(goal, (1, recipes))], 1)
    mean, cov = belief.at(places, np.concatenate([code, rows.recipe, np.repeat(np.arange(recipes), count)]))
    answer = np.zeros((len(mean), count))
    answer[-recipes * count :] = np.array([[-1.0], [1.0]]) if recipes == 2 else np.eye(count) / math.sqrt(count)
    return _Question(mean, cov, answer, recipes == 2)


def _advice(
    belief: Belief, rows: Rows, labels: npt.NDArray[np.object_], cells: Table, goal: Floats, budget: float,
    names: list[str], sure: float, left_out: list[LeftOut],
) -> Advice:  # fmt: skip
    code = np.array([names.index(name) for name in cells.recipe])
    question = _ask(belief, rows, cells, code, goal)
    partner, known = find_partners(cells, code, rows, labels)
    loss = question.mean[: len(code)]
    other = np.where(known >= 0, question.mean[known], np.where(partner >= 0, loss[partner], loss))
    spread = belief.noise.sd**2 * np.abs(loss * other)  # a pair's two runs are taken to have noise of one size
    options = Cells(np.arange(len(code)), spread, cells.cost, partner, known, belief.noise.shared)
    steps = plan(question.cov, question.answer, options, budget, _worth(question), _LIMIT)
    variance = [question.variance, *(step.variance for step in steps)]
    now = _standing(question)
    noise = belief.noise.sd * abs(float(question.mean[-goal.shape[1] :].mean()))
    enough, flips, why = _enough(now, variance, noise, sure, names)
    inputs = belief.model.law.inputs
    return Advice(
        law=belief.model.law.name,
        targets=[dict(zip(inputs, np.exp(place).tolist(), strict=True)) for place in goal.T],
        recipes=[name for name in names if name],
        n_rows=len(rows.recipe),
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
        left_out=left_out,
    )


def _move(before: float, after: float) -> float:
    """Standard deviation by which results that leave variance `after` move an estimate of variance `before`."""
    return math.sqrt(max(before - after, 0.0))


def _worth(question: _Question) -> Worth:
    """The knowledge gradient of two recipes; where no single cell has any (it underflows), and of one, the variance."""

    def worth(removed: Floats) -> Floats:
        gain = knowledge_gradient(question.value, np.sqrt(removed))
        return gain if gain.max() > _TINY * math.sqrt(question.variance) else removed

    return worth if question.two else lambda removed: removed


def _standing(question: _Question) -> Standing:
    value, sd = question.value, _move(question.variance, 0.0)
    if not question.two:
        return Standing(value, sd)
    regret = float(knowledge_gradient(value, np.array([sd]))[0])
    return Standing(value, sd, float(special.ndtr(-value / max(sd, 1e-300))), regret)


def _steps(chosen: list[Chosen], cells: Table, now: Standing, inputs: tuple[str, ...]) -> list[Step]:
    steps, spent = [], 0.0
    for item in chosen:
        spent += item.cost
        regret = None
        if now.regret is not None:
            saved = knowledge_gradient(now.value, np.array([_move(now.sd**2, item.variance)]))
            regret = max(now.regret - float(saved[0]), 0.0)
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
            little = f"less than a third of one run's noise, {noise:.2g}"
            return 0, None, f"all of it would move the answer by {moves[0]:.2g}, {little}"
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
        return 0, flips[0], f"all of it would take the decision away from {winner} with probability {flips[0]:.2g} only"
    worth = sum(flip >= 1 - sure for flip in flips)
    return worth, flips[0], f"if {winner} still looks better after {worth} step(s), the rest would hardly change that"
