"""A cell: one training run, fully resolved. Everything in it is identity; nothing about where or how it runs is.

`stages.train` reads a cell and nothing else, so this module is part of the training source.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Cell(BaseModel):
    """One training run. Two equal cells on equal data and code are the same run (fields are hashed as they stand)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    depth: int
    heads: int
    seq_len: int
    vocab_size: int
    qk_norm: bool
    batch: int
    """Sequences per step."""
    steps: int
    unique_tokens: int
    """Length of the prefix of the stream it trains on; `tokens / unique_tokens` is the number of passes."""
    lr: float
    """Peak learning rate."""
    final_lr: float
    """Where the cosine ends, capped at the peak."""
    schedule: Literal["cosine", "constant"]
    warmup_steps: int
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    """Independent: each step shrinks matrices by weight_decay x (lr / peak lr)."""
    clip: float | None
    z_loss: float
    precision: Literal["fp32", "tf32", "bf16"]
    window: int
    """Steps over which divergence and spikes are judged."""
    seed: int

    @property
    def tokens(self) -> int:
        """Tokens trained on, repeats included."""
        return self.steps * self.batch * self.seq_len
