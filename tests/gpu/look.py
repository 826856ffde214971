"""Ceilings of the card: a large product, a large copy; and the head's products at an odd and at a padded vocabulary."""

import platform
from typing import Any

import torch

from tests.gpu.phases import Context
from tests.gpu.shapes import device, seconds


def look(context: Context) -> None:
    """Measure and keep."""
    where = device()
    found: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version(), "device": str(where)}
    gpu = where.type == "cuda"
    if gpu:
        card = torch.cuda.get_device_properties(where)
        found |= {
            "name": card.name,
            "memory_gb": card.total_memory / 1e9,
            "multiprocessors": card.multi_processor_count,
        }
        found["driver"] = _driver()
    n = 8192 if gpu else 256
    a, b = (torch.randn(n, n, device=where, dtype=torch.bfloat16) for _ in range(2))
    found["product_tflops"] = 2 * n**3 / seconds(lambda: a @ b, where) / 1e12
    found["copy_tb_per_second"] = _copy(2**30 if gpu else 2**20, where)
    found["head_ms"] = {str(vocab): _head(vocab, where) for vocab in ((32_101, 32_128) if gpu else (101, 128))}
    context.keep("look", found)


def _copy(count: int, where: torch.device) -> float:
    """Bytes read and written, of a vector of so many floats."""
    x = torch.rand(count, device=where)
    y = torch.empty_like(x)
    return 8 * count / seconds(lambda: y.copy_(x), where) / 1e12


def _head(vocab: int, where: torch.device) -> dict[str, float]:
    """Milliseconds of the products of 8,192 tokens at width 512."""
    N, D = (8192, 512) if where.type == "cuda" else (64, 32)
    h_NxD, w_VxD, z_NxV = (torch.randn(s, device=where, dtype=torch.bfloat16) for s in ((N, D), (vocab, D), (N, vocab)))
    products = {
        "logits": lambda: h_NxD @ w_VxD.T,
        "d_hidden": lambda: z_NxV @ w_VxD,
        "d_weight": lambda: z_NxV.T @ h_NxD,
    }
    return {name: 1e3 * seconds(product, where) for name, product in products.items()}


def _driver() -> str:
    import subprocess

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"
