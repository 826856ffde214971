"""What a fitted law is, as it is printed, plotted and serialised."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crossover.base.arrays import Floats
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import Estimate
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure


@dataclass(frozen=True)
class ObjectiveValue:
    """What was minimised, and its minimum: a sum over rows, not a mean."""

    name: str
    value: float


@dataclass(frozen=True)
class Starts:
    """How many starts were descended from, and the share that ended at the best value (to 1e-6 of it)."""

    n: int
    agree: float


@dataclass(frozen=True)
class Predicted:
    """The law at one place. `loss` is the curve with its interval; `run_ci` is where one new run is expected."""

    at: dict[str, float]
    loss: Estimate
    run_ci: tuple[float, float] | None = None
    measured: float | None = None
    relative_error: float | None = None
    """predicted / measured - 1; None where the measured one is 0, as a score may be."""
    by_law: float | None = None
    """The fitted law's own value, where `loss` is what all laws that the runs leave open, and what they lack, say."""


@dataclass(frozen=True)
class HeldOut:
    """Rows that the law was not fitted to."""

    rows: list[Predicted]
    mean_absolute_relative_error: float | None
    """None where everything measured is 0."""
    covered: float | None
    """Share of runs within `run_ci`."""


def score(rows: list[Predicted]) -> HeldOut:
    """How predictions of what was measured did."""
    errors = [abs(row.relative_error) for row in rows if row.relative_error is not None]
    inside = [row.run_ci[0] <= (row.measured or 0) <= row.run_ci[1] for row in rows if row.run_ci is not None]
    mean = float(np.mean(errors)) if errors else None
    return HeldOut(rows, mean, float(np.mean(inside)) if inside else None)


@dataclass(frozen=True)
class Metric:
    """A metric that follows the loss: the curve between them, and what it says where the loss is predicted."""

    name: str
    link: str
    formula: str
    params: dict[str, Estimate]
    rms_residual: float
    n_rows: int
    predictions: list[Predicted]
    """Of the metric, in the order of those of the loss; `loss` holds its value."""
    heldout: HeldOut | None = None


@dataclass(frozen=True)
class LinePoint:
    """The law at one x, with the ends of its interval."""

    x: float
    loss: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Drawn:
    """Runs as a figure shows them: n values of the law's one input and of the loss, and what the loss is called."""

    x: Floats = field(default_factory=lambda: np.empty(0))
    loss: Floats = field(default_factory=lambda: np.empty(0))
    name: str = "loss"


@dataclass(frozen=True)
class Fit(Answer):
    """A fitted law."""

    law: str
    formula: str
    inputs: dict[str, str]
    """Which column or quantity is which input."""
    objective: ObjectiveValue
    params: dict[str, Estimate]
    interval: str
    """How the intervals were made."""
    n_rows: int
    dof: int
    starts: Starts
    condition: float
    """Condition number of the Hessian with unit diagonal; above 1e8 the parameters cannot be told apart."""
    rms_residual: float
    """In units of the loss."""
    mean_absolute_relative_error: float
    flags: list[str]
    left_out: list[LeftOut]
    digest: str
    held: list[str] = field(default_factory=list)
    """Parameters that were not fitted: they have the value that they were given, and its standard deviation."""
    predictions: list[Predicted] = field(default_factory=list)
    heldout: HeldOut | None = None
    rollout: HeldOut | None = None
    """Each rung predicted from the rungs below it."""
    metric: Metric | None = None
    """The second step, from the loss to a metric."""
    line: list[LinePoint] = field(default_factory=list, repr=False)
    """The law along the range of its input, for laws of one input."""
    drawn: Drawn = field(default_factory=Drawn, repr=False, compare=False)
    """For the figure alone; not part of the JSON."""

    def said(self) -> Iterator[Block]:
        """Parameters with their intervals, diagnostics, predictions."""
        from crossover.laws.words import fit_said

        return fit_said(self)

    def draw(self) -> "Figure":
        """Loss and law against the input; with two inputs, relative errors against their product."""
        from crossover.plots.losses import draw_fits

        return draw_fits({"": self})
