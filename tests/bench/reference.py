"""The frozen yardstick: a good plain training loop of the same architecture, as a competent stranger writes it.

One file, standard parts: torch modules, scaled_dot_product_attention, fused AdamW, clip_grad_norm_, a cosine schedule.
Do not optimise it: `make bench` reports our loop as a ratio to it.

    python -m tests.bench.reference THREADS WIDTH...     prints tokens per second, a line per width
"""

import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTH, HEAD_DIM, SEQ_LEN, BATCH, VOCAB, WARM_UP = 2, 8, 64, 16, 1024, 10


class Norm(nn.LayerNorm):
    def __init__(self, size: int) -> None:
        super().__init__(size, bias=False)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_DIM
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.q_norm, self.k_norm = Norm(HEAD_DIM), Norm(HEAD_DIM)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(width, dim=2)
        q, k, v = (z.view(batch, length, self.heads, HEAD_DIM).transpose(1, 2) for z in (q, k, v))
        q, k = rotate(self.q_norm(q), cos, sin), rotate(self.k_norm(k), cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


class GPT(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(DEPTH))
        self.norm = Norm(width)
        self.head = nn.Linear(width, VOCAB, bias=False)
        angles = torch.outer(torch.arange(SEQ_LEN), 10_000.0 ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).view(-1, VOCAB), targets.reshape(-1))


def train(width: int, steps: int, threads: int) -> float:
    """Tokens per second over `steps` steps, after a warm-up."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = GPT(width)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), fused=True)
    data = torch.randint(0, VOCAB, (200_000,))
    for step in range(steps + WARM_UP):
        if step == WARM_UP:
            started = time.perf_counter()
        starts = torch.randint(0, len(data) - SEQ_LEN - 1, (BATCH,)).tolist()
        x = torch.stack([data[i : i + SEQ_LEN] for i in starts])
        y = torch.stack([data[i + 1 : i + 1 + SEQ_LEN] for i in starts])
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * step / (steps + WARM_UP)))
        optimizer.zero_grad(set_to_none=True)
        model(x, y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return steps * BATCH * SEQ_LEN / (time.perf_counter() - started)


def steps_for(width: int) -> int:
    """Enough steps for a few seconds."""
    return max(50, min(250, 6000 // width))


if __name__ == "__main__":
    for size in map(int, sys.argv[2:]):
        print(train(size, steps_for(size), int(sys.argv[1])))
