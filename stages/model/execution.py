"""How a model is fed and in which arithmetic it runs; shared by training and evaluation.

Tokens lie on the device where they take under a tenth of its memory, else they stay on disk, memory-mapped, and batches
are brought: those of the paper's widest model would fill a GPU.
"""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stages.shards.reading import Stream, TokenArray
from stages.study.cell import Cell

_SHARE = 0.1
"""Of a GPU's memory that tokens may take."""
_SIGNED = {torch.uint16: (torch.int16, 0xFFFF), torch.uint32: (torch.int32, 0xFFFFFFFF)}
"""CUDA cannot index a vector of unsigned integers; the same bits as signed ones it can."""


class Feed:
    """Inputs and targets of windows of a token stream, on a device.

    `windows` are looked up where `home` says: on the device, or on the CPU where the tokens stay on the host.
    """

    def __init__(
        self, tokens: TokenArray | Stream, seq_len: int, device: torch.device, on_host: bool | None = None
    ) -> None:
        self._stream, self._seq_len, self._device = Stream.of(tokens), seq_len, device
        self.on_host = _too_large(self._stream, device) if on_host is None else on_host
        self.home = torch.device("cpu") if self.on_host else device
        self._data = None if self.on_host else torch.from_numpy(self._stream.whole()).to(device)

    def __call__(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Each of shape (len(windows), seq_len) and int64."""
        if self._data is not None:
            return gather(self._data, windows, self._seq_len)
        return parted(self.block(windows.numpy()).to(self._device, non_blocking=True))

    def block(self, windows: npt.NDArray[np.int64]) -> Tensor:
        """Windows with one token more, as signed integers of the same bits, in memory a GPU copies from by itself."""
        block = self._stream.blocks(windows * self._seq_len, self._seq_len + 1)
        signed = torch.from_numpy(block).view(_SIGNED[torch.from_numpy(block).dtype][0])
        return signed.pin_memory() if self._device.type == "cuda" else signed

    def empty_block(self, count: int) -> Tensor:
        """Room on the device for a block of so many windows."""
        like = self.block(np.zeros(1, np.int64))
        return like.new_empty((count, self._seq_len + 1), device=self._device)


def _too_large(stream: Stream, device: torch.device) -> bool:
    return device.type == "cuda" and stream.nbytes > _SHARE * torch.cuda.get_device_properties(device).total_memory


def parted(block: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a block of signed tokens, int64."""
    whole = block.long() & dict(_SIGNED.values())[block.dtype]
    return whole[:, :-1], whole[:, 1:]


def gather(tokens: Tensor, windows: Tensor, seq_len: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of some windows of a token vector, each of shape (len(windows), seq_len) and int64."""
    offsets = torch.arange(seq_len + 1, device=tokens.device)
    return parted(tokens.view(_SIGNED[tokens.dtype][0])[windows[:, None] * seq_len + offsets])


def precision(cell: Cell, device: torch.device) -> AbstractContextManager[object]:
    """The arithmetic a cell asks for: fp32, tf32 (matrix products only) or bf16 autocast."""
    torch.set_float32_matmul_precision("high" if cell.precision == "tf32" else "highest")
    return torch.autocast(device.type, torch.bfloat16) if cell.precision == "bf16" else nullcontext()
