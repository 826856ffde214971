"""AdamW with independent weight decay, on one flat vector of parameters.

All parameters are views into one vector (matrices first, then gains), all gradients into another: one fused update
and one norm per step instead of one per tensor, which is what small models spend their time on.

Independent decay (arXiv 2309.14322): each step multiplies matrices by 1 - weight_decay x (lr / peak lr), so the
strength does not move when the peak learning rate does. Gains are not decayed.
"""

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
    """One step at a time; its state is three vectors and a step count."""

    def __init__(self, cell: Cell, parameters: FlatParameters) -> None:
        self._cell, self._flat = cell, parameters
        n = parameters.n_matrices
        groups = [(slice(0, n), cell.weight_decay / cell.lr), (slice(n, None), 0.0)]
        self._adamw = torch.optim.AdamW(
            [{"params": [self._leaf(part)], "weight_decay": decay} for part, decay in groups],
            lr=cell.lr,
            betas=(cell.beta1, cell.beta2),
            eps=cell.eps,
            fused=True,
        )
        self.moments = torch.zeros(2, len(parameters.values), device=parameters.values.device)
        self._bind(0)

    def _leaf(self, part: slice) -> nn.Parameter:
        leaf = nn.Parameter(self._flat.values[part])
        leaf.grad = self._flat.gradients[part]
        return leaf

    def _bind(self, step: int) -> None:
        """Point torch's state into `moments`, so that a checkpoint is one tensor."""
        start = 0
        for group in self._adamw.param_groups:
            leaf = group["params"][0]
            stop = start + leaf.numel()
            self._adamw.state[leaf] = {
                "step": torch.tensor(float(step), device=leaf.device),
                "exp_avg": self.moments[0, start:stop],
                "exp_avg_sq": self.moments[1, start:stop],
            }
            start = stop

    def restore(self, step: int, moments: Tensor) -> None:
        """Continue after `step` updates with these first and second moments, shape (2, parameters)."""
        self.moments.copy_(moments)
        self._bind(step)

    def step(self, lr: float) -> Tensor:
        """Clip, update, zero the gradients. Returns the gradient norm before clipping, still on the device."""
        norm = torch.linalg.vector_norm(self._flat.gradients)
        if self._cell.clip is not None:
            self._flat.gradients.mul_((self._cell.clip / (norm + 1e-6)).clamp(max=1.0))
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        self._flat.gradients.zero_()
        return norm
