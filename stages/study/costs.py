"""What a cell costs: parameter counts and training FLOPs under every convention, and time and money from a rate.

All counts are kept apart so that a fit can choose its convention later: at small width the head dominates.
"""

from dataclasses import dataclass

from stages.study.cell import Cell
from stages.study.params import Scale


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
        n_mlp=depth * width * cell.hidden * (3 if cell.activation == "geglu" else 2),
        n_norm=depth * (2 * width + qk_norm) + width,
    )


def count_flops(cell: Cell) -> Flops:
    """6 FLOPs per weight and token; attention scores as 12 L D S per token (PaLM, arXiv 2204.02311, appendix B)."""
    counts, tokens = count_parameters(cell), float(cell.tokens)
    return Flops(
        flops_6n=6.0 * counts.n_nonembedding * tokens,
        flops_head=6.0 * counts.n_head * tokens,
        flops_attention=12.0 * cell.depth * cell.width * cell.seq_len * tokens,
    )


def seconds(cell: Cell, scale: Scale) -> float:
    """Predicted time of a cell as a share of the scale's whole machine: training, steps' fixed cost, evaluation."""
    evaluated = (scale.validation_tokens + 2 * scale.seen_tokens) / (3 * cell.tokens)  # forward passes only
    computing = count_flops(cell).total * (1 + evaluated) / scale.machine.flops_per_second
    return computing + cell.steps * scale.machine.step_seconds
