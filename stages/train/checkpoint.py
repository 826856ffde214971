"""Checkpoints: one safetensors file that is whole or absent, and carries its own digest and its owner.

It holds everything the loop needs to go on bit-identically: parameters, moments, the position and the curve so far.
There is no random state to keep, since the order of windows follows from the seed.
"""

import hashlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from crossover.base.errors import DamageError
from crossover.base.files import replacing

_WRITER = ThreadPoolExecutor(1, "checkpoint")


@dataclass
class Checkpoint:
    """The file at `path`, for the one cell whose fingerprint is `owner`: another's of the same shape is refused.

    As a context it ends when nothing is being written any more.
    """

    path: Path
    owner: str
    _writing: "Future[None] | None" = field(default=None, init=False)
    seconds: float = field(default=0.0, init=False)
    """What the last one took, copying and writing."""

    def save_behind(self, tensors: dict[str, Tensor], step: int, seconds: float) -> None:
        """Copy the state now and write it while training goes on. Raises what went wrong with the one before."""
        self.wait()
        started = time.monotonic()
        copies = _copies(tensors)

        def write() -> None:
            self.save(copies, step, seconds)
            self.seconds = time.monotonic() - started

        self._writing = _WRITER.submit(write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def wait(self) -> None:
        """Until nothing is being written. Raises what went wrong."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def save(self, tensors: dict[str, Tensor], step: int, seconds: float) -> None:
        """Write the state after `step` steps; `seconds` is the training time so far."""
        metadata = {"step": str(step), "seconds": repr(seconds), "sha256": self._digest(tensors, step, seconds)}
        with replacing(self.path) as draft:
            save_file(tensors, draft, metadata)

    def load(self) -> tuple[dict[str, Tensor], int, float] | None:
        """Tensors, step and seconds, or None where there is no file. Raises `DamageError`."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            step, seconds = int(metadata["step"]), float(metadata["seconds"])
            intact = metadata["sha256"] == self._digest(tensors, step, seconds)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError):
            intact = False
        if not intact:
            raise DamageError(f"checkpoint {self.path} is damaged or another cell's")
        return tensors, step, seconds

    def _digest(self, tensors: dict[str, Tensor], step: int, seconds: float) -> str:
        content = hashlib.sha256(f"{self.owner} {step} {seconds!r}".encode())
        for name in sorted(tensors):
            content.update(name.encode())
            content.update(tensors[name].contiguous().cpu().view(torch.uint8).numpy().data)
        return content.hexdigest()


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU; from a GPU through pinned memory, into which it copies by itself, all at once."""
    if not any(tensor.is_cuda for tensor in tensors.values()):
        return {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}
    copies = {name: torch.empty_like(tensor, device="cpu", pin_memory=True) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        copies[name].copy_(tensor, non_blocking=True)
    torch.cuda.synchronize()
    return copies
