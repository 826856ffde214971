"""A decoder-only Transformer: pre-norm, rotary positions, optional QK-Norm, GeLU or GeGLU, no biases, untied head.

Following the set-up of arXiv 2409.15156 and, where that is silent, of arXiv 2309.14322. Tensor names end in their
shape: B batch, S sequence, D width, H heads, K head size, F inner width of the MLP, V vocabulary.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.model import fused
from stages.study.cell import Cell

_ROPE_BASE = 10_000.0
_TRUNCATED_STD = 0.87962566103423978  # standard deviation of a unit normal truncated at two


class Norm(nn.Module):
    """Layer norm with a gain and no bias over the last axis."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor, rest: Tensor | None = None) -> Tensor:
        """Normalise, or their sum; shape kept."""
        return F.layer_norm(summed(x, rest), self.gain.shape, self.gain)


class LastNorm(Norm):
    """The norm before the head, in the type in which products take it: cast while it is at hand, not in a pass more."""

    def forward(self, x: Tensor, rest: Tensor | None = None) -> Tensor:
        """As `Norm`."""
        normed = super().forward(x, rest)
        return normed.to(fused.type_of_products(normed))


class Linear(nn.Linear):
    """A matrix and no bias."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T over the last axis."""
        return fused.linear(x, self.weight)


class Attention(nn.Module):
    """Causal self-attention with rotary positions; queries and keys normalised per head where the cell says so."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        width, self.heads = cell.width, cell.heads
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        head_dim = width // cell.heads
        self.query_norm = Norm(head_dim) if cell.qk_norm else nn.Identity()
        self.key_norm = Norm(head_dim) if cell.qk_norm else nn.Identity()

    def forward(self, x_BxSxD: Tensor, rope_2xSxh: Tensor) -> Tensor:
        """Mix positions; shape kept."""
        B, S, D = x_BxSxD.shape
        qkv_BxSxC = self.qkv(x_BxSxD)
        if fused.attention_pays(qkv_BxSxC):
            gains = tuple(norm.gain for norm in (self.query_norm, self.key_norm) if isinstance(norm, Norm))
            mixed_BxSxD = fused.attention(qkv_BxSxC, self.heads, torch.stack(gains) if gains else None, rope_2xSxh)
            return self.out(mixed_BxSxD)  # type: ignore[no-any-return]
        q_BxSxHxK, k_BxSxHxK, v_BxSxHxK = (x.unflatten(-1, (self.heads, -1)) for x in qkv_BxSxC.chunk(3, dim=-1))
        q_BxSxHxK = rotate(self.query_norm(q_BxSxHxK), rope_2xSxh).to(v_BxSxHxK.dtype)
        k_BxSxHxK = rotate(self.key_norm(k_BxSxHxK), rope_2xSxh).to(v_BxSxHxK.dtype)
        q_BxHxSxK, k_BxHxSxK, v_BxHxSxK = (x.transpose(1, 2) for x in (q_BxSxHxK, k_BxSxHxK, v_BxSxHxK))
        y_BxHxSxK = F.scaled_dot_product_attention(q_BxHxSxK, k_BxHxSxK, v_BxHxSxK, is_causal=True)
        out: Tensor = self.out(y_BxHxSxK.transpose(1, 2).reshape(B, S, D))
        return out


class MLP(nn.Module):
    """gelu(x U) V, or, gated, (gelu(x G) * (x U)) V (GEGLU of Shazeer, arXiv 2002.05202, equation 6)."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.gated = cell.activation == "geglu"
        self.up = Linear(cell.width, cell.hidden * (2 if self.gated else 1))
        self.down = Linear(cell.hidden, cell.width)

    def forward(self, x_BxSxD: Tensor) -> Tensor:
        """Each position alone; shape kept."""
        h_BxSxF = self.up(x_BxSxD)
        if self.gated:
            gate_BxSxF, h_BxSxF = h_BxSxF.chunk(2, dim=-1)
            h_BxSxF = gelu(gate_BxSxF) * h_BxSxF
        else:
            h_BxSxF = gelu(h_BxSxF)
        out: Tensor = self.down(h_BxSxF)
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); the last sum is left to who reads it.

    So a compiler makes one pass over memory of it and the norm that follows in the next block.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.attention_norm = Norm(cell.width)
        self.attention = Attention(cell)
        self.mlp_norm = Norm(cell.width)
        self.mlp = MLP(cell)

    def forward(self, x_BxSxD: Tensor, rest_BxSxD: Tensor | None, rope_2xSxh: Tensor) -> tuple[Tensor, Tensor]:
        """One layer of what is the sum of two terms (or one), as two terms."""
        x_BxSxD = summed(x_BxSxD, rest_BxSxD)
        x_BxSxD = x_BxSxD + self.attention(self.attention_norm(x_BxSxD), rope_2xSxh)
        return x_BxSxD, self.mlp(self.mlp_norm(x_BxSxD))


