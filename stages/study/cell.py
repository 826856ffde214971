"""A cell: one training run, fully resolved. Everything in it is identity; nothing about where or how it runs is.

`stages.train` reads a cell and nothing else, so this module is part of the training source.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

_FRESH_REGION = 4
"""Windows never seen are drawn from so many times their number, so that not all come from a few documents."""

_RECOMPUTED = 4096
"""Width from which on what passes between a block's layers would take more memory than all states of a GPU's model."""


class Cell(BaseModel):
    """One training run. Two equal cells on equal data and code are the same run (fields are hashed as they stand)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    depth: int
    heads: int
    seq_len: int
    vocab_size: int
    qk_norm: bool
    activation: Literal["gelu", "geglu"]
    hidden: int
    """F, width of the MLP's inner layer."""
    embedding_std: float
    """Standard deviation of the embedding at initialisation."""
    head_std: float
    """Standard deviation of the output head at initialisation."""
    batch: int
    """Sequences per step."""
    micro_batch: int
    """Sequences per forward pass; a batch is the sum of batch / micro_batch of them."""
    steps: int
    unique_tokens: int
    """Length of the prefix of the stream it trains on; `tokens / unique_tokens` is the number of passes."""
    optimizer: Literal["adamw", "lion"]
    lr: float
    """Peak learning rate of the matrices inside the blocks; the others follow its schedule."""
    lr_embedding: float
    lr_head: float
    lr_gains: float
    final_lr: float
    """Where the cosine ends, capped at the peak."""
    schedule: Literal["cosine", "constant"]
    warmup_steps: int
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    """Independent: each step shrinks matrices by weight_decay x (lr / peak lr)."""
    l2: float
    """Coefficient of the loss term l2 / 2 x sum of squares of all matrices."""
    clip: float | None
    """Global norm that the gradient is scaled down to."""
    normalise: bool
    """Each tensor's gradient is divided by its norm, instead of clipping (Yu et al., arXiv 1707.04822)."""
    z_loss: float
    precision: Literal["fp32", "tf32", "bf16"]
    window: int
    """Steps over which divergence and spikes are judged."""
    seed: int
    trainer: str | None = None
    """Which command of `trainers` trains it; our own loop where absent."""
    options: tuple[tuple[str, bool | int | float | str], ...] = ()
    """What only such a command understands, in the order of the names."""

    @model_serializer(mode="wrap")
    def _said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields that came later are left out at their defaults, so that older fingerprints stay what they are."""
        said: dict[str, Any] = handler(self)
        return {name: value for name, value in said.items() if value or name not in ("trainer", "options")}

    @property
    def recomputes(self) -> bool:
        """Whether blocks are computed again in the backward pass instead of kept; losses are the same."""
        return self.width >= _RECOMPUTED

    @property
    def tokens(self) -> int:
        """Tokens trained on, repeats included."""
        return self.steps * self.batch * self.seq_len

    def reach(self, seen_tokens: int) -> int:
        """How many tokens of the stream an evaluation reads: the prefix, the fresh region after it, the last target."""
        return self.unique_tokens + _FRESH_REGION * seen_tokens + 1
