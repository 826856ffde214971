"""A folder to oneself: one clone at a time trains a cell by a program, one stage at a time lays out a study's cells."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crossover.base.errors import Interrupted

_POLL = 0.2


@contextmanager
def alone(folder: Path, stopping: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Have the folder to oneself, or wait for it. The lock goes with the process, however that ends.

    Raises `Interrupted` where `stopping` says so before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what is open to write
    try:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if stopping():
                raise Interrupted("stopped while another process was at work in the folder")
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)
