"""How long to wait on this machine, as busy as it is: limits of tests follow a measured speed."""

import os
import subprocess
import sys
import time
from functools import cache
from statistics import median

_REFERENCE = 0.12  # seconds that starting Python and importing NumPy takes on an idle core of the machine we measure on
_MOST = 30.0


@cache
def slowness() -> float:
    """How many times slower than that machine this one is, at least 1; measured once, when it is first asked."""
    if told := os.environ.get("CROSSOVER_SLOWNESS"):
        return float(told)
    found = min(max(median(_start() for _ in range(5)) / _REFERENCE, 1.0), _MOST)
    os.environ["CROSSOVER_SLOWNESS"] = f"{found:.2f}"  # for processes that tests start
    return found


def _start() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import json, numpy"], check=True)
    return time.monotonic() - begun


def patience(seconds: float) -> float:
    """A limit that is ample on the machine we measure on, for this one."""
    return seconds * slowness()
