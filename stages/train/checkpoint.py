"""Checkpoints: one safetensors file that is whole or absent and carries its own digest.

It holds everything the loop needs to go on bit-identically: parameters, moments, the position and the curve so far.
There is no random state to keep, since the order of windows follows from the seed.
"""

import hashlib
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stages.study.errors import DamageError
from stages.study.files import replacing


def save_checkpoint(path: Path, tensors: dict[str, Tensor], step: int, seconds: float) -> None:
    """Write the state after `step` steps; `seconds` is the training time so far."""
    metadata = {"step": str(step), "seconds": repr(seconds), "sha256": _digest(tensors, step)}
    with replacing(path) as draft:
        save_file(tensors, draft, metadata)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], int, float] | None:
    """Tensors, step and seconds of a checkpoint, or None where there is none. Raises `DamageError`."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        step, seconds = int(metadata["step"]), float(metadata["seconds"])
        intact = metadata["sha256"] == _digest(tensors, step)
    except (SafetensorError, KeyError, TypeError, ValueError, OSError):
        intact = False
    if not intact:
        raise DamageError(f"checkpoint {path} is damaged")
    return tensors, step, seconds


def _digest(tensors: dict[str, Tensor], step: int) -> str:
    content = hashlib.sha256(struct.pack("<q", step))
    for name in sorted(tensors):
        content.update(name.encode())
        content.update(tensors[name].contiguous().cpu().view(torch.uint8).numpy().data)
    return content.hexdigest()
