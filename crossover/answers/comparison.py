"""What a comparison of two recipes says: one typed result per pair, which serialises to JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crossover.answers.crossing import UNDECIDED, Crossover, Difference
from crossover.answers.decision import Decision
from crossover.answers.pairing import Rung, Side
from crossover.belief.difference import Outlook
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import Estimate
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure


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
class CurvePoint:
    """The fitted difference loss(B) - loss(A) at one x, with its pointwise interval."""

    x: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Variant:
    """The same comparison with one choice changed."""

    change: str
    verdict: str
    crossover: float | None


@dataclass(frozen=True)
class Gap:
    """B against A at a target scale. Read the lever arm first."""

    lever_arm_decades: float
    x: float
    difference: Estimate
    """loss(B) - loss(A), extrapolated."""
    equivalent_compute: Estimate | None
    """The factor by which A's x would have to grow (over 1) or shrink to reach B's loss; None where none does."""
    p_b_beats_a: float
    decision: Decision | None = None
    """Which to choose there, and what that is expected to cost."""
    basis: str | None = None
    """What it rests on, where that is not the fitted difference."""


@dataclass(frozen=True)
class Comparison:
    """Recipe B against recipe A."""

    a: str
    b: str
    verdict: str = UNDECIDED
    bracket: tuple[float, float] | None = None
    """Neighbouring sizes between which the measured difference changes sign."""
    roots: list[float] = field(default_factory=list)
    """Every zero of the fitted difference, up to 1.5 decades beyond the runs."""
    crossover: Crossover | None = None
    baseline: Baseline | None = None
    p_b_beats_a: list[Chance] = field(default_factory=list)
    paired: bool = False
    model: str | None = None
    """What the fitted difference is."""
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
    """What is believed of the difference beyond the runs, to be asked at any x; not part of the JSON."""
    difference: Difference | None = field(default=None, repr=False, compare=False)
    """The fitted difference itself, to be asked at any x; not part of the JSON."""


@dataclass(frozen=True)
class Comparisons(Answer):
    """All pairs of recipes of a table."""

    x: str
    loss: str
    pairs: list[Comparison]
    n_rows: int
    left_out: list[LeftOut]
    digest: str

    def said(self) -> Iterator[Block]:
        """Every pair with all there is to say of it; of many pairs one line each."""
        from crossover.answers.words import comparisons_said

        return comparisons_said(self)

    def draw(self) -> "Figure":
        """The difference of each pair along x."""
        from crossover.plots.charts import draw_comparisons

        return draw_comparisons(self)
