"""AdamW with independent weight decay, on one flat vector of parameters.

All parameters are views into one vector (matrices first, then gains), all gradients into another: one update and one
norm per step instead of one per tensor, which is what small models spend their time on.

Independent decay (arXiv 2309.14322): each step multiplies matrices by 1 - weight_decay x (lr / peak lr), so the
strength does not move when the peak learning rate does. Gains are not decayed.
"""

import math

import torch
from torch import Tensor, nn

from stages.study.cell import Cell


class FlatParameters:
    """A module's parameters and gradients as two vectors that share memory with them."""

    def __init__(self, model: nn.Module) -> None:
        named = sorted(model.named_parameters(), key=lambda item: item[1].ndim == 1)  # stable: matrices first
        self.shapes = {name: parameter.shape for name, parameter in named}
        self.values = torch.cat([parameter.detach().flatten() for _, parameter in named])
        self.gradients = torch.zeros_like(self.values)
        self.n_matrices = sum(parameter.numel() for _, parameter in named if parameter.ndim > 1)
        start = 0
        for _, parameter in named:
            stop = start + parameter.numel()
            parameter.data = self.values[start:stop].view_as(parameter)
            parameter.grad = self.gradients[start:stop].view_as(parameter)
            start = stop

    def named(self) -> dict[str, Tensor]:
        """Copies of the parameters by name, on the CPU."""
        parts = self.values.cpu().split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape).clone() for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


class IndependentAdamW:
    """Adam (arXiv 1412.6980) with bias correction; its whole state is the two moments and the step count.

    Written out rather than taken from torch.optim: on one vector it is six array operations, and torch.optim's first
    call imports its compiler, which takes longer than a small cell.
    """

    def __init__(self, cell: Cell, parameters: FlatParameters) -> None:
        self._cell, self._flat = cell, parameters
        self.moments = torch.zeros(2, len(parameters.values), device=parameters.values.device)
        self.steps = 0

    def step(self, lr: float) -> Tensor:
        """Clip, decay, update, zero the gradients. Returns the norm before clipping, still on the device."""
        cell, flat, gradient = self._cell, self._flat, self._flat.gradients
        norm: Tensor = torch.linalg.vector_norm(gradient)
        if cell.clip is not None:
            gradient.mul_((cell.clip / (norm + 1e-6)).clamp(max=1.0))
        self.steps += 1
        first, second = self.moments
        first.lerp_(gradient, 1 - cell.beta1)
        second.mul_(cell.beta2).addcmul_(gradient, gradient, value=1 - cell.beta2)
        scale = math.sqrt(1 - cell.beta2**self.steps)
        denominator = second.sqrt().div_(scale).add_(cell.eps)
        flat.values[: flat.n_matrices].mul_(1 - cell.weight_decay * lr / cell.lr)
        flat.values.addcdiv_(first, denominator, value=-lr / (1 - cell.beta1**self.steps))
        gradient.zero_()
        return norm
