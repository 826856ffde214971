"""`make chaos`: hundreds of random faults of every kind, and the tally of what they did, in docs/chaos.md.

python -m tests.faults [--faults 300] [--seed 0] [--minutes 10]
"""

import argparse
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.arena import Arena
from tests.faults.sharing import KINDS
from tests.faults.together import side_by_side

DOCUMENT = Path("docs/chaos.md")
TOGETHER = 4  # faults before each recovery


def main() -> None:
    """Faults in random order, every kind as often as the others, until there are enough."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0, help="of dvc, flow and status side by side")
    wanted = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        arena = Arena(Path(folder), wanted.seed)
        done, broken = _chaos(arena, wanted.faults)
        text = _tally(done, broken, (time.monotonic() - started) / 60, wanted.seed)
        DOCUMENT.write_text(text)
        text += _beside(side_by_side(arena, wanted.minutes), wanted.minutes)
    print(text)
    DOCUMENT.write_text(text)
    sys.exit(bool(broken))


def _chaos(arena: Arena, faults: int) -> tuple[Counter[str], Counter[str]]:
    names = list(KINDS) * (-(-faults // len(KINDS)))
    arena.random.shuffle(names)
    done: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for first in range(0, faults, TOGETHER):
        together = names[first : first + TOGETHER]
        try:
            inflict(arena, together)
        except Exception as error:  # one of the harness itself must not end the run either
            print(f"NOT SURVIVED: {together}: {error}", flush=True)
            broken.update(together)
            arena.start_over()
        done.update(together)
        print(f"{done.total()} faults, {broken.total()} not survived; last: {'; '.join(together)}", flush=True)
    return done, broken


def inflict(arena: Arena, names: list[str]) -> None:
    """Faults one after the other on what the last one left, then recovery. Raises `NotSurvivedError`."""
    kept, arena.forgotten = arena.kept(), set()
    for name in names:
        arena.forgotten |= KINDS[name](arena)
    arena.recover()
    arena.check({name: when for name, when in kept.items() if name not in arena.forgotten})


def _tally(done: Counter[str], broken: Counter[str], minutes: float, seed: int) -> str:
    rows = [f"| {name} | {done[name]} | {broken[name]} |" for name in KINDS]
    return "\n".join([
        "# Faults put into real runs", "",
        f"`make chaos`, seed {seed}: {done.total()} faults in {minutes:.0f} minutes on {platform.machine()}, Python "
        f"{platform.python_version()}. A study of six cells with real DVC, real workers, real kills; the file system "
        "and the clock fail through a library put before libc (tests/faults/shim.c). After every four faults the "
        "commands are run again as their messages say; then every cell must be there once, none that was finished "
        "trained again, no process left, and the tables the same to the byte as those of the calm run. A round that is "
        "not survived counts for all its faults.", "",
        "| fault | injected | not survived |", "|---|---:|---:|", *rows,
        f"| **together** | **{done.total()}** | **{broken.total()}** |", "",
    ])  # fmt: skip


def _beside(tally: Counter[str], minutes: float) -> str:
    lines = [f"* {what}: {count}" for what, count in sorted(tally.items())]
    head = (
        f"\nThen `dvc repro --force`, `crossover run` and `crossover status` in loops side by side for {minutes:g} "
        "minutes, a cell forgotten before each `dvc repro`; the same was asked of the results.\n\n"
    )
    return head + "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
