"""The dense matrix products of one step and nothing else, by the fastest library at hand, as our loop uses it.

python -m tests.bench.products 1 WIDTH...     prints tokens per second, a line per width
"""

import sys
import time
from collections.abc import Callable

import torch

from stages.model.products import matmul
from tests.bench.reference import BATCH, DEPTH, SEQ_LEN, VOCAB

SECONDS = 0.5  # for each product


def measure(width: int) -> float:
    """Tokens per second if forward and backward pass were their dense products alone, attention's left out."""
    torch.set_num_threads(1)
    rows, seconds = BATCH * SEQ_LEN, 0.0
    block = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    for (out, into), times in [(shape, DEPTH) for shape in block] + [((VOCAB, width), 1)]:
        x, weight, slope = torch.randn(rows, into), torch.randn(out, into), torch.randn(rows, out)
        buffers = torch.empty(rows, out), torch.empty(rows, into), torch.empty(out, into)
        seconds += times * timed(lambda a=x, w=weight, y=buffers[0]: matmul(a, w.T, out=y))  # type: ignore[misc]
        seconds += times * timed(lambda g=slope, w=weight, y=buffers[1]: matmul(g, w, out=y))  # type: ignore[misc]
        seconds += times * timed(lambda g=slope, a=x, y=buffers[2]: matmul(g.T, a, out=y))  # type: ignore[misc]
    return rows / seconds


def timed(work: Callable[[], object]) -> float:
    """Mean seconds of a call."""
    work()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        work()
        calls += 1
    return (time.perf_counter() - started) / calls


if __name__ == "__main__":
    for size in map(int, sys.argv[2:]):
        print(measure(size))
