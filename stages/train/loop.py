"""The training loop, top to bottom: one cell, one device (or several under torchrun), one pass unless it asks for more.

On a CPU bit-identical however often it is interrupted; on a GPU not even twice in a row (docs/speed.md). The host waits
for the device only every `window` steps.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from crossover.base.errors import DamageError, Interrupted
from stages.model.execution import Feed
from stages.model.transformer import Transformer, build, summed
from stages.shards.reading import Stream, TokenArray
from stages.shards.windows import window_order
from stages.study.cell import Cell
from stages.train.checkpoint import Checkpoint
from stages.train.observer import Observer, Window, nobody
from stages.train.optimizer import Optimizer
from stages.train.parameters import FlatParameters, ShardedParameters
from stages.train.ranks import ALONE, Ranks
from stages.train.schedule import learning_rates
from stages.train.step import step_kind

_SPIKE = 7.0  # standard deviations above the mean of the preceding window (OLMo 2, arXiv 2501.00656)
_REST = 20.0  # times the last checkpoint's seconds until the next
_SHAPES = 1024
"""Compiled variants in one process. torch's 8 would leave the ninth uncompiled for good, and say so on stderr only."""
_WORSE = 0.5  # nats above the loss at initialisation, about which the first windows of a slow warmup scatter


@dataclass(frozen=True)
class Curve:
    """What a training run says about itself: one entry per step done."""

    diverged: bool
    lrs: list[float]
    losses: Tensor
    grad_norms: Tensor

    @property
    def steps_done(self) -> int:
        """Steps taken before the end or divergence."""
        return len(self.losses)

    @property
    def loss_init(self) -> float:
        """Loss on the first batch before any update, in nats per token."""
        return float(self.losses[0])

    def loss_online(self, cell: Cell) -> float | None:
        """Mean loss over the last tenth of the first pass, each window before its first use; None if diverged."""
        if self.diverged:
            return None
        first_pass = cell.unique_tokens // (cell.batch * cell.seq_len)
        return float(self.losses[first_pass - max(1, first_pass // 10) : first_pass].double().mean())

    def n_spikes(self, cell: Cell) -> int:
        """Steps whose loss lies 7 standard deviations above the mean of the preceding window."""
        losses = self.losses.double()
        if len(losses) <= cell.window:
            return 0
        before = losses.unfold(0, cell.window, 1)[:-1]
        return int((losses[cell.window :] > before.mean(1) + _SPIKE * before.std(1)).sum())


@dataclass(frozen=True)
class Trained(Curve):
    """The outcome of a cell."""

    model: Transformer
    parameters: dict[str, Tensor]
    seconds: float


def train(
    cell: Cell,
    tokens: TokenArray | Stream,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    every: float = 30.0,
    observe: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
    compiled: bool | None = None,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train `cell` on `tokens` (its prefix of the stream and one token more), resuming from `checkpoint` if it exists.

    Writes a checkpoint every `every` seconds, or less often where writing would take more than a twentieth of the time,
    and when `stopping` says so, then raises `Interrupted`. `observe` is told of every window. By default the model is
    compiled on a GPU, once per shape and process whatever the learning rate, and not on a CPU, where that takes half a
    minute and by hand is faster (`stages.model.by_hand`). Of several processes (`ranks`) only the first needs
    `checkpoint`; sharded ones write it at the end of a window.
    """
    started = time.monotonic()
    model = build(cell) if ranks.sharded else build(cell).to(device)  # sharding moves it, block by block
    compiled = device.type == "cuda" if compiled is None else compiled
    flat = ShardedParameters(model, ranks, compiled) if ranks.sharded else FlatParameters(model, ranks)
    optimizer = Optimizer(cell, flat)
    losses, norms = torch.full((2, cell.steps), torch.nan, device=device)
    earlier = _resume(checkpoint, ranks, optimizer, losses, norms)
    step = optimizer.steps

    def seconds() -> float:
        return earlier + time.monotonic() - started

    def save() -> None:
        state = {"parameters": flat.whole(flat.values), "moments": flat.whole(optimizer.moments)}
        if checkpoint:
            tensors = {**state, "losses": losses, "grad_norms": norms}
            checkpoint.save_behind(tensors, step, seconds())

    feed = Feed(tokens, cell.seq_len, device)
    order = torch.from_numpy(window_order(cell)).to(feed.home)
    lrs = learning_rates(cell)
    hidden = hidden_of(compiled and not ranks.sharded, cell.recomputes)
    kind = step_kind(cell, len(flat.values), device, ranks, compiled)
    take = kind(cell, model, hidden, optimizer, feed, order, lrs, losses, norms, ranks)
    due, diverged, since = time.monotonic() + every, False, step - step % cell.window
    with checkpoint or nullcontext():
        while step < cell.steps and not diverged:
            take(step)
            step += 1
            if step % cell.window == 0 or step == cell.steps:
                diverged = has_diverged(losses[:step], cell.window)
                observe(Window(step, losses[since:step].tolist(), lrs[since:step], norms[since:step].tolist()))
                since = step
            overdue = ranks.agree_to_save(time.monotonic() > due, step, cell.window, device)
            stop = ranks.agree(stopping(), step, cell.window, device)
            if stop and not diverged:  # who goes on from a checkpoint takes it for sound
                save()
                raise Interrupted(f"stopped after step {step} of {cell.steps}")
            if overdue and step < cell.steps and not diverged:
                save()
                due = time.monotonic() + max(every, _REST * checkpoint.seconds if checkpoint else 0.0)
    return Trained(
        diverged=diverged,
        lrs=lrs[:step],
        losses=losses[:step].cpu(),
        grad_norms=norms[:step].cpu(),
        model=model,
        parameters=flat.named(),
        seconds=seconds(),
    )


def hidden_of(compiled: bool, checkpointed: bool = False) -> Callable[[Transformer, Tensor], Tensor]:
    """The model up to its head. Compiled by blocks: one graph serves all blocks of a shape, and whatever their number.

    Checkpointed, a block keeps its input only, and is computed again for the backward pass (Chen et al., arXiv
    1604.06174): a third more work, for a tenth of the memory between the two.
    """
    if compiled:
        torch._dynamo.config.recompile_limit = _SHAPES
        torch._dynamo.config.fail_on_recompile_limit_hit = True
    call = _compiled_call() if compiled else _call
    if not checkpointed:
        return lambda model, tokens: model.hidden(tokens, call)

    def again(module: nn.Module, x: Tensor, *others: Tensor | None) -> Any:
        if others:  # of two terms only the sum is kept
            x, others = summed(x, others[0]), (None, *others[1:])
        return recomputed(call, module, x, *others, use_reentrant=False, preserve_rng_state=False)

    return lambda model, tokens: model.hidden(tokens, again)


def _call(module: nn.Module, *inputs: Tensor | None) -> Any:
    return module(*inputs)


@cache
def _compiled_call() -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(_call, dynamic=False)
    return compiled


def has_diverged(losses: Tensor, window: int) -> bool:
    """Not finite in the last window, or on average half a nat above the loss at initialisation."""
    recent = losses[-window:]
    return not bool(torch.isfinite(recent).all() & (recent.mean() <= losses[0] + _WORSE))


def _resume(checkpoint: Checkpoint | None, ranks: Ranks, optimizer: Optimizer, losses: Tensor, norms: Tensor) -> float:
    """Bring everybody to where the first process's checkpoint stands; returns the seconds spent until then."""
    tensors, step, earlier = (checkpoint and _load(checkpoint)) or ({}, 0, 0.0)
    if step:
        losses.copy_(tensors["losses"])
        norms.copy_(tensors["grad_norms"])
    optimizer.steps = ranks.follow_first(step, losses, norms)
    if optimizer.steps or not ranks.sharded:  # else another host's processor may begin with other roundings
        optimizer.flat.take(optimizer.flat.values, tensors.get("parameters"))
    if optimizer.steps:
        optimizer.flat.take(optimizer.moments, tensors.get("moments"))
    optimizer.flat.spread()
    return earlier


def _load(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], int, float] | None:
    try:
        return checkpoint.load()
    except DamageError as error:
        print(f"{error}; the cell starts again from step 0", flush=True)
        return None
