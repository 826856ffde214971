"""AdamW and Lion with independent weight decay, on one flat vector of parameters (see `parameters`).

Independent decay (arXiv 2309.14322): each step multiplies matrices by 1 - weight_decay x (lr / peak lr), so the
strength does not move when the peak learning rate does. Gains are not decayed, and no L2 term pulls at them.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby

import torch
from torch import Tensor

from stages.study.cell import Cell
from stages.train.parameters import FlatParameters

_TINY = 1e-12  # a gradient of zero stays zero when it is normalised
_MARGIN = 1e-6  # of torch's clipping by norm


class Optimizer:
    """The cell's optimizer. Its whole state is its moments and the step count.

    AdamW is Adam (arXiv 1412.6980) with bias correction. Lion (arXiv 2302.06675, algorithm 2) has one moment and steps
    by the sign of a mixture of it and the gradient.

    AdamW is the one pass over memory that torch.optim makes with `fused=True`, called without torch.optim, whose first
    call imports the compiler, which takes longer than a small cell. On a GPU clipping and decay are in that pass too.
    """

    def __init__(self, cell: Cell, parameters: FlatParameters) -> None:
        self._cell, self.flat = cell, parameters
        self._update = {"adamw": self._adamw, "lion": self._lion}[cell.optimizer]
        values = parameters.values
        self.moments = torch.zeros(2 if cell.optimizer == "adamw" else 1, len(values), device=values.device)
        self.steps = 0
        self._parts = _rate_parts(cell, parameters.sizes)

    def step(self, lr: float) -> Tensor:
        """One update at the schedule's rate; gradients are zeroed. Returns their norm, still on the device.

        The norm is that of the objective's gradient, L2 term included, before it is clipped or normalised.
        """
        self.steps += 1
        norm = self.update(self.numbers(self.steps, lr))
        self.flat.gradients.zero_()
        return norm

    def numbers(self, step: int, lr: float) -> tuple[float, ...]:
        """What the update of a step, counted from 1, takes of its number and rate.

        The rate, what matrices are multiplied by, the number, and what AdamW's moments are divided by: 1 - beta1^step
        and, under the root, 1 - beta2^step.
        """
        cell = self._cell
        root = math.sqrt(1 - cell.beta2**step)
        return lr, 1 - cell.weight_decay * lr / cell.lr, float(step), 1 - cell.beta1**step, root

    def update(self, numbers: Sequence[float] | Tensor) -> Tensor:
        """The update of the step with these `numbers`; as `step` otherwise.

        On a GPU they may be a vector there, for a graph that is captured once for all steps.
        """
        cell, flat, gradient = self._cell, self.flat, self.flat.gradients
        matrices, clip = flat.values[: flat.n_matrices], cell.clip or math.inf
        if cell.l2:
            gradient[: flat.n_matrices].add_(matrices, alpha=cell.l2)
        norm = flat.norm(gradient)
        if cell.normalise:
            for part in flat.tensors(gradient):
                part.div_(flat.norm(part) + _TINY)
            clip = math.inf
        if gradient.is_cuda and cell.optimizer == "adamw":
            numbers_5 = torch.as_tensor(numbers, dtype=torch.float32, device=gradient.device)
            rates = tuple((part.stop, rate) for part, rate in self._parts)
            _compiled_adamw()(
                flat.values, gradient, *self.moments, norm, numbers_5,
                n_matrices=flat.n_matrices, rates=rates, clip=clip, beta1=cell.beta1, beta2=cell.beta2, eps=cell.eps,
            )  # fmt: skip
            return norm
        if clip < math.inf:
            gradient.mul_((clip / (norm + _MARGIN)).clamp(max=1.0))
        lr, kept, count, *_ = numbers
        matrices.mul_(kept)
        self._update(gradient, lr, count)
        return norm

    def _adamw(self, gradient: Tensor, lr: float | Tensor, count: float | Tensor) -> None:
        cell, (first, second) = self._cell, self.moments
        counts = [torch.as_tensor(count, dtype=torch.float32, device=gradient.device)]
        for part, rate in self._parts:
            torch._fused_adamw_(
                [self.flat.values[part]], [gradient[part]], [first[part]], [second[part]], [], counts, lr=rate * lr,
                beta1=cell.beta1, beta2=cell.beta2, eps=cell.eps, weight_decay=0.0, amsgrad=False, maximize=False,
            )  # fmt: skip

    def _lion(self, gradient: Tensor, lr: float | Tensor, _: float | Tensor) -> None:
        cell, (moment,) = self._cell, self.moments
        direction = moment.lerp(gradient, 1 - cell.beta1).sign_()
        for part, rate in self._parts:
            self.flat.values[part].sub_(direction[part] * (rate * lr))
        moment.lerp_(gradient, 1 - cell.beta2)


def _rate_parts(cell: Cell, sizes: dict[str, int]) -> list[tuple[slice, float]]:
    """Runs of the vector that share a learning rate, relative to the cell's: a single one in most recipes."""
    peaks = {"embedding": cell.lr_embedding, "blocks": cell.lr, "head": cell.lr_head, "gains": cell.lr_gains}
    parts, start = [], 0
    for rate, groups in groupby(sizes, key=lambda group: peaks[group] / cell.lr):
        stop = start + sum(sizes[group] for group in groups)
        parts.append((slice(start, stop), rate))
        start = stop
    return parts


def adamw_in_place(
    values_n: Tensor, gradient_n: Tensor, first_n: Tensor, second_n: Tensor, norm: Tensor, numbers_5: Tensor, *,
    n_matrices: int, rates: tuple[tuple[int, float], ...], clip: float, beta1: float, beta2: float, eps: float,
) -> None:  # fmt: skip
    """Clip, decay and step, in a form of which the compiler makes one kernel.

    `rates`: where runs of the vector that share a relative rate end, and the rate. `numbers_5` as `Optimizer.numbers`.
    """
    lr, kept, _, correction, root = numbers_5.unbind()
    clipped_n = gradient_n * (clip / (norm + _MARGIN)).clamp(max=1.0)
    mean_n = torch.lerp(first_n, clipped_n, 1 - beta1)
    square_n = beta2 * second_n + (1 - beta2) * clipped_n.square()
    index_n = torch.arange(len(values_n), device=values_n.device)
    rate_n: float | Tensor = rates[-1][1]
    for stop, rate in reversed(rates[:-1]):
        rate_n = torch.where(index_n < stop, rate, rate_n)
    kept_n = torch.where(index_n < n_matrices, kept, 1.0)
    values_n.copy_(values_n * kept_n - lr / correction * rate_n * mean_n / (square_n.sqrt() / root + eps))
    first_n.copy_(mean_n)
    second_n.copy_(square_n)


@cache
def _compiled_adamw() -> Callable[..., None]:
    compiled: Callable[..., None] = torch.compile(adamw_in_place, dynamic=False)
    return compiled
