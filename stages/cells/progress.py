"""One display for the whole grid: cells done, tokens per second, time left.

A line that rewrites itself on a terminal, a line per finished cell elsewhere (logs).
"""

import sys
import time
from collections.abc import Mapping

from stages.study.cell import Cell
from stages.study.costs import count_flops


class Progress:
    """Counts tokens and FLOPs of a set of cells as they are trained; `recipes` names them by fingerprint."""

    def __init__(self, cells: dict[str, Cell], place: str, recipes: Mapping[str, str]) -> None:
        self._cells, self._recipes = cells, recipes
        self._steps = dict.fromkeys(cells, 0)
        self._first: dict[str, int] = {}  # where a resumed cell was first seen
        self._finished = 0
        self._started = time.monotonic()
        self._live = sys.stderr.isatty()
        self._say(f"{len(cells)} cells to train or evaluate on {place}")

    def step(self, fingerprint: str, step: int) -> None:
        """A cell has done so many steps."""
        self._first.setdefault(fingerprint, max(0, step - self._cells[fingerprint].window))
        self._steps[fingerprint] = step
        if self._live:
            print(f"\r\x1b[2K{self._line()} | {self._name(fingerprint)}", end="", file=sys.stderr, flush=True)

    def done(self, fingerprint: str, status: str) -> None:
        """A cell is finished."""
        self._steps[fingerprint] = self._cells[fingerprint].steps
        self._finish(fingerprint, status)

    def failed(self, fingerprint: str, error: str) -> None:
        """A cell failed."""
        self._finish(fingerprint, f"failed: {error}")

    def remark(self, words: str) -> None:
        """Something worth a line of its own."""
        self._say(words)

    def close(self) -> None:
        """Leave the display on a line of its own."""
        if self._live:
            print(file=sys.stderr)

    def _finish(self, fingerprint: str, outcome: str) -> None:
        self._finished += 1
        self._say(f"{self._line()} | {self._name(fingerprint)}: {outcome}")

    def _name(self, fingerprint: str) -> str:
        cell = self._cells[fingerprint]
        return f"{self._recipes[fingerprint]}, width {cell.width}, lr {cell.lr:.5g}, seed {cell.seed}"

    def _line(self) -> str:
        tokens = sum(self._new(name) * cell.batch * cell.seq_len for name, cell in self._cells.items())
        seconds = time.monotonic() - self._started
        total = {name: count_flops(cell).total for name, cell in self._cells.items()}
        fresh = sum(total[name] * self._new(name) / cell.steps for name, cell in self._cells.items())
        left = sum(total[name] * (1 - self._steps[name] / cell.steps) for name, cell in self._cells.items())
        eta = f"{left / fresh * seconds:.0f} s left" if fresh else "…"
        return f"{self._finished}/{len(self._cells)} cells, {tokens / seconds:,.0f} tokens/s, {eta}"

    def _new(self, name: str) -> int:
        return self._steps[name] - self._first.get(name, 0)

    def _say(self, line: str) -> None:
        print(f"\r\x1b[2K{line}" if self._live else line, file=sys.stderr, flush=True)
