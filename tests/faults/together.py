"""`dvc repro`, a flow and `status` on one workspace at once, for minutes: each ends, none harms what another reads."""

import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from flows.server import free_port, own_server
from tests.faults.arena import Arena, NotSurvivedError

_TURNED_AWAY = ("is busy, it is being blocked by", "Unable to acquire lock")
"""What DVC says to one that came while another writes the same file; it is to run again."""


def side_by_side(arena: Arena, minutes: float) -> Counter[str]:
    """Three loops until the time is over, then recovery; how often each command ended well, or was turned away."""
    tally: Counter[str] = Counter()
    broken: list[str] = []
    end = time.monotonic() + 60 * minutes
    kept, arena.forgotten = arena.kept(), set()
    before = Path.cwd()
    os.chdir(arena.root)
    try:
        with own_server(free_port()) as url:
            os.chdir(before)
            password = os.environ["PREFECT_API_AUTH_STRING"]
            arena.project.environment.update(PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=password)
            loops = [threading.Thread(target=_loop, args=(arena, name, end, tally, broken)) for name in _COMMANDS]
            for loop in loops:
                loop.start()
            for loop in loops:
                loop.join()
    finally:
        os.chdir(before)
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            arena.project.environment.pop(name, None)
    if broken:
        raise NotSurvivedError("; ".join(broken[:3]))
    arena.recover()
    arena.check({name: when for name, when in kept.items() if name not in arena.forgotten})
    return tally


_COMMANDS = {
    "dvc repro": ("dvc", "--wait-for-lock", "repro", "--force", "fit@tiny-mini"),
    "crossover run": (sys.executable, "-m", "crossover", "run", "--json"),
    "crossover status": (sys.executable, "-m", "crossover", "status", "--json"),
}


def _loop(arena: Arena, name: str, end: float, tally: Counter[str], broken: list[str]) -> None:
    while time.monotonic() < end and not broken:
        if name == "dvc repro":
            arena.forget(1)
        try:
            code, errors = arena.run(*_COMMANDS[name])
        except NotSurvivedError as error:
            broken.append(f"{name}: {error}")
            return
        if code == 0:
            tally[f"{name}: done"] += 1
        elif any(words in errors for words in _TURNED_AWAY):
            tally[f"{name}: turned away by DVC"] += 1
        elif errors.rstrip().splitlines()[-1:] and "error: " in errors.lower():
            tally[f"{name}: stopped with one line"] += 1
        else:
            broken.append(f"{name}: exit code {code}: {errors[-800:]}")
