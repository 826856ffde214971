"""Held-out loss with a standard error that respects documents, and the loss on windows seen in training.

Tokens of one document are not independent, so the standard error is taken over blocks of consecutive whole documents
(a ratio estimator). The blocks are the same for every cell of a study, which makes paired differences possible.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stages.model.execution import Feed, precision
from stages.model.fused import token_losses
from stages.model.transformer import Transformer
from stages.shards.reading import Stream, TokenArray
from stages.shards.windows import fresh_sample, seen_sample
from stages.study.cell import Cell

BLOCKS = 64
_TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}  # on a CPU what passes between two layers stays in its cache
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """A text in blocks that are alike for every cell that reads it: their tokens, and the mean loss over them."""

    tokens: list[int]
    losses: list[float]


@dataclass(frozen=True)
class Evaluation:
    """Losses in nats per token."""

    loss_validation: float
    loss_validation_se: float
    loss_seen: float
    loss_seen_se: float
    loss_fresh: float
    loss_fresh_se: float
    blocks: dict[str, Blocks]
    """By text: validation, seen and fresh."""


def evaluate(
    model: Transformer,
    cell: Cell,
    train: TokenArray | Stream,
    held_out: TokenArray,
    end_of_text: int,
    seen_tokens: int,
) -> Evaluation:
    """Losses of `model`.

    `train` is the cell's prefix and what follows it (see `fresh_sample`), `held_out` the validation tokens, each one
    token longer than its inputs.
    """
    windows = evaluated_windows(cell, len(held_out) - 1, seen_tokens)
    sources: dict[str, TokenArray | Stream] = {"validation": held_out, "seen": train, "fresh": train}
    losses = {name: losses_per_token(model, cell, sources[name], windows[name]) for name in sources}
    return summarise(cell.seq_len, losses, held_out, end_of_text)


def evaluated_windows(cell: Cell, validation_tokens: int, seen_tokens: int) -> dict[str, npt.NDArray[np.int64]]:
    """Windows that are evaluated, by number: `validation` of the held-out tokens, `seen` and `fresh` of the others."""
    return {
        "validation": np.arange(validation_tokens // cell.seq_len),
        "seen": seen_sample(cell, seen_tokens),
        "fresh": fresh_sample(cell, seen_tokens),
    }


def summarise(seq_len: int, losses: dict[str, Floats], held_out: TokenArray, end_of_text: int) -> Evaluation:
    """Means and standard errors of the losses of every target of `evaluated_windows`, in order."""
    endings_T = held_out[1 : len(losses["validation"]) + 1] == end_of_text
    numbers = {"validation": document_blocks(endings_T)}
    numbers |= {name: _window_blocks(len(losses[name]), seq_len) for name in ("seen", "fresh")}
    found: dict[str, float] = {}
    blocks = {}
    for name, losses_T in losses.items():
        sums, counts = np.bincount(numbers[name], losses_T), np.bincount(numbers[name])
        found[f"loss_{name}"], found[f"loss_{name}_se"] = ratio_mean(sums, counts)
        blocks[name] = Blocks(counts.tolist(), (sums / counts).tolist())
    return Evaluation(**found, blocks=blocks)


@torch.no_grad()
def losses_per_token(
    model: Transformer, cell: Cell, tokens: TokenArray | Stream, windows: npt.NDArray[np.int64]
) -> Floats:
    """Loss in nats of every target of the windows, in order, shape (len(windows) * seq_len,)."""
    device = next(model.parameters()).device
    feed = Feed(tokens, cell.seq_len, device)
    parts: list[Tensor] = []
    for batch in torch.from_numpy(windows).to(feed.home).split(max(1, _TOKENS_PER_BATCH[device.type] // cell.seq_len)):
        inputs_BxS, targets_BxS = feed(batch)
        with precision(cell, device):
            parts.append(token_losses(model.hidden(inputs_BxS), model.head.weight, targets_BxS).flatten())
    return torch.cat(parts).double().cpu().numpy()


def _window_blocks(targets: int, seq_len: int) -> npt.NDArray[np.int64]:
    """Block number of every target: runs of neighbouring windows, of which many may come from one document."""
    windows = np.arange(targets // seq_len)
    return np.repeat(np.concatenate([np.full(len(part), k) for k, part in enumerate(np.array_split(windows, BLOCKS))
                                     if len(part)]), seq_len)  # fmt: skip


def document_blocks(endings_T: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Block number of every token: at most `BLOCKS` runs of whole documents of about equal length, without gaps.

    `endings_T` marks the tokens that end a document; such a token belongs to the document it ends.
    """
    total = len(endings_T)
    starts = np.concatenate([[0], np.flatnonzero(endings_T[:-1]) + 1])
    lengths = np.diff(np.append(starts, total))
    block_of_document = np.unique(starts * BLOCKS // total, return_inverse=True)[1]
    return np.repeat(block_of_document, lengths)


def ratio_mean(sums: npt.NDArray[Any], counts: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean per token and its standard error over blocks (Cochran 1977, equation 6.13; no finite correction).

    The error is nan for fewer than two blocks.
    """
    total, blocks = counts.sum(), len(counts)
    mean = float(sums.sum() / total)
    if blocks < 2:
        return mean, math.nan
    residuals = sums - mean * counts
    return mean, float(np.sqrt(blocks / (blocks - 1) * np.square(residuals).sum()) / total)
