"""What is told of a run while it trains, window by window. Whoever shows it as it goes hangs here, and no deeper."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """The steps since the last one that was told, one entry each. What is not known is NaN.

    After a restart steps may be told again: with the same losses on a CPU by our own loop.
    """

    step: int
    """Steps done, these included."""
    losses: list[float]
    """Nats per token on a step's batch, before its update."""
    lrs: list[float]
    grad_norms: list[float]


Observer = Callable[[Window], None]


def nobody(_: Window) -> None:
    """Does not look."""