class Transformer(nn.Module):
    """Tokens to logits."""

    rope_2xSxh: Tensor

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.embedding = nn.Embedding(cell.vocab_size, cell.width)
        self.blocks = nn.ModuleList(Block(cell) for _ in range(cell.depth))
        self.norm = LastNorm(cell.width)
        self.head = Linear(cell.width, cell.vocab_size)
        self.register_buffer("rope_2xSxh", rotary(cell.seq_len, cell.width // cell.heads), persistent=False)

    def hidden(self, tokens_BxS: Tensor, apply: Callable[..., Any] = nn.Module.__call__) -> Tensor:
        """What the head reads, shape (B, S, D). Its parts are called through `apply`, which may compile them."""
        x_BxSxD, rest_BxSxD = apply(self.embedding, tokens_BxS), None
        for block in self.blocks:
            x_BxSxD, rest_BxSxD = apply(block, x_BxSxD, rest_BxSxD, self.rope_2xSxh)
        hidden_BxSxD: Tensor = apply(self.norm, x_BxSxD, rest_BxSxD)
        return hidden_BxSxD

    def forward(self, tokens_BxS: Tensor) -> Tensor:
        """Logits, shape (B, S, V)."""
        logits_BxSxV: Tensor = self.head(self.hidden(tokens_BxS))
        return logits_BxSxV


def summed(x: Tensor, rest: Tensor | None) -> Tensor:
    """x + rest, if there is a rest."""
    return x if rest is None else x + rest


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form; shape kept."""
    return fused.gelu(x) if x.device.type == "cpu" else fused.gelu_to_compile(x)


def rotary(length: int, head_dim: int) -> Tensor:
    """Cosines and sines of rotary embeddings (Su et al., arXiv 2104.09864), shape (2, length, head_dim / 2)."""
    rates = _ROPE_BASE ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles_Sxh = torch.outer(torch.arange(length, dtype=torch.float64), rates)
    return torch.stack([angles_Sxh.cos(), angles_Sxh.sin()]).float()


def rotate(x_BxSxHxK: Tensor, rope_2xSxh: Tensor) -> Tensor:
    """Rotate the pairs (i, i + K/2) by their position's angle, at least in float32.

    Without `torch.cat`, of which the compiler would make a pass of its own over memory.
    """
    cos_Sxh, sin_Sxh = rope_2xSxh.to(torch.promote_types(x_BxSxHxK.dtype, torch.float32))
    cos_Sx1xK, sin_Sx1xK = (torch.cat(halves, -1)[:, None] for halves in ((cos_Sxh, cos_Sxh), (-sin_Sxh, sin_Sxh)))
    swapped_BxSxHxK = x_BxSxHxK.unflatten(-1, (2, -1)).flip(-2).flatten(-2)
    turned_BxSxHxK: Tensor = x_BxSxHxK * cos_Sx1xK + swapped_BxSxHxK * sin_Sx1xK
    return turned_BxSxHxK


def build(cell: Cell) -> Transformer:
    """The cell's model at initialisation, on the CPU: its values depend on the cell's seed and shape alone.

    Embedding normal, matrices truncated normal with variance 1/fan-in, gains 1 (arXiv 2309.14322). The cell says how
    wide the embedding and the head begin: 1/sqrt(D) both, but for recipes such as muP.
    """
    generator = torch.Generator().manual_seed(cell.seed)
    model = Transformer(cell)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            elif name == "embedding.weight":
                parameter.normal_(std=cell.embedding_std, generator=generator)
            else:
                std = cell.head_std if name == "head.weight" else 1 / math.sqrt(parameter.shape[1])
                std /= _TRUNCATED_STD
                nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std, generator=generator)
    return model
