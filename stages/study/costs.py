"""What a cell costs: parameter counts and training FLOPs under every convention, and time and money from a rate.

All counts are kept apart so that a fit can choose its convention later: at small width the head dominates.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from stages.study.cell import Cell
from stages.study.params import Scale

_LOGITS = 2**28  # at hand at once on a GPU, see `stages.model.fused`


@dataclass(frozen=True)
class Counts:
    """Parameters by part, each a number of scalars."""

    n_embedding: int
    n_head: int
    n_attention: int
    n_mlp: int
    n_norm: int

    @property
    def n_nonembedding(self) -> int:
        """Attention and MLP matrices, 12 L D^2 with a plain MLP of F = 4D: the N of the paper (arXiv 2409.15156)."""
        return self.n_attention + self.n_mlp

    @property
    def n_total(self) -> int:
        """Every trained scalar."""
        return self.n_embedding + self.n_head + self.n_attention + self.n_mlp + self.n_norm


@dataclass(frozen=True)
class Flops:
    """Training FLOPs of a whole cell (forward and backward), by convention."""

    flops_6n: float
    flops_head: float
    flops_attention: float

    @property
    def total(self) -> float:
        """Every matrix product: blocks, head and attention scores."""
        return self.flops_6n + self.flops_head + self.flops_attention


def nonembedding(depth: int, width: int) -> int:
    """12 L D^2: four D x D attention matrices and two D x 4D MLP matrices per layer."""
    return 12 * depth * width * width


def count_parameters(cell: Cell) -> Counts:
    """Counts of the Transformer of `stages.model`."""
    width, depth, head_dim = cell.width, cell.depth, cell.width // cell.heads
    qk_norm = 2 * head_dim if cell.qk_norm else 0
    return Counts(
        n_embedding=cell.vocab_size * width,
        n_head=cell.vocab_size * width,
        n_attention=4 * depth * width * width,
        n_mlp=depth * _n_mlp(width, cell.hidden, cell.activation),
        n_norm=depth * (2 * width + qk_norm) + width,
    )


def count_flops(cell: Cell) -> Flops:
    """6 FLOPs per weight and token; attention scores as 12 L D S per token (PaLM, arXiv 2204.02311, appendix B)."""
    return _flops(cell.width, cell.depth, cell.hidden, cell.activation, cell.vocab_size, cell.seq_len, cell.tokens)


@cache  # a plan of 100,000 cells has a few hundred sizes
def _flops(width: int, depth: int, hidden: int, activation: str, vocab_size: int, seq_len: int, tokens: int) -> Flops:
    return Flops(
        flops_6n=6.0 * depth * (4 * width * width + _n_mlp(width, hidden, activation)) * tokens,
        flops_head=6.0 * vocab_size * width * tokens,
        flops_attention=12.0 * depth * width * seq_len * tokens,
    )


def _n_mlp(width: int, hidden: int, activation: str) -> int:
    return width * hidden * (3 if activation == "geglu" else 2)


def count_bytes(cell: Cell) -> float:
    """Memory traffic of a whole cell in training: optimizer, logits, and what passes between matrix products.

    An estimate for a roofline (Williams et al. 2009). Per step every parameter is read and written by accumulation,
    norm, clipping, update and zeroing of its gradient: 14 times 4 bytes. Per token every logit is passed 6 times and
    every width of a layer 84 times (norms, rotations, residuals, activations of 4D; backward counted double).
    """
    counts = count_parameters(cell)
    parameters = counts.n_total - counts.n_norm
    return _bytes(parameters, cell.width, cell.depth, cell.vocab_size, cell.tokens, cell.steps, cell.precision)


def _bytes(parameters: int, width: int, depth: int, vocab_size: int, tokens: int, steps: int, precision: str) -> float:
    size = 2 if precision == "bf16" else 4
    return 56.0 * parameters * steps + float(size) * tokens * (6 * vocab_size + 84 * depth * width)


def peak_memory(cell: Cell, memory: float) -> float:
    """Bytes that training asks of a GPU with `memory` bytes: states, activations, logits at hand, tokens.

    Per parameter itself, its gradient, two moments, the gradient as it is found and its copy for products (22 bytes
    in bf16). Per token, layer and width 22 numbers are kept for the backward pass, where blocks are not computed again;
    else 4 bytes, and the 22 of one block. Fitted to peaks measured on an H200: within 12% at widths 128, 512 and 2048.
    Tokens lie there where they take under a tenth of it.
    """
    size = 2 if cell.precision == "bf16" else 4
    tokens = cell.micro_batch * cell.seq_len
    kept = (4 * cell.depth + 22 * size) if cell.recomputes else 22 * size * cell.depth
    states = (20 + size) * count_parameters(cell).n_total
    logits = min(_LOGITS, tokens * cell.vocab_size) * size
    text = (2 if cell.vocab_size <= 1 << 16 else 4) * cell.unique_tokens
    return float(states + kept * tokens * cell.width + logits + (text if text < 0.1 * memory else 0))


def seconds(cell: Cell, scale: Scale) -> float:
    """Predicted time of a cell as a share of the scale's whole machine: training, steps' fixed cost, evaluation.

    Training is FLOPs over the rate of matrix products, bytes over bandwidth where the machine states one, one after the
    other, and a fixed cost per step.
    """
    return _seconds(scale, cell.tokens, cell.steps, count_flops(cell).total, count_bytes(cell))


def row_seconds(row: Any, scale: Scale) -> float:
    """The same of a row of the table of losses."""
    parameters = row.n_total - row.n_norm
    vocab_size = row.n_head // row.width
    moved = _bytes(parameters, row.width, row.depth, vocab_size, row.tokens, row.steps, row.precision)
    return _seconds(scale, row.tokens, row.steps, row.flops_6n + row.flops_head + row.flops_attention, moved)


def _seconds(scale: Scale, tokens: int, steps: int, flops: float, moved: float) -> float:
    machine = scale.machine
    evaluated = (scale.validation_tokens + 2 * scale.seen_tokens) / (3 * tokens)  # forward passes only
    computing = flops / machine.flops_per_second
    if machine.bytes_per_second:
        computing += moved / machine.bytes_per_second
    return computing * (1 + evaluated) + steps * machine.step_seconds
