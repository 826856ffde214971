"""What happens to a cell while it trains, as the journal and the tools take it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Begun:
    """A cell that is about to be trained."""

    fingerprint: str
    study: str
    """And scale, as `lr_crossover-pocket`."""
    recipe: str
    width: int
    seed: int
    lr: float
    axes: str
    """As JSON."""
    steps: int
    tokens_per_step: int

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.recipe} width {self.width} lr {self.lr:.4g} seed {self.seed}"


@dataclass(frozen=True)
class Told:
    """Points since the last ones: steps at their ends; mean losses (nats per token), learning rates, gradient norms."""

    time: float
    steps: list[int]
    losses: list[float]
    lrs: list[float]
    grad_norms: list[float]
