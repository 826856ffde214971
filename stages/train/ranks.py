"""One cell on several devices: every process takes its share of each batch, and gradients are averaged.

Parameters are whole in every process (plain data parallelism: one all-reduce of one vector per step) or sharded (see
`parameters`). A process that is alone (no torchrun) communicates nothing and computes what it always did.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process among those that train the same cell."""

    rank: int = 0
    count: int = 1
    sharded: bool = False

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def share(self, windows_B: Tensor) -> Tensor:
        """This process's part of a batch, shape (B / count,)."""
        return windows_B[self.rank :: self.count]

    def average(self, values: Tensor) -> Tensor:
        """The mean over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(values)
            values /= self.count
        return values

    def follow_first(self, step: int, *tensors: Tensor) -> int:
        """Take over the first process's tensors, in place, and its step, which is returned."""
        if self.count == 1:
            return step
        position = torch.tensor([step], device=tensors[0].device)
        for tensor in (position, *tensors):
            dist.broadcast(tensor, 0)
        return int(position)

    def agree(self, wish: bool, step: int, window: int, device: torch.device) -> bool:
        """Whether somebody wishes it: alone at once, together at a window's end, so that nobody waits in vain."""
        if self.count == 1:
            return wish
        if step % window:
            return False
        return bool(self.average(torch.tensor([float(wish)], device=device)) > 0)

    def agree_to_save(self, wish: bool, step: int, window: int, device: torch.device) -> bool:
        """The same for a checkpoint, in which all take part if sharded; else each goes by its own clock."""
        return self.agree(wish, step, window, device) if self.sharded else wish


ALONE = Ranks()
