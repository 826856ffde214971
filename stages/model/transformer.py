"""A decoder-only Transformer: pre-norm, rotary positions, optional QK-Norm, GeLU or GeGLU, no biases, untied head.

Following the set-up of arXiv 2409.15156 and, where that is silent, of arXiv 2309.14322. Tensor names end in their
shape: B batch, S sequence, D width, H heads, K head size, F inner width of the MLP, V vocabulary.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.study.cell import Cell

_ROPE_BASE = 10_000.0
_TRUNCATED_STD = 0.87962566103423978  # standard deviation of a unit normal truncated at two


class Norm(nn.Module):
    """Layer norm with a gain and no bias over the last axis."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; shape kept."""
        return F.layer_norm(x, self.gain.shape, self.gain)


class Attention(nn.Module):
    """Causal self-attention with rotary positions; queries and keys normalised per head where the cell says so."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        width, self.heads = cell.width, cell.heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        head_dim = width // cell.heads
        self.query_norm = Norm(head_dim) if cell.qk_norm else nn.Identity()
        self.key_norm = Norm(head_dim) if cell.qk_norm else nn.Identity()

    def forward(self, x_BxSxD: Tensor, rope_2xSxK: Tensor) -> Tensor:
        """Mix positions; shape kept."""
        B, S, D = x_BxSxD.shape
        qkv_3xBxHxSxK = self.qkv(x_BxSxD).view(B, S, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q_BxHxSxK, k_BxHxSxK, v_BxHxSxK = qkv_3xBxHxSxK.unbind(0)
        q_BxHxSxK = rotate(self.query_norm(q_BxHxSxK), rope_2xSxK)
        k_BxHxSxK = rotate(self.key_norm(k_BxHxSxK), rope_2xSxK)
        y_BxHxSxK = F.scaled_dot_product_attention(q_BxHxSxK, k_BxHxSxK, v_BxHxSxK, is_causal=True)
        out: Tensor = self.out(y_BxHxSxK.transpose(1, 2).reshape(B, S, D))
        return out


class MLP(nn.Module):
    """gelu(x U) V, or, gated, (gelu(x G) * (x U)) V (GEGLU of Shazeer, arXiv 2002.05202, equation 6)."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.gated = cell.activation == "geglu"
        self.up = nn.Linear(cell.width, cell.hidden * (2 if self.gated else 1), bias=False)
        self.down = nn.Linear(cell.hidden, cell.width, bias=False)

    def forward(self, x_BxSxD: Tensor) -> Tensor:
        """Each position alone; shape kept."""
        h_BxSxF = self.up(x_BxSxD)
        if self.gated:
            gate_BxSxF, h_BxSxF = h_BxSxF.chunk(2, dim=-1)
            h_BxSxF = F.gelu(gate_BxSxF, approximate="tanh") * h_BxSxF
        else:
            h_BxSxF = F.gelu(h_BxSxF, approximate="tanh")
        out: Tensor = self.down(h_BxSxF)
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.attention_norm = Norm(cell.width)
        self.attention = Attention(cell)
        self.mlp_norm = Norm(cell.width)
        self.mlp = MLP(cell)

    def forward(self, x_BxSxD: Tensor, rope_2xSxK: Tensor) -> Tensor:
        """One layer; shape kept."""
        x_BxSxD = x_BxSxD + self.attention(self.attention_norm(x_BxSxD), rope_2xSxK)
        mixed_BxSxD: Tensor = x_BxSxD + self.mlp(self.mlp_norm(x_BxSxD))
        return mixed_BxSxD


class Transformer(nn.Module):
    """Tokens to logits."""

    rope_2xSxK: Tensor

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.embedding = nn.Embedding(cell.vocab_size, cell.width)
        self.blocks = nn.ModuleList(Block(cell) for _ in range(cell.depth))
        self.norm = Norm(cell.width)
        self.head = nn.Linear(cell.width, cell.vocab_size, bias=False)
        self.register_buffer("rope_2xSxK", rotary(cell.seq_len, cell.width // cell.heads), persistent=False)

    def forward(self, tokens_BxS: Tensor) -> Tensor:
        """Logits, shape (B, S, V)."""
        x_BxSxD = self.embedding(tokens_BxS)
        for block in self.blocks:
            x_BxSxD = block(x_BxSxD, self.rope_2xSxK)
        logits_BxSxV: Tensor = self.head(self.norm(x_BxSxD))
        return logits_BxSxV


def rotary(length: int, head_dim: int) -> Tensor:
    """Cosines and sines of rotary embeddings (Su et al., arXiv 2104.09864), shape (2, length, head_dim)."""
    rates = _ROPE_BASE ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles_SxK = torch.outer(torch.arange(length, dtype=torch.float64), rates).repeat(1, 2)
    return torch.stack([angles_SxK.cos(), angles_SxK.sin()]).float()


def rotate(x_BxHxSxK: Tensor, rope_2xSxK: Tensor) -> Tensor:
    """Rotate the pairs (i, i + K/2) by their position's angle."""
    cos_SxK, sin_SxK = rope_2xSxK.to(x_BxHxSxK.dtype)
    left, right = x_BxHxSxK.chunk(2, dim=-1)
    turned: Tensor = x_BxHxSxK * cos_SxK + torch.cat([-right, left], dim=-1) * sin_SxK
    return turned


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


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy per token. Its backward pass turns the saved log-probabilities into the gradient in place, where
    torch's own makes two more arrays of that size: for small models that is a fifth of a step.
    """

    @staticmethod
    def forward(ctx: Any, logits_NxV: Tensor, targets_N: Tensor) -> Tensor:
        logp_NxV = logits_NxV.log_softmax(-1)
        ctx.save_for_backward(logp_NxV, targets_N)
        return -logp_NxV.gather(1, targets_N[:, None])[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        logp_NxV, targets_N = ctx.saved_tensors
        gradient_NxV = logp_NxV.exp_()
        gradient_NxV[torch.arange(len(targets_N), device=targets_N.device), targets_N] -= 1
        return gradient_NxV.mul_(gradients[0][:, None]), None


def token_losses(logits_BxSxV: Tensor, targets_BxS: Tensor) -> Tensor:
    """Cross-entropy in nats of every token, in float32, shape (B, S). Can be differentiated once."""
    losses_BS: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        logits_BxSxV.float().flatten(0, 1), targets_BxS.flatten()
    )
    return losses_BS.view(targets_BxS.shape)
