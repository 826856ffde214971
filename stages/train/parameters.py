"""A model's parameters and gradients as vectors: whole in every process, or a part of each (FSDP2).

One update and one norm per step instead of one per tensor, which is what small models spend their time on. Matrices
come first, then gains. The order and what a checkpoint holds are the same for both.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stages.model.transformer import Transformer
from stages.train.ranks import ALONE, Ranks

_GROUPS = ("embedding", "blocks", "head", "gains")
"""Parameters with a learning rate of their own, in the order of the vector."""


class FlatParameters:
    """Whole in every process; parameters and gradients are views into the two vectors."""

    def __init__(self, model: nn.Module, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        named = sorted(model.named_parameters(), key=lambda item: _GROUPS.index(_group(*item)))  # stable
        self._named: dict[str, Any] = dict(named)
        parts = {name: self._part(parameter).detach() for name, parameter in self._named.items()}
        self._lengths = [part.numel() for part in parts.values()]
        self.values = torch.cat([part.flatten() for part in parts.values()])
        self.gradients = torch.zeros_like(self.values)
        self.n_matrices = sum(part.numel() for part in parts.values() if part.ndim > 1)
        self.sizes = {
            group: sum(parts[name].numel() for name, _ in members)
            for group, members in itertools.groupby(self._named.items(), key=lambda item: _group(*item))
        }
        self._bind()

    def tensors(self, vector: Tensor) -> tuple[Tensor, ...]:
        """A vector of this process's length cut into flat views, one per parameter."""
        parts: tuple[Tensor, ...] = vector.split(self._lengths)
        return parts

    def pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """The model's parameters in the order of the vector, and of each, in its shape, what holds its gradient."""
        parameters = list(self._named.values())
        parts = zip(parameters, self.tensors(self.gradients), strict=True)
        return parameters, [part.view(parameter.shape) for parameter, part in parts]

    def gather(self) -> None:
        """Make `gradients` the mean over all processes."""
        self._ranks.average(self.gradients)

    def spread(self) -> None:
        """Make the model's parameters those of `values`."""

    def norm(self, vector: Tensor) -> Tensor:
        """Euclidean norm of a vector, or of one of its `tensors`, over all processes."""
        norm: Tensor = torch.linalg.vector_norm(vector)
        return norm

    def whole(self, vector: Tensor) -> Tensor:
        """All of a vector of which each process has its part: here the vector itself."""
        return vector

    def take(self, vector: Tensor, whole: Tensor | None) -> None:
        """The inverse of `whole`: the first process's argument becomes everybody's vector, in place."""
        if whole is not None:
            vector.copy_(whole)
        self._ranks.follow_first(0, vector)

    def named(self) -> dict[str, Tensor]:
        """Copies of the parameters by name, on the CPU, at least in the first process."""
        whole = self.whole(self.values).cpu()
        parts = whole.split([parameter.numel() for parameter in self._named.values()]) if len(whole) else ()
        return {name: part.view(self._named[name].shape).clone() for name, part in zip(self._named, parts)}  # noqa: B905

    def _part(self, parameter: Any) -> Tensor:
        part: Tensor = parameter
        return part

    def _bind(self) -> None:
        pairs = zip(self._named.values(), self.tensors(self.values), self.tensors(self.gradients), strict=True)
        for parameter, value, gradient in pairs:
            parameter.data, parameter.grad = value.view_as(parameter), gradient.view_as(parameter)


class ShardedParameters(FlatParameters):
    """Of every parameter the rows of this process; FSDP2 brings a block's others when it is computed.

    Gradients and moments are sharded likewise, so each of n processes holds an n-th of at most 24 bytes per parameter
    (torch's parts of parameters and gradients besides our vectors), embedding and head, and two blocks whole, one of
    them on its way (stage 3 of Rajbhandari et al., arXiv 1910.02054). Compiled by blocks.
    """

    def __init__(self, model: Transformer, ranks: Ranks, compiled: bool) -> None:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # takes a second

        for block in model.blocks:
            if compiled:
                block.compile(dynamic=False)
            fully_shard(block)
        fully_shard(model)
        register_fsdp_forward_method(model, "hidden")
        super().__init__(model, ranks)

    def gather(self) -> None:
        """Make `gradients` this process's part of the mean over all; torch has taken it in the backward pass."""
        for parameter, part in zip(self._named.values(), self.tensors(self.gradients), strict=True):
            part.copy_(self._part(parameter.grad).flatten())
            parameter.grad = None

    def spread(self) -> None:
        """Make the model's parameters those of `values`."""
        for parameter, part in zip(self._named.values(), self.tensors(self.values), strict=True):
            self._part(parameter.detach()).copy_(part.view_as(self._part(parameter)))

    def norm(self, vector: Tensor) -> Tensor:
        """Euclidean norm of a vector, or of one of its `tensors`, over all processes."""
        square = torch.linalg.vector_norm(vector).square()
        dist.all_reduce(square)
        norm: Tensor = square.sqrt()
        return norm

    def whole(self, vector: Tensor) -> Tensor:
        """All of a vector of which each process has its part, on the CPU of the first; empty in the others."""
        if vector.ndim > 1:
            return torch.stack([self.whole(row) for row in vector])
        kept = [part.flatten().cpu() for part in self._wholes(vector) if self._ranks.first]
        return torch.cat(kept) if kept else vector.new_empty(0)

    def take(self, vector: Tensor, whole: Tensor | None) -> None:
        """The inverse of `whole`: everybody's part of what the first process brings, in place."""
        from torch.distributed.tensor import distribute_tensor

        if vector.ndim > 1:
            for row, whole_row in zip(vector, itertools.repeat(None) if whole is None else whole, strict=False):
                self.take(row, whole_row)
            return
        start = 0
        for parameter, part in zip(self._named.values(), self.tensors(vector), strict=True):
            stop = start + parameter.numel()
            brought = vector.new_empty(parameter.numel()) if whole is None else whole[start:stop].to(vector)
            laid: Any = distribute_tensor(brought.view(parameter.shape), parameter.device_mesh, parameter.placements)
            part.copy_(laid.to_local().flatten())
            start = stop

    def _wholes(self, vector: Tensor) -> Iterator[Tensor]:
        """Every parameter's share of the vector, whole, one after the other."""
        from torch.distributed.tensor import DTensor

        for parameter, part in zip(self._named.values(), self.tensors(vector), strict=True):
            laid: Any = DTensor.from_local(
                part.view_as(self._part(parameter)), parameter.device_mesh, parameter.placements,
                shape=parameter.shape, stride=parameter.stride(),
            )  # fmt: skip
            yield laid.full_tensor()

    def _part(self, parameter: Any) -> Tensor:
        part: Tensor = parameter.to_local()
        return part

    def _bind(self) -> None:
        """Nothing is shared: torch lays a process's parts out by itself."""


def _group(name: str, parameter: Tensor) -> str:
    if parameter.ndim == 1:
        return "gains"
    return {"embedding.weight": "embedding", "head.weight": "head"}.get(name, "blocks")
