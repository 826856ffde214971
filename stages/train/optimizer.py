"""AdamW and Lion with independent weight decay, on one flat vector of parameters (see `parameters`).

Independent decay (arXiv 2309.14322): each step multiplies matrices by 1 - weight_decay x (lr / peak lr), so the
strength does not move when the peak learning rate does. Gains are not decayed, and no L2 term pulls at them.
"""

from itertools import groupby

import torch
from torch import Tensor

from stages.study.cell import Cell
from stages.train.parameters import FlatParameters

_TINY = 1e-12  # a gradient of zero stays zero when it is normalised


class Optimizer:
    """The cell's optimizer. Its whole state is its moments and the step count.

    AdamW is Adam (arXiv 1412.6980) with bias correction. Lion (arXiv 2302.06675, algorithm 2) has one moment and steps
    by the sign of a mixture of it and the gradient.

    AdamW is the one pass over memory that torch.optim makes with `fused=True`, called without torch.optim, whose first
    call imports the compiler, which takes longer than a small cell.
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
        count = torch.full((), float(self.steps), device=self.flat.values.device)
        norm = self.update(lr, 1 - self._cell.weight_decay * lr / self._cell.lr, count)
        self.flat.gradients.zero_()
        return norm

    def update(self, lr: float | Tensor, kept: float | Tensor, count: Tensor) -> Tensor:
        """The update of step `count` (from 1), in which matrices are multiplied by `kept`; as `step` otherwise.

        On a GPU the arguments may be tensors there, for a graph that is captured once for all steps.
        """
        cell, flat, gradient = self._cell, self.flat, self.flat.gradients
        matrices = flat.values[: flat.n_matrices]
        if cell.l2:
            gradient[: flat.n_matrices].add_(matrices, alpha=cell.l2)
        norm = flat.norm(gradient)
        if cell.normalise:
            for part in flat.tensors(gradient):
                part.div_(flat.norm(part) + _TINY)
        elif cell.clip is not None:
            gradient.mul_((cell.clip / (norm + 1e-6)).clamp(max=1.0))
        matrices.mul_(kept)
        self._update(gradient, lr, count)
        return norm

    def _adamw(self, gradient: Tensor, lr: float | Tensor, count: Tensor) -> None:
        cell, (first, second) = self._cell, self.moments
        for part, rate in self._parts:
            torch._fused_adamw_(
                [self.flat.values[part]], [gradient[part]], [first[part]], [second[part]], [], [count], lr=rate * lr,
                beta1=cell.beta1, beta2=cell.beta2, eps=cell.eps, weight_decay=0.0, amsgrad=False, maximize=False,
            )  # fmt: skip

    def _lion(self, gradient: Tensor, lr: float | Tensor, _: Tensor) -> None:
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
