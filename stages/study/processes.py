"""Processes that do not outlive whoever started them.

python -m stages.study.processes PARENT COMMAND...   runs the command so that it gets SIGTERM when PARENT dies
"""

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path


def die_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Get a signal when the parent dies: from the kernel on Linux, from a watching thread elsewhere."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
        return

    def watch() -> None:
        pause = threading.Event()
        while os.getppid() == parent:
            pause.wait(1.0)
        os.kill(os.getpid(), number)

    threading.Thread(target=watch, daemon=True).start()


def die_with_this_parent() -> None:
    """For a process that did not expect it: get SIGTERM when whoever started it dies."""
    die_with_parent(os.getppid())


def mortal(*command: str) -> list[str]:
    """The command, made to end with this process (on Linux; elsewhere it is unchanged)."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, str(Path(__file__).resolve()), str(os.getpid()), *command]


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 (the signal survives it)
