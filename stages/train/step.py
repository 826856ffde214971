"""One step: the gradient of a batch, and the update. What the training loop repeats.

As Python calls it, on any device, alone or as one of several; by hand, on a CPU; or, on one GPU, as one CUDA graph:
small models spend most of a step on launching kernels, of which a replay has one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.model.by_hand import Hand, goes_by_hand
from stages.model.execution import Feed, parted, precision
from stages.model.fused import head_gradients, head_loss
from stages.model.transformer import Transformer
from stages.study.cell import Cell
from stages.train.optimizer import Optimizer
from stages.train.ranks import Ranks

_LONG = 5e13
"""FLOPs of one pass forward and backward up to which a captured step was measured to be the faster one, on an H200."""
_UNCAPTURED = 2  # steps, in which the compiler and the libraries make what must not be made during a capture


@dataclass
class Step:
    """Takes one step after the other. Losses and gradient norms go into two vectors on the device."""

    cell: Cell
    model: Transformer
    hidden: Callable[[Transformer, Tensor], Tensor]
    optimizer: Optimizer
    feed: Feed
    order: Tensor
    """Windows of every step, shape (steps, batch), where `feed` looks them up."""
    lrs: list[float]
    losses: Tensor
    norms: Tensor
    ranks: Ranks

    def __call__(self, step: int) -> None:
        """Take step number `step`, counted from 0."""
        flat, loss = self.optimizer.flat, torch.zeros((), device=self.losses.device)
        windows_B = self.ranks.share(self.order[step])
        for part_M in windows_B.split(self.cell.micro_batch):
            share = len(part_M) / len(windows_B)
            inputs_MxS, targets_MxS = self.feed(part_M)
            with precision(self.cell, self.losses.device):
                hidden_MxSxD = self.hidden(self.model, inputs_MxS)
                objective, part_loss = head_loss(hidden_MxSxD, self.model.head.weight, targets_MxS, self.cell.z_loss)
            objective.backward(torch.full_like(objective, share))
            loss += share * part_loss
        flat.gather()
        self.norms[step] = self.optimizer.step(self.lrs[step])
        flat.spread()
        self.losses[step] = self.ranks.average(loss)


@dataclass
class HandStep(Step):
    """The same by hand, to the last bit while all is finite (see `stages.model.by_hand`). Only for a process alone."""

    def __post_init__(self) -> None:
        cell, gradients = self.cell, self.optimizer.flat.gradients
        parts = [slice(start, start + cell.micro_batch) for start in range(0, cell.batch, cell.micro_batch)]
        sizes = [len(range(cell.batch)[part]) for part in parts]
        hands = {size: Hand(cell, self.model, size) for size in dict.fromkeys(sizes)}
        self._parts = [(part, hands[size], size / cell.batch) for part, size in zip(parts, sizes, strict=True)]
        self._summed = torch.zeros_like(gradients) if len(parts) > 1 else None

    @torch.inference_mode()
    def __call__(self, step: int) -> None:
        """Take step number `step`, counted from 0."""
        windows_B, gradients, summed = self.order[step], self.optimizer.flat.gradients, self._summed
        loss = torch.zeros(())
        for part, hand, share in self._parts:
            loss += share * hand(*self.feed(windows_B[part]), share)
            if summed is not None:  # a hand writes over the gradients of the part before
                summed.copy_(gradients.add_(summed) if part.start else gradients)
        self.norms[step] = self.optimizer.step(self.lrs[step])
        self.losses[step] = loss


@dataclass
class GraphedStep(Step):
    """The same as a function of nothing but what lies on the GPU, the step's number included; captured, then replayed.

    Only for a process that is alone, and for steps taken in order.
    """

    def __post_init__(self) -> None:
        device, cell = self.losses.device, self.cell
        self._number = torch.full((1,), self.optimizer.steps, device=device)
        numbers = [self.optimizer.numbers(step, lr) for step, lr in enumerate(self.lrs, 1)]
        self._numbers_Tx5 = torch.tensor(numbers, dtype=torch.float32, device=device)
        self._parameters, self._gradient_views = self.optimizer.flat.pairs()
        self._brought = self.feed.empty_block(cell.batch) if self.feed.on_host else None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._taken = 0

    def __call__(self, step: int) -> None:
        """Take step number `step`, which is the one after the last."""
        if self._brought is not None:
            self._brought.copy_(self.feed.block(self.order[step].numpy()), non_blocking=True)
        if self._taken < _UNCAPTURED:
            self.whole()
        else:
            self._graph = self._graph or self._capture()
            self._graph.replay()
        self._taken += 1
        self.optimizer.steps = step + 1

    def _capture(self) -> torch.cuda.CUDAGraph:
        torch.cuda.empty_cache()  # the graph has memory of its own
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.whole()
        return graph

    def whole(self) -> None:
        """One step without a question to the host."""
        number, batch = self._number, self.cell.batch
        loss = torch.zeros((), device=self.losses.device)
        for start in range(0, batch, self.cell.micro_batch):
            inputs_MxS, targets_MxS = self._part(slice(start, start + self.cell.micro_batch))
            share = len(inputs_MxS) / batch
            part_loss, found = self._gradients(inputs_MxS, targets_MxS, share)
            (torch._foreach_add_ if start else torch._foreach_copy_)(self._gradient_views, found)
            loss += share * part_loss
        norm = self.optimizer.update(self._numbers_Tx5.index_select(0, number)[0])
        self.norms.index_copy_(0, number, norm[None])
        self.losses.index_copy_(0, number, loss[None])
        number += 1

    def _part(self, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a part of the step's batch."""
        if self._brought is not None:
            return parted(self._brought[part])
        return self.feed(self.order.index_select(0, self._number)[0, part])

    def _gradients(self, inputs_MxS: Tensor, targets_MxS: Tensor, share: float) -> tuple[Tensor, list[Tensor]]:
        """The mean cross-entropy of a part, and `share` times the gradient of every parameter."""
        head = self.model.head.weight
        with precision(self.cell, self.losses.device):
            hidden_MxSxD = self.hidden(self.model, inputs_MxS)
            with torch.no_grad():
                _, losses_N, d_hidden_NxD, d_head_VxD = head_gradients(
                    hidden_MxSxD.flatten(0, 1), head, targets_MxS.flatten(), self.cell.z_loss, share
                )
        others = [parameter for parameter in self._parameters if parameter is not head]
        found = iter(torch.autograd.grad(hidden_MxSxD, others, d_hidden_NxD.view_as(hidden_MxSxD)))
        return losses_N.mean(), [d_head_VxD if parameter is head else next(found) for parameter in self._parameters]


def step_kind(cell: Cell, parameters: int, device: torch.device, ranks: Ranks, compiled: bool) -> type[Step]:
    """How a cell's steps are taken: by hand on a CPU, captured where launches would cost, on one GPU."""
    if goes_by_hand(cell, device) and ranks.count == 1 and not compiled:
        return HandStep
    short = 6.0 * parameters * cell.micro_batch * cell.seq_len < _LONG
    return GraphedStep if device.type == "cuda" and ranks.count == 1 and short else Step
