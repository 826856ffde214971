"""Tokens/s, utilisation and memory of our step and of a compiled plain loop, by turns in one process."""

import gc
import time
from collections.abc import Callable
from typing import Any

import torch

from stages.model.execution import Feed
from stages.model.transformer import build
from stages.study.cell import Cell
from stages.study.costs import count_flops
from stages.train.loop import hidden_of
from stages.train.optimizer import Optimizer
from stages.train.parameters import FlatParameters
from stages.train.ranks import ALONE
from stages.train.step import GraphedStep, Step, step_kind
from tests.gpu.phases import Context
from tests.gpu.plain import PlainLoop
from tests.gpu.shapes import PEAKS, device, settle, speed_cells, tokens_for

ROUNDS = 3
MOST = 4000  # steps that a loop can be asked for
PROFILED = (128, 512)
OTHER: dict[int, type[Step]] = {128: Step, 2048: GraphedStep}
"""Where the kind of step that the rule does not choose is measured too."""


class OurLoop:
    """The training loop's step without its books. Called, it takes one."""

    def __init__(self, cell: Cell, where: torch.device, kind: type[Step] | None = None) -> None:
        model = build(cell).to(where)
        order = torch.arange(MOST * cell.batch, device=where).remainder(64 * cell.batch).view(MOST, cell.batch)
        losses, norms = torch.zeros(2, MOST, device=where)
        flat, feed = FlatParameters(model), Feed(tokens_for(cell), cell.seq_len, where)
        kind = kind or step_kind(cell, len(flat.values), where, ALONE, True)
        optimizer, hidden = Optimizer(cell, flat), hidden_of(where.type == "cuda")
        self._take = kind(cell, model, hidden, optimizer, feed, order, [cell.lr] * MOST, losses, norms, ALONE)
        self.kind = kind.__name__
        self._step = 0

    def __call__(self) -> None:
        self._take(self._step)
        self._step += 1


def speed(context: Context) -> None:
    """Measure and keep, shape by shape."""
    where, found = device(), {}
    for cell in speed_cells(context.miniature):
        if context.over():
            break
        found[f"{cell.width}, vocabulary {cell.vocab_size:,}"] = _measured(cell, where)
        context.keep("speed", found)
        if where.type == "cuda" and cell.width in PROFILED:
            _profile(context, cell, where)
        if where.type == "cuda" and (kind := OTHER.get(cell.width)) and not context.over():
            found[f"{cell.width}, {kind.__name__}"] = _other_way(cell, kind, where)
            context.keep("speed", found)


def _measured(cell: Cell, where: torch.device) -> dict[str, Any]:
    makers: dict[str, Callable[[], Callable[[], None]]] = {
        "ours": lambda: OurLoop(cell, where),
        "plain": lambda: PlainLoop(cell, where, tokens_for(cell)),
    }
    loops, row = {}, {}
    for name, make in makers.items():
        loops[name], row[name] = _ready(make, where)
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, loop in loops.items():
            times[name].append(_timed(loop, cell.steps, where))
    for name, found in times.items():
        row[name] |= _figures(cell, sorted(found), where)
    row["ratio"] = row["ours"]["tokens_per_second"] / row["plain"]["tokens_per_second"]
    return row


def _ready(make: Callable[[], Callable[[], None]], where: torch.device) -> tuple[Callable[[], None], dict[str, Any]]:
    """A loop after its first steps, how long they took and what they asked of the device's memory."""
    gc.collect()
    started, before = time.perf_counter(), 0
    if where.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_reserved()
    loop = make()
    for _ in range(4):
        loop()
    settle(where)
    found: dict[str, Any] = {"ready_seconds": round(time.perf_counter() - started, 2)}
    if where.type == "cuda":
        found["peak_gb"] = round((torch.cuda.max_memory_reserved() - before) / 1e9, 2)
    return loop, found


def _timed(loop: Callable[[], None], steps: int, where: torch.device) -> float:
    settle(where)
    started = time.perf_counter()
    for _ in range(steps):
        loop()
    settle(where)
    return (time.perf_counter() - started) / steps


def _figures(cell: Cell, times: list[float], where: torch.device) -> dict[str, Any]:
    """From the median."""
    middle = times[len(times) // 2]
    found = {
        "ms": round(1e3 * middle, 3),
        "range_ms": [round(1e3 * times[0], 3), round(1e3 * times[-1], 3)],
        "tokens_per_second": round(cell.batch * cell.seq_len / middle),
    }
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else ""
    if peak := next((flops for key, flops in PEAKS.items() if key in name), None):
        found["mfu"] = round(count_flops(cell).total / cell.steps / middle / peak, 4)
    return found


def _other_way(cell: Cell, kind: type[Step], where: torch.device) -> dict[str, Any]:
    """What the rule that chooses between the two kinds of step is worth."""
    loop, ready = _ready(lambda: OurLoop(cell, where, kind), where)
    return ready | _figures(cell, sorted(_timed(loop, cell.steps, where) for _ in range(ROUNDS)), where)


def _profile(context: Context, cell: Cell, where: torch.device) -> None:
    """Time by kernel of three of our steps, into profile.txt."""
    from torch.profiler import ProfilerActivity, profile

    loop, _ = _ready(lambda: OurLoop(cell, where), where)
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiled:
        for _ in range(3):
            loop()
        settle(where)
    table = profiled.key_averages().table(sort_by="self_cuda_time_total", row_limit=60, max_name_column_width=110)
    with (context.out / "profile.txt").open("a") as file:
        file.write(f"width {cell.width}, three steps\n{table}\n")
