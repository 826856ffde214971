"""Watching and killing real processes in tests: only descendants of what the test started."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from tests.patience import patience

T = TypeVar("T")


def descendants(pid: int, word: str = "") -> list[psutil.Process]:
    """Living descendants whose command line has `word`."""
    try:
        family = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in family if word in command_of(process)]


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def until(condition: Callable[[], T], seconds: float = 120, every: float = 0.02) -> T:
    """Wait for something that is true, and return it; a server should not be asked many times a second.

    So many seconds as the machine we measure on may need, more on a slower one.
    """
    end = time.monotonic() + patience(seconds)
    while not (value := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(every)
    return value


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill what still lives of some processes."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def checkpoint(root: Path) -> Path | None:
    """A checkpoint of a cell that is being trained in the project's store."""
    return next(iter((root / "data/store").glob("*/checkpoint.safetensors")), None)
