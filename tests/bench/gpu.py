"""One GPU at the paper's shape: our loop against a plain compiled one, in one run; and a grid of learning rates.

    python -m tests.bench.gpu [WIDTH...]          on a GPU: 6 layers, 256 x 512 tokens a step, vocabulary 32,101, bf16
    python -m tests.bench.gpu --miniature         the same code in small, where there is no GPU

Needs torch, numpy, pydantic and the modules that training imports. Tokens/s, model FLOP utilisation (matrix products of
forward and backward pass over the device's dense bf16 peak) and peak memory. The grid is five learning rates of one
shape, one after the other in one process: one compilation serves all. Last, several cells beside each other on one
device, a process each: the count from which on tokens/s of all together no longer grow is what `cells_at_once` of the
scale's `machine` in params.yaml should say, and what the pool then starts per GPU.
"""

import gc
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from stages.study.cell import Cell
from stages.study.costs import count_flops
from stages.train.loop import train
from tests.bench.keeping import keep
from tests.conftest import make_cell

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16 FLOP/s, vendor's data sheets
GRID_LRS = (0.5, 1.0, 2.0, 4.0, 8.0)
AT_ONCE = (1, 2, 4)
_PATIENCE = 600.0  # seconds to wait for one that may have died


@dataclass(frozen=True)
class Shape:
    """What is trained."""

    widths: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    depth: int = 6
    batch: int = 256
    seq_len: int = 512
    vocab: int = 32_101
    head_dim: int = 64
    steps: int = 20
    grid_width: int = 256
    precision: str = "bf16"

    def cell(self, width: int, steps: int, lr: float = 1.0) -> Cell:
        """Wide models take a batch in parts, as both loops do."""
        parts = max(1, width // 512)
        return make_cell(
            width=width, depth=self.depth, heads=max(1, width // self.head_dim), seq_len=self.seq_len,
            vocab_size=self.vocab, batch=self.batch, micro_batch=max(1, self.batch // parts), steps=steps,
            unique_tokens=self.batch * self.seq_len * (self.steps + 5), lr=lr * 2**-9, final_lr=0.0, warmup_steps=0,
            weight_decay=1e-4, window=50, precision=self.precision, clip=1.0,
        )  # fmt: skip


MINIATURE = Shape((16, 32), 2, 8, 32, 128, 8, 5, 16, "fp32")


class Plain(nn.Module):
    """A GPT as a competent stranger writes it: compiled whole, all logits at once, torch's fused AdamW."""

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


def plain(cell: Cell, tokens: np.ndarray, device: torch.device) -> float:
    """Seconds of the plain loop for the cell's steps, after a warm-up."""
    torch.set_float32_matmul_precision("high")
    model = Plain(cell).to(device)
    step_of = torch.compile(model) if device.type == "cuda" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=cell.lr, betas=(0.9, 0.95), fused=True)
    data = torch.from_numpy(tokens.astype(np.int64))
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        starts = torch.randint(0, len(data) - cell.seq_len - 1, (cell.batch,), generator=generator)
        block = torch.stack([data[i : i + cell.seq_len + 1] for i in starts.tolist()])
        optimizer.zero_grad(set_to_none=True)
        for part in block.to(device, non_blocking=True).split(cell.micro_batch):
            with torch.autocast(device.type, torch.bfloat16, enabled=cell.precision == "bf16"):
                loss = step_of(part[:, :-1], part[:, 1:])
            (loss * len(part) / cell.batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return _timed(step, cell.steps, device)


def _timed(step: Callable[[], None], steps: int, device: torch.device) -> float:
    for _ in range(5):
        step()
    _settle(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    _settle(device)
    return time.perf_counter() - started


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ours(shape: Shape, width: int, tokens: np.ndarray, device: torch.device) -> float:
    """Seconds of our loop, initialisation included, after a short run that compiles."""
    train(shape.cell(width, 3), tokens, device)
    _settle(device)
    return train(shape.cell(width, shape.steps), tokens, device).seconds


def measured(work: Callable[[], float], cell: Cell, device: torch.device) -> dict[str, Any]:
    """Tokens/s, utilisation and peak memory; where the device is too small for it, what it said."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        seconds = work()
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    found: dict[str, Any] = {"tokens_per_second": cell.tokens / seconds}
    if device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
        name = torch.cuda.get_device_name(device)
        if peak := next((flops for key, flops in PEAKS.items() if key in name), None):
            found["mfu"] = count_flops(cell).total / seconds / peak
    return found


def grid(shape: Shape, tokens: np.ndarray, device: torch.device) -> dict[str, float]:
    """Seconds of the first and of each further learning rate, and how many graphs were compiled for all."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    seconds = [train(shape.cell(shape.grid_width, shape.steps, lr), tokens, device).seconds for lr in GRID_LRS]
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return {"first_seconds": seconds[0], "next_seconds": float(np.median(seconds[1:])), "graphs": graphs}


def sharing(shape: Shape, width: int, tokens: np.ndarray, device: torch.device) -> dict[str, float]:
    """Tokens/s of 1, 2 and 4 cells at once on the device, all together, from their first common step to the last."""
    spawn, found = multiprocessing.get_context("spawn"), {}
    for count in AT_ONCE:
        ready, results = spawn.Barrier(count), spawn.Queue()
        beside = [
            spawn.Process(target=_beside, args=(shape, width, tokens, device, ready, results)) for _ in range(count)
        ]
        for process in beside:
            process.start()
        spans = [results.get(timeout=_PATIENCE) for _ in beside]
        for process in beside:
            process.join()
        wall = max(end for _, end in spans) - min(start for start, _ in spans)
        found[str(count)] = count * shape.cell(width, shape.steps).tokens / wall
    return found


def _beside(shape: Shape, width: int, tokens: np.ndarray, device: torch.device, ready: Any, results: Any) -> None:
    torch.set_num_threads(1)
    train(shape.cell(width, 3), tokens, device)
    ready.wait(_PATIENCE)
    started = time.time()
    train(shape.cell(width, shape.steps), tokens, device)
    results.put((started, time.time()))


def main() -> None:
    """Measure, print and keep."""
    small = "--miniature" in sys.argv
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not small:
        raise SystemExit("no GPU here; `python -m tests.bench.gpu --miniature` runs the same code in small")
    shape = MINIATURE if small else Shape()
    widths = [int(word) for word in sys.argv[1:] if word.isdigit()] or list(shape.widths)
    size = shape.batch * shape.seq_len * (shape.steps + 5) + 1
    tokens = np.random.default_rng(0).integers(0, shape.vocab, size).astype(np.uint16)
    table = Table(
        "width", "ours", "plain", "ratio", "MFU, ours", "MFU, plain", "GB, ours", "GB, plain", title="tokens/s"
    )
    results: dict[str, Any] = {}
    for width in widths:
        cell = shape.cell(width, shape.steps)
        fast = measured(lambda width=width: ours(shape, width, tokens, device), cell, device)
        slow = measured(lambda cell=cell: plain(cell, tokens, device), cell, device)
        results[str(width)] = {"ours": fast, "plain": slow}
        ratio = fast.get("tokens_per_second", 0) / slow.get("tokens_per_second", float("inf"))
        shown = (("tokens_per_second", ",.0f"), ("mfu", ".1%"), ("peak_gb", ".1f"))
        cells = [f"{side[name]:{form}}" if name in side else "-" for name, form in shown for side in (fast, slow)]
        table.add_row(str(width), *cells[:2], f"{ratio:.2f}", *cells[2:])
        torch._dynamo.reset()
    Console().print(table)
    results["grid"] = grid(shape, tokens, device)
    print(f"five learning rates at width {shape.grid_width}: {results['grid']}")
    for width in widths[:2]:
        results[f"sharing at {width}"] = beside = sharing(shape, width, tokens, device)
        print(f"width {width}: {', '.join(f'{count} at once {rate:,.0f} tokens/s' for count, rate in beside.items())}")
    if not small:
        keep("gpu", results, device.type)


if __name__ == "__main__":
    main()
