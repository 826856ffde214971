"""The cells that are measured, tokens for them, and a device to measure on."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from stages.study.cell import Cell

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 FLOP/s by the vendor's data sheets."""


def device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def settle(where: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def seconds(work: Callable[[], Any], where: torch.device, repeats: int = 10) -> float:
    """Median time of one call, after three."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        settle(where)
        started = time.perf_counter()
        work()
        settle(where)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def bench_cell(width: int, batch: int = 64, seq_len: int = 512, vocab: int = 8192, depth: int = 6, **more: Any) -> Cell:
    """A cell in the shape of scale `gpu`."""
    lr, std = 2.0**-8, width**-0.5
    fields = {
        "width": width, "depth": depth, "heads": max(1, width // 64), "seq_len": seq_len, "vocab_size": vocab,
        "qk_norm": True, "activation": "gelu", "hidden": 4 * width, "embedding_std": std, "head_std": std,
        "batch": batch, "micro_batch": batch, "steps": 30, "unique_tokens": batch * seq_len * 64,
        "optimizer": "adamw", "lr": lr, "lr_embedding": lr, "lr_head": lr, "lr_gains": lr, "final_lr": 1e-5,
        "schedule": "cosine", "warmup_steps": 1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 1e-4,
        "l2": 0.0, "clip": 1.0, "normalise": False, "z_loss": 0.0, "precision": "bf16", "window": 50, "seed": 0,
    }  # fmt: skip
    return Cell.model_validate(fields | more)


def speed_cells(miniature: bool) -> list[Cell]:
    """From the most telling on: scale `gpu`'s, then the paper's vocabulary, whose number is odd."""
    if miniature:
        return [bench_cell(64, 2, 64, 512, 2, steps=3)]
    narrow = [bench_cell(width) for width in (512, 128, 256)]
    return [*narrow, bench_cell(2048, vocab=32_101, micro_batch=32, steps=6), bench_cell(1024, vocab=32_101, steps=10)]


def tokens_for(cell: Cell) -> np.ndarray:
    """As frequent as words are, 1 / rank: uniform tokens would hide how rows of the embedding's gradient contend."""
    ranks = cell.vocab_size ** np.random.default_rng(0).random(cell.unique_tokens + 1) - 1
    return np.minimum(ranks, cell.vocab_size - 1).astype(np.uint16)
