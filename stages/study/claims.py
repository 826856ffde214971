"""Claims of params.yaml: a sentence, what measures it and what it expects, and the smallest effect that matters."""

from typing import Annotated, Any, Literal

from pydantic import Field

from crossover.base.fields import Name, NotNegative, Strict


class Interest(Strict):
    """The smallest effect that a verdict calls meaningful: the loss that so many times the compute buy."""

    compute: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    """By the slope of a law at the ladder's top."""
    study: Name
    recipe: Name
    """Whose law."""


Expects = Literal["above", "below", "not below", "none"]
Measure = Literal[
    "gap", "slope", "paired", "trend", "tuned", "tuned_trend", "change", "stable_range", "optimum_shift", "best_cost",
    "batch_side", "batch_shift", "optimum_slope", "sensitivity", "extrapolation", "collapse",
]  # fmt: skip


class Claim(Strict):
    """A statement that tables can support or refute, with what would count fixed before they are looked at."""

    statement: str
    paper: str
    """What the paper says, or `ours`."""
    differs: str = ""
    """What differs from the paper's set-up beyond the scale."""
    study: Name
    measure: Measure
    """A function of `stages.verdicts.measures`."""
    given: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""
    expects: Expects
    """Where the effect is claimed to lie, from `centre`: above, below, not below, or nowhere that matters."""
    centre: float = 0.0
    """What the claim sets the effect against, in its unit: zero, or the number that its sentence names."""
    interest: Literal["compute"] | NotNegative = "compute"
    """The smallest effect of interest, in the effect's unit; `compute`: what the scale's multiple of compute buys."""
    published: float | None = None
    """The paper's own number, in the effect's unit."""
    unit: str = "nats"
