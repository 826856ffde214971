"""The yardstick, nanoGPT's way: the model compiled whole, all logits at once, fused AdamW, tokens on the device."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.study.cell import Cell


class Plain(nn.Module):
    """A GPT as a competent stranger writes it."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.embedding = nn.Embedding(cell.vocab_size, cell.width)
        self.blocks = nn.ModuleList(PlainBlock(cell) for _ in range(cell.depth))
        self.norm = nn.LayerNorm(cell.width, bias=False)
        self.head = nn.Linear(cell.width, cell.vocab_size, bias=False)
        size = cell.width // cell.heads
        angles = torch.outer(torch.arange(cell.seq_len), 10_000.0 ** (-torch.arange(0, size, 2) / size)).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, self.head.out_features), targets.reshape(-1))


class PlainBlock(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        width, size = cell.width, cell.width // cell.heads
        self.heads = cell.heads
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.q_norm, self.k_norm = nn.LayerNorm(size, bias=False), nn.LayerNorm(size, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(width, dim=2)
        q, k, v = (z.view(batch, length, self.heads, -1).transpose(1, 2) for z in (q, k, v))
        q, k = (turned(norm(z), cos.to(v.dtype), sin.to(v.dtype)) for norm, z in ((self.q_norm, q), (self.k_norm, k)))
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


class PlainLoop:
    """Called, it takes one step."""

    def __init__(self, cell: Cell, where: torch.device, tokens: np.ndarray) -> None:
        torch.set_float32_matmul_precision("high")
        self.cell, self.where = cell, where
        self.model = Plain(cell).to(where)
        self.run = torch.compile(self.model) if where.type == "cuda" else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=cell.lr, betas=(0.9, 0.95), fused=True)
        self.data = torch.from_numpy(tokens.astype(np.int64)).to(where)
        self.offsets = torch.arange(cell.seq_len + 1, device=where)

    def __call__(self) -> None:
        cell = self.cell
        self.optimizer.zero_grad(set_to_none=True)
        starts = torch.randint(0, len(self.data) - cell.seq_len - 1, (cell.batch,), device=self.where)
        for part in self.data[starts[:, None] + self.offsets].split(cell.micro_batch):
            with torch.autocast(self.where.type, torch.bfloat16):
                loss = self.run(part[:, :-1], part[:, 1:])
            (loss * len(part) / cell.batch).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
