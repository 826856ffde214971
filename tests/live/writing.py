"""Two cells told live through a real library: `python -m tests.live.writing NAME FOLDER`, where that is installed."""

import math
import sys
from pathlib import Path

from stages.live.events import Begun
from stages.live.telling import Live
from stages.train.observer import Window

STEPS, WINDOW = 100, 25


def begun(name: str, seed: int, steps: int = STEPS) -> Begun:
    return Begun(f"{name}{seed}".ljust(64, "0"), "tiny-mini", name, 16, seed, 0.01, "{}", steps, 64)


def window(end: int, loss: float = 4.0, size: int = WINDOW) -> Window:
    return Window(end, [loss - 0.01 * step for step in range(end - size, end)], [0.01] * size, [1.0] * size)


def tell(live: Live) -> None:
    """One that ends well, and one whose loss is no number in its last quarter."""
    for cell, status in ((begun("healthy", 0), "done"), (begun("broken", 1), "diverged")):
        observe = live.begin(cell)
        for end in range(WINDOW, STEPS + 1, WINDOW):
            told = window(end)
            if status == "diverged" and end == STEPS:
                told = Window(end, [math.nan] * WINDOW, told.lrs, told.grad_norms)
            observe(told)
        live.end(cell, status)
    live.close()


if __name__ == "__main__":
    tell(Live(Path(sys.argv[2]), sys.argv[1]))
