"""Products of float matrices on a CPU, by NumPy's BLAS.

torch's is MKL, which uses only the narrower vector units of a processor that is not Intel's. On an AMD EPYC with
AVX-512 OpenBLAS, which NumPy brings, takes half of its time, of many small products too.
"""

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

_TYPES = (torch.float32, torch.float64)


def pays(x: Tensor) -> bool:
    """Whether NumPy multiplies `x`: on a CPU, in full precision, and not while torch's compiler looks on.

    Nor in one of several processes: FSDP empties tensors in place, which no longer works once NumPy has seen them.
    """
    on_cpu = x.device.type == "cpu" and x.dtype in _TYPES
    plain = not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    return on_cpu and plain and not (dist.is_available() and dist.is_initialized())


def matmul(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of two matrices, or of as many pairs of them, as `torch.matmul`; no gradient is recorded."""
    if not pays(a):
        return torch.matmul(a, b, out=out)
    if out is None:
        out = a.new_empty((*a.shape[:-1], b.shape[-1]))
    np.matmul(a.detach().numpy(), b.detach().numpy(), out=out.numpy())
    return out
