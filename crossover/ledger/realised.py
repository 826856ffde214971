"""What a recipe came to at the target of a forecast."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from crossover.ledger.body import Forecast


@dataclass(frozen=True)
class Realised:
    """What one recipe came to."""

    loss: float
    """Mean over as many finished runs as the forecast speaks of, the first ones; over all where there are fewer."""
    runs: int
    started: str | None = None
    """When the first of them began to train, where that is known: UTC, ISO 8601."""
    commit: str | None = None
    """The first commit that holds one of them among the project's results."""
    where: str | None = None
    """Which rows of the table were looked at, where not all were."""


Lookup = Callable[[Forecast], Mapping[str, Realised]]
"""The realised losses by recipe at a forecast's target; those that exist."""
