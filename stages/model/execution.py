"""How a model is fed and in which arithmetic it runs; shared by training and evaluation."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from stages.study.cell import Cell


def gather(tokens: Tensor, windows: Tensor, seq_len: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of some windows of a token vector, each of shape (len(windows), seq_len) and int64."""
    offsets = torch.arange(seq_len + 1, device=tokens.device)
    block = tokens[windows[:, None] * seq_len + offsets].long()
    return block[:, :-1], block[:, 1:]


def precision(cell: Cell, device: torch.device) -> AbstractContextManager[object]:
    """The arithmetic a cell asks for: fp32, tf32 (matrix products only) or bf16 autocast."""
    torch.set_float32_matmul_precision("high" if cell.precision == "tf32" else "highest")
    return torch.autocast(device.type, torch.bfloat16) if cell.precision == "bf16" else nullcontext()
