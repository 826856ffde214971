"""Which runs of many recipes to make next, so that the best one at a target is found: losers are dropped early.

Levels of all recipes at the target and how far each may be off are those of `crossover.answers.best`. A run of a recipe
takes off its variance the share that the belief of it against the recipe to choose says (`Outlook.tells`). A cell's
worth is the knowledge gradient of many: what choosing the lowest after it saves on average, sigma f(-|mu - best
other| / sigma) with f(z) = phi(z) + z Phi(z) (Frazier, Powell and Dayanik 2008), and cells are taken by worth per cost.
A recipe whose P(best) is under 1 in 50 is dropped: no cell of it is run.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crossover.answers.advising.choices import SURE, Candidates, Table, check_budget, read_candidates
from crossover.answers.best import Levels, levels
from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Best, Comparisons
from crossover.answers.decision import knowledge_gradient
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.numerals import short
from crossover.laws.laws import get_law
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure

DROPPED = 0.02
"""P(best), under which a recipe is not run any more."""
_LITTLE = 0.01  # of the regret of choosing now: a step that saves less is none
_LIMIT = 200


@dataclass(frozen=True)
class ArmStep:
    """One cell to run."""

    cell: int
    """Row number of the candidate, from 0."""
    x: float
    recipe: str
    pair: str | None
    cost: float
    cumulative_cost: float
    saves: float
    """Of the loss expected to be given away, by choosing after it."""


@dataclass(frozen=True)
class ArmsAdvice(Answer):
    """What to run next of many recipes."""

    best: Best
    regret: float
    """Loss that one expects to give away by choosing now."""
    dropped: list[str]
    steps: list[ArmStep]
    stop: bool
    why: str
    budget: float
    n_rows: int
    left_out: list[LeftOut]
    pair: str | None = None
    """What pairs are called."""
    unit: str = "cost"
    comparisons: Comparisons | None = field(default=None, repr=False, compare=False)
    """Not part of the JSON."""

    def on_axes(self, axes: tuple[str, str]) -> "ArmsAdvice":
        """The same, with what x and the loss are called in the figure."""
        assert self.comparisons is not None
        return replace(self, comparisons=replace(self.comparisons, x=axes[0], loss=axes[1]))

    def said(self) -> Iterator[Block]:
        """Where the choice stands, who is dropped, and what to run."""
        from crossover.answers.advising.words import arms_said

        return arms_said(self)

    def draw(self) -> "Figure":
        """The differences along x."""
        assert self.comparisons is not None
        return self.comparisons.draw()


def advise_arms(
    x: Floats,
    loss: Floats,
    recipe: Sequence[str],
    pair: npt.NDArray[Any] | None,
    candidates: Candidates,
    target: float,
    budget: float,
    sure: float = SURE,
) -> ArmsAdvice:
    """Advice on the next cells.

    Args:
        x: n positive sizes.
        loss: n losses.
        recipe: n names, of three or more.
        pair: n labels (seeds).
        candidates: cells that could be run, by `x`.
        target: the x at which the best one is wanted.
        budget: what cells may cost together.
        sure: P(best) from which on the choice is settled.

    Raises:
        UsageError: recipes that share too few sizes to be compared.
    """
    check_budget(budget, sure)
    found = compare(x, loss, recipe, pair=pair, settings=Settings(target=target, sensitivity=False))
    cells = read_candidates(get_law("power"), candidates, list(dict.fromkeys(map(str, recipe))))
    known = levels(found.pairs)
    if known is None or found.best is None:
        raise UsageError("fewer than three recipes share the two sizes that a comparison needs; run small ones first")
    likely = {arm.recipe: arm.p_best for arm in found.best.arms}
    dropped = [name for name in known.names if likely[name] < DROPPED and name != found.best.choose]
    chosen = known.names.index(found.best.choose)
    regret = float((known.loss[:, chosen] - known.loss.min(1)).mean())
    open_ = np.array([name in known.names and name not in dropped for name in cells.recipe])
    steps = list(_steps(found, known, cells, open_, budget, regret))
    settled = likely[found.best.choose] >= sure
    return ArmsAdvice(
        best=found.best,
        regret=regret,
        dropped=dropped,
        steps=steps,
        stop=settled or not steps,
        why=_why(found.best, likely[found.best.choose], sure, steps, regret),
        budget=budget,
        n_rows=found.n_rows,
        left_out=found.left_out,
        comparisons=found,
    )


def _why(best: Best, p: float, sure: float, steps: list[ArmStep], regret: float) -> str:
    if p >= sure:
        return f"{best.choose} is best with probability {p:.3f}, over {sure:g}"
    if not steps:
        return "no candidate is within the budget and would save a hundredth of the expected regret"
    return f"choosing now gives away {short(regret, 2)} on average"


def _steps(
    found: Comparisons, known: Levels, cells: Table, open_: npt.NDArray[np.bool_], budget: float, regret: float
) -> Iterator[ArmStep]:
    """The cell that saves most for its cost, again and again, as if each came as expected."""
    tells = _tells(found, known, cells)
    variance = 2 * known.variance  # of Student's t of four degrees of freedom with that square of its scale
    spent, left = 0.0, open_.copy()
    for _ in range(_LIMIT):
        free = np.flatnonzero(left & (cells.cost <= (budget - spent) * (1 + 1e-9)))
        if not len(free):
            return
        arm = np.array([known.names.index(name) for name in cells.recipe[free]])
        saves = _gradient(known.level, arm, np.sqrt(variance[arm] * tells[free]))
        at = int(np.argmax(saves / cells.cost[free]))
        if saves[at] < _LITTLE * regret:
            return
        cell = int(free[at])
        variance[arm[at]] *= 1 - tells[cell]
        left[cell], spent = False, spent + float(cells.cost[cell])
        yield ArmStep(
            cell, math.exp(cells.log_x[0, cell]), str(cells.recipe[cell]), str(cells.label[cell]) or None,
            float(cells.cost[cell]), spent, float(saves[at]),
        )  # fmt: skip


def _gradient(level: Floats, arm: npt.NDArray[np.int_], moves: Floats) -> Floats:
    """Expected gain of choosing the lowest after an arm's level has moved, for arms [n] and moves [n]."""
    rest = [np.delete(level, i).min() for i in range(len(level))]
    behind = level - rest
    gains = [knowledge_gradient(float(behind[i]), np.array([s]))[0] for i, s in zip(arm, moves, strict=True)]
    return np.array(gains)


def _tells(found: Comparisons, known: Levels, cells: Table) -> Floats:
    """Share of its recipe's variance at the target that each cell would take off."""
    assert found.best is not None
    outlooks = {frozenset((pair.a, pair.b)): pair.outlook for pair in found.pairs}
    rival = next(arm.recipe for arm in found.best.arms if arm.recipe != found.best.choose)
    goal, shares = math.log(found.best.x), {}
    for name in known.names:
        outlook = outlooks[frozenset((name, rival if name == found.best.choose else found.best.choose))]
        assert outlook is not None
        for place in set(cells.log_x[0, cells.recipe == name].tolist()):
            shares[name, place] = outlook.tells(place, goal)
    return np.array([shares.get(key, 0.0) for key in zip(cells.recipe, cells.log_x[0].tolist(), strict=True)])
