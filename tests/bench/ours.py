"""Our loop under the yardstick's conditions.

python -m tests.bench.ours WIDTH STEPS 1     prints tokens per second
"""

import os
import sys

import numpy as np
import torch

from stages.train.loop import train
from tests.bench.reference import BATCH, DEPTH, HEAD_DIM, SEQ_LEN, VOCAB, WARM_UP, steps_for
from tests.conftest import make_cell

SEQUENCES = int(os.environ.get("CROSSOVER_BENCH_BATCH", BATCH))


def measure(width: int, steps: int) -> float:
    """Tokens per second of `stages.train.loop.train` on one thread, initialisation included, after a warm-up."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cell = make_cell(
        width=width, depth=DEPTH, heads=width // HEAD_DIM, seq_len=SEQ_LEN, vocab_size=VOCAB, batch=SEQUENCES,
        steps=steps, unique_tokens=200_000 // SEQ_LEN * SEQ_LEN, final_lr=0.0, warmup_steps=0,
        weight_decay=1e-4, window=50,
    )  # fmt: skip
    tokens = np.random.default_rng(0).integers(0, VOCAB, 200_001).astype(np.uint16)
    train(cell.model_copy(update={"steps": WARM_UP}), tokens, torch.device("cpu"))
    return cell.tokens / train(cell, tokens, torch.device("cpu")).seconds


if __name__ == "__main__":
    for size in map(int, sys.argv[2:]):
        print(measure(size, steps_for(size)))
