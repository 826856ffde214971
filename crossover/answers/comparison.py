"""What a comparison of two recipes says: one typed result per pair, which serialises to JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crossover.answers.crossing import UNDECIDED, Crossover
from crossover.answers.figure import CurvePoint, Runs, draw_pairs
from crossover.answers.pairing import Rung, Side
from crossover.belief.difference import Outlook
from crossover.belief.spread import Spread
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import Estimate
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure

_RIVALS = 5  # that one figure holds


@dataclass(frozen=True)
class Baseline:
    """The plain ranking at the largest size that both recipes were run at."""

    x: float
    better: str | None
    difference: Estimate
    """loss(B) - loss(A)."""


@dataclass(frozen=True)
class Chance:
    """P(B beats A) at one x."""

    x: float
    p: float


@dataclass(frozen=True)
class Variant:
    """The same comparison with one choice changed."""

    change: str
    verdict: str
    crossover: float | None


@dataclass(frozen=True)
class Decision:
    """The recipe that looks better at the target, and what choosing it costs; losses in the unit of the loss."""

    choose: str
    p: float
    """Probability that the chosen recipe is the better one."""
    expected_regret: float
    """Expected loss above the better recipe's."""
    cost_if_wrong: float | None
    """The same, given that the choice is wrong."""
    regret_as_compute: float | None
    """Factor of x that wins the expected regret back, 1 or more; None where the chosen recipe's law does not fall."""
    cost_if_wrong_as_compute: float | None
    """Factor of x that wins the cost of a wrong choice back."""


@dataclass(frozen=True)
class Gap:
    """B against A at a target scale. Read the lever arm first."""

    lever_arm_decades: float
    x: float
    difference: Estimate
    """loss(B) - loss(A), without the noise of single runs: its median, s.d. and 90% interval."""
    equivalent_compute: Estimate | None
    """The factor by which A's x would have to grow (over 1) or shrink to reach B's loss; None where none does."""
    p_b_beats_a: float
    """P(B's loss is the lower one), without the noise of single runs."""
    p_one_run: float
    """P(one run of B ends below one run of A): the noise of both is in it."""
    decision: Decision
    """Which to choose there, and what that is expected to cost."""
    spread: Spread = field(repr=False, compare=False)
    """What is believed of the difference there; not part of the JSON."""
    next_pair: "NextPair | None" = None
    """What would tell most, where the choice is not sure."""


@dataclass(frozen=True)
class NextPair:
    """One more run of each recipe: at the largest size again or at the next one, whichever tells more for its size."""

    x: float
    regret: float
    """Expected of choosing after it."""
    p_flip: float
    """P(it turns the choice)."""


@dataclass(frozen=True)
class Worth:
    """What B is worth at one x: the factor by which A's x, or its cost, would have to grow to reach B's loss."""

    x: float
    compute: Estimate | None
    """At equal throughput; over 1 where B is better; None where none does."""
    cost: Estimate | None = None
    """At the throughput that was measured: the same less what a unit of x costs more with B."""


@dataclass(frozen=True)
class Backtest:
    """The top rung as the rungs below it tell it, beside what was measured."""

    x: float
    p_b_beats_a: float
    """P(B's mean there is the lower one), by the rungs below."""
    ci: tuple[float, float]
    """90% interval of the difference by them."""
    measured: float

    @property
    def right(self) -> bool:
        """Whether the likelier recipe came out ahead."""
        return (self.p_b_beats_a > 0.5) == (self.measured < 0)

    @property
    def held(self) -> bool:
        """Whether the interval holds what was measured."""
        return self.ci[0] <= self.measured <= self.ci[1]


@dataclass(frozen=True)
class Comparison:
    """Recipe B against recipe A."""

    a: str
    b: str
    verdict: str = UNDECIDED
    bracket: tuple[float, float] | None = None
    """Neighbouring sizes between which the measured difference changes sign."""
    roots: list[float] = field(default_factory=list)
    """Every x at which either recipe is as likely ahead, up to 1.5 decades beyond the runs."""
    crossover: Crossover | None = None
    sure_until: float | None = None
    """Up to which x beyond the runs the recipe that leads at the top stays ahead with P of 0.95."""
    baseline: Baseline | None = None
    price: Estimate | None = None
    """What a unit of x costs with B, over what it costs with A, where costs are given."""
    worth: list[Worth] = field(default_factory=list)
    """At the rungs and at the target, where one is asked for."""
    p_b_beats_a: list[Chance] = field(default_factory=list)
    """At the rungs, or along the common range."""
    backtest: Backtest | None = None
    paired: bool = False
    rungs: list[Rung] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)
    trend: Estimate | None = None
    """Change of the difference per doubling of x above the meeting point (over all rungs where there is none)."""
    noise_sd: float | None = None
    """Standard deviation of the difference between pairs of one rung."""
    dof: int = 0
    gap: Gap | None = None
    curve: list[CurvePoint] = field(default_factory=list, repr=False)
    sensitivity: list[Variant] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    outlook: Outlook | None = field(default=None, repr=False, compare=False)
    """What is believed of the difference, to be asked at any x; not part of the JSON."""


@dataclass(frozen=True)
class Arm:
    """One of the recipes, at the target."""

    recipe: str
    p_best: float
    behind: Estimate
    """Loss above that of the best one: median and 90% interval."""
    rank: tuple[int, int]
    """90% interval, 1 is best."""


@dataclass(frozen=True)
class Best:
    """Best of many."""

    x: float
    choose: str
    why: str
    arms: list[Arm]
    """The best first, by their levels."""
    contenders: list[str]
    """The fewest that hold the best with a probability of .9, the likeliest first."""
    groups: list[list[str]]
    """In the order of `arms`; between two groups every one of the first is better than every one of the second with
    P of .9."""
    called: list[tuple[str, str]]
    """Pairs, better and worse, of which one in twenty is expected to be wrong at most."""
    unknown: list[str]
    """Recipes that cannot be compared with the others there."""


@dataclass(frozen=True)
class Comparisons(Answer):
    """All pairs of recipes of a table."""

    x: str
    loss: str
    pairs: list[Comparison]
    n_rows: int
    left_out: list[LeftOut]
    digest: str
    best: Best | None = None
    """Of three recipes or more, each against each, at a target."""
    runs: Runs | None = field(default=None, repr=False, compare=False)
    """For the figure; not part of the JSON."""

    def said(self) -> Iterator[Block]:
        """Every pair with all there is to say of it; of many pairs one line each."""
        from crossover.answers.words import comparisons_said

        return comparisons_said(self)

    def draw(self) -> "Figure":
        """The difference of each pair along x, on to the target, and below it what each recipe comes to."""
        pairs = self.pairs if self.best is None else _of_the_best(self.pairs, self.best)
        return draw_pairs(pairs, self.runs, (self.x, self.loss), "compare", "Difference between recipes")


def _of_the_best(pairs: list[Comparison], best: Best) -> list[Comparison]:
    """The chosen recipe against its likeliest rivals."""
    order = {arm.recipe: place for place, arm in enumerate(sorted(best.arms, key=lambda arm: -arm.p_best))}
    mine = [pair for pair in pairs if best.choose in (pair.a, pair.b)]
    return sorted(mine, key=lambda pair: max(order.get(pair.a, len(order)), order.get(pair.b, len(order))))[:_RIVALS]
