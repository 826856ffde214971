"""The step on the device against float64 on the CPU, and which runs have the same bits."""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

import stages.model.fused as fused
from crossover.base.errors import Interrupted
from stages.model.execution import Feed
from stages.model.transformer import build
from stages.study.cell import Cell
from stages.train.checkpoint import Checkpoint
from stages.train.loop import hidden_of, train
from stages.train.optimizer import Optimizer
from stages.train.parameters import FlatParameters
from stages.train.ranks import ALONE
from stages.train.schedule import learning_rates
from stages.train.step import GraphedStep, Step
from tests.gpu.phases import Context
from tests.gpu.shapes import bench_cell, device, tokens_for

STEPS = 10
ODD_ROWS = 200  # of 512, so that the last part of the logits is shorter than the others
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "bf16": ({}, 3e-2),
    "bf16_plain": ({"qk_norm": False}, 3e-2),
    "bf16_z_odd_chunk": ({"z_loss": 1e-4}, 3e-2),
    "bf16_parts": ({"micro_batch": 3}, 3e-2),
    "fp32": ({"precision": "fp32"}, 1e-4),
    "tf32": ({"precision": "tf32"}, 5e-3),
}
"""What differs from the default, and the relative error of the first gradient that is allowed."""


WAYS: dict[str, dict[str, Any]] = {
    "captured": {"compiled": True, "kind": GraphedStep},
    "uncaptured": {"compiled": False},
    "tokens on the host": {"compiled": True, "kind": GraphedStep, "on_host": True},
    "uncaptured, tokens on the host, recomputed": {"compiled": True, "on_host": True, "again": True},
}
"""How a step may be taken on a GPU; the last two for one case only."""


def right(context: Context) -> None:
    """Measure and keep; fails where an error is larger than its case allows."""
    where, passed = device(), True
    found: dict[str, Any] = {}
    for name, (changes, limit) in CASES.items():
        if context.over():
            break
        cell = _cell(context.miniature, steps=STEPS, **changes)
        expected = run(cell, torch.device("cpu"), torch.float64, compiled=False)
        for way, options in WAYS.items() if where.type == "cuda" else [("uncaptured", {"compiled": False})]:
            if name != "bf16" and way not in ("uncaptured", "captured"):
                continue
            chunk = fused.CHUNK[where.type]
            fused.CHUNK[where.type] = ODD_ROWS * cell.vocab_size if "odd_chunk" in name else chunk
            got = run(cell, where, torch.float32, **options)
            fused.CHUNK[where.type] = chunk
            errors = {key: _relative(got[key], expected[key]) for key in ("gradient", "parameters")}
            errors["losses"] = float((got["losses"] - expected["losses"]).abs().max())
            sound = errors["gradient"] < limit and errors["losses"] < 10 * limit
            passed &= sound
            found[f"{name}, {way}"] = {**errors, "sound": sound}
            context.keep("right", {"passed": passed, **found})
    if not passed:
        raise SystemExit(1)


def _cell(miniature: bool, **changes: Any) -> Cell:
    return bench_cell(64 if miniature else 128, 4, 128, 512 if miniature else 8192, 2, **changes)


def run(
    cell: Cell, where: torch.device, dtype: torch.dtype, compiled: bool,
    kind: type[Step] = Step, on_host: bool = False, again: bool = False,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Ten steps: the first clipped gradient (times 1 - beta1), all losses and the parameters they end with.

    `on_host`: the tokens stay there; `again`: blocks are computed again in the backward pass.
    """
    double = dtype == torch.float64
    model = build(cell).to(where, dtype)
    optimizer = Optimizer(cell, FlatParameters(model))
    optimizer.moments = optimizer.moments.to(dtype)
    feed = Feed(tokens_for(cell), cell.seq_len, where, on_host)
    order = torch.arange(cell.steps * cell.batch, device=feed.home)
    losses, norms = torch.zeros(2, cell.steps, device=where, dtype=dtype)
    arithmetic = cell.model_copy(update={"precision": "fp32"}) if double else cell
    take = kind(
        arithmetic, model, hidden_of(compiled, again), optimizer, feed, order.view(cell.steps, cell.batch),
        learning_rates(cell), losses, norms, ALONE,
    )  # fmt: skip
    take(0)
    gradient = optimizer.moments[0].double().cpu().clone()
    for step in range(1, cell.steps):
        take(step)
    return {"gradient": gradient, "losses": losses.double().cpu(), "parameters": optimizer.flat.values.double().cpu()}


def _relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def bits(context: Context) -> None:
    """Whether a run is the same twice, and interrupted; and twice in torch's deterministic mode."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # before the first product; deterministic mode asks for it
    where = device()
    cell = bench_cell(128, 2 if context.miniature else 16, 64 if context.miniature else 512, 512, 2, window=10)
    tokens, found = tokens_for(cell), {}
    once, again = (train(cell, tokens, where).losses for _ in range(2))
    found["twice"] = _same(once, again)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, calls = Checkpoint(Path(folder) / "checkpoint.safetensors", "bits"), iter(range(1000))
        try:
            train(cell, tokens, where, checkpoint, stopping=lambda: next(calls) == 14)
        except Interrupted:
            found["resumed"] = _same(once, train(cell, tokens, where, checkpoint).losses)
    context.keep("bits", found)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch._dynamo.reset()
    try:
        once, again = (train(cell, tokens, where).losses for _ in range(2))
        found["deterministic_twice"] = _same(once, again)
    except RuntimeError as error:  # some operation has no such form, or none that a graph can hold
        found["deterministic_twice"] = f"{type(error).__name__}: {error}"[:300]
    context.keep("bits", found)


def _same(a: torch.Tensor, b: torch.Tensor) -> dict[str, Any]:
    equal = bool((a == b).all())
    return {"same_bits": equal, "largest_difference": float((a - b).abs().max())} | (
        {} if equal else {"differs_from_step": int((a != b).nonzero()[0])}
    )
