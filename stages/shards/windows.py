"""Which windows of a token prefix a cell trains on, and in which order: index arithmetic, decided by the seed alone.

The prefix is cut into windows of seq_len inputs; targets are the inputs shifted by one, so neighbours share a token.
Every pass visits each window once, in an order of its own.
"""

import numpy as np
import numpy.typing as npt

from stages.study.cell import Cell


def window_order(cell: Cell) -> npt.NDArray[np.int64]:
    """Windows in the order of use, shape (steps, batch)."""
    windows, needed = cell.unique_tokens // cell.seq_len, cell.steps * cell.batch
    passes = -(-needed // windows)
    generator = np.random.default_rng([cell.seed, windows])
    order = np.concatenate([generator.permutation(windows) for _ in range(passes)])
    return order[:needed].reshape(cell.steps, cell.batch)


def fresh_sample(cell: Cell, tokens: int) -> npt.NDArray[np.int64]:
    """`tokens` worth of windows that follow a cell's prefix in the stream: text of the same kind, never seen.

    Drawn without replacement by the seed, ascending.
    """
    windows, count = cell.unique_tokens // cell.seq_len, tokens // cell.seq_len
    region = (cell.reach(tokens) - 1) // cell.seq_len - windows
    drawn = np.random.default_rng([cell.seed, windows, count, region]).choice(region, count, replace=False)
    return windows + np.sort(drawn)


def seen_sample(cell: Cell, tokens: int) -> npt.NDArray[np.int64]:
    """At most `tokens` worth of the windows a cell trained on, drawn without replacement by its seed, ascending."""
    windows = cell.unique_tokens // cell.seq_len
    count = min(windows, tokens // cell.seq_len)
    return np.sort(np.random.default_rng([cell.seed, windows, count]).choice(windows, count, replace=False))
