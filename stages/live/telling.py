"""From the loop's observer to whoever watches: one thread that writes, and never stops a run.

    live = Live(Path())
    tell = live.begin(Begun(...))    # an observer, for the loop
    tell(Window(...))
    live.end(fingerprint, "done")

The parent of the workers has it, so that no training source is touched. A journal below `data/live/journal` is always
written; the sinks beside it are those that `CROSSOVER_LIVE` names: `tensorboard` (where nothing is named, and it is
installed), `wandb`, `mlflow`, `dvclive`, or `none`. A sink that fails is told once and left out.
"""

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from crossover.base.hints import nearest
from stages.live.events import Begun, Told
from stages.live.sinks import SINKS, Journal, Sink, installed
from stages.train.observer import Observer, Window

WISH = "CROSSOVER_LIVE"
FOLDER = Path("data/live")
_POINTS = 200  # of a run, that are told at least: a mean of several steps is a point
_PATIENCE = 10.0  # seconds at the end, until what is not written is lost


class Live:
    """Hands what observers hear to the journal and the sinks, from a thread of its own."""

    def __init__(self, root: Path, wish: str | None = None) -> None:
        self._root = root
        self._wish = os.environ.get(WISH) if wish is None else wish
        self._events: queue.SimpleQueue[Callable[[Sink], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self, cell: Begun) -> Observer:
        """An observer that tells of the cell."""
        self._start()
        self._events.put(lambda sink: sink.begin(cell))
        size = max(1, cell.steps // _POINTS)

        def observe(window: Window) -> None:
            told = _points(window, size)
            self._events.put(lambda sink: sink.tell(cell, told))

        return observe

    def end(self, cell: Begun, status: str) -> None:
        """The cell came to an end."""
        self._events.put(lambda sink: sink.end(cell, status))

    def close(self) -> None:
        """Write what is left, within seconds."""
        if self._thread is not None:
            self._events.put(None)
            self._thread.join(_PATIENCE)
            self._thread = None

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="live", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        sinks: dict[str, Sink] = {}
        _open("journal", sinks, lambda: Journal(self._root / FOLDER))
        for name in wanted(self._wish):
            _open(name, sinks, lambda name=name: SINKS[name](self._root / FOLDER))  # type: ignore[misc]
        while (event := self._events.get()) is not None:
            for name in list(sinks):
                _try(name, sinks, event)
        for name in list(sinks):
            _try(name, sinks, lambda sink: sink.close())


def wanted(wish: str | None) -> list[str]:
    """Names of sinks; what is not known is told, with the name that may be meant."""
    if wish is None:
        return ["tensorboard"] if installed("tensorboard") else []
    names = [name for part in wish.split(",") if (name := part.strip().lower()) not in ("", "none")]
    for name in names:
        if name not in SINKS:
            _say(f"{WISH} names '{name}', to which curves cannot go; {nearest(name, list(SINKS))}")
    return [name for name in names if name in SINKS]


def _open(name: str, sinks: dict[str, Sink], make: Callable[[], Sink]) -> None:
    try:
        sinks[name] = make()
    except Exception as error:  # a tool that is not there must not stop a run
        _say(f"curves do not go to {name}: {_why(error)}")


def _try(name: str, sinks: dict[str, Sink], event: Callable[[Sink], None]) -> None:
    try:
        event(sinks[name])
    except Exception as error:
        del sinks[name]
        _say(f"curves go to {name} no more: {_why(error)}")


def _why(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return f"{words}; install it, or leave it out of {WISH}" if isinstance(error, ImportError) else words[:300]


def _say(words: str) -> None:
    print(f"note: {words}", file=sys.stderr, flush=True)


def _points(window: Window, size: int) -> Told:
    """Means of so many steps; the last one may be of fewer."""
    first = window.step - len(window.losses)
    marks = range(0, len(window.losses), size)
    parts = [slice(mark, mark + size) for mark in marks]
    ends = [min(first + mark + size, window.step) for mark in marks]
    means = ([_mean(values[part]) for part in parts] for values in (window.losses, window.lrs, window.grad_norms))
    return Told(time.time(), ends, *means)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
