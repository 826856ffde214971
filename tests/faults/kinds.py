"""The faults. Each puts one into the arena and says what it did; `Arena.recover` and `Arena.check` then judge.

A fault that damages a finished cell returns its fingerprint, which may be trained again; nothing else may.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.arena import Arena, NotSurvivedError, environment_of
from tests.processes import descendants, kill_all, until

Fault = Callable[[Arena], set[str]]
KINDS: dict[str, Fault] = {}
"""By name, in the order of the tally."""


def kind(name: str, whole: bool = False) -> Callable[[Fault], Fault]:
    """Register a fault; one that expects a certain message needs a `whole` arena, mended after the fault before."""

    def register(fault: Fault) -> Fault:
        def inflicted(arena: Arena) -> set[str]:
            if whole:
                arena.recover()
            return fault(arena)

        KINDS[name] = inflicted
        return fault

    return register


# Processes


def _training(arena: Arena, act: Callable[["object"], None], some: int = 2) -> tuple[int, str]:
    """Train some cells; at a random moment of it, act."""
    arena.forget(some)
    with arena.running(*arena.stage("train")) as process:
        until(lambda: process.poll() is not None or descendants(process.pid, "stages.cells.trainer"), 60)
        time.sleep(arena.random.uniform(0, 5))
        act(process)
        return arena.end(process)


@kind("worker killed (SIGKILL, as by the kernel when memory is out)")
def worker_killed(arena: Arena) -> set[str]:
    def act(process) -> None:
        kill_all(descendants(process.pid, "stages.cells.trainer")[:1])

    _training(arena, act)
    return set()


@kind("stage killed, its workers orphaned")
def stage_killed(arena: Arena) -> set[str]:
    _training(arena, lambda process: process.kill())
    until(lambda: not arena.workers(), 30)
    return set()


@kind("all processes killed at once")
def all_killed(arena: Arena) -> set[str]:
    def act(process) -> None:
        kill_all(descendants(process.pid))
        process.kill()

    _training(arena, act)
    return set()


@kind("killed while it evaluates")
def evaluation_killed(arena: Arena) -> set[str]:
    for path in arena.store.root.glob("*/evaluation-*"):
        path.unlink()
    with arena.running(*arena.stage("evaluate")) as process:
        time.sleep(arena.random.uniform(0.2, 6))
        process.kill()
        process.communicate()
    until(lambda: not arena.workers(), 30)
    return set()


def _interrupt(arena: Arena, number: int, times: int) -> set[str]:
    def act(process) -> None:
        for _ in range(times):
            if process.poll() is None:
                process.send_signal(number)
            time.sleep(arena.random.uniform(0, 0.4))

    code, errors = _training(arena, act)
    if code not in (0, 130, -number):
        raise NotSurvivedError(f"exit code {code} after {signal.Signals(number).name}: {errors}")
    until(lambda: not arena.workers(), 30)
    return set()


@kind("SIGTERM", whole=True)
def terminated(arena: Arena) -> set[str]:
    return _interrupt(arena, signal.SIGTERM, 1)


@kind("Ctrl-C", whole=True)
def interrupted(arena: Arena) -> set[str]:
    return _interrupt(arena, signal.SIGINT, 1)


@kind("Ctrl-C twice", whole=True)
def interrupted_twice(arena: Arena) -> set[str]:
    return _interrupt(arena, signal.SIGINT, 2)


@kind("two stages train the same cells at once")
def two_at_once(arena: Arena) -> set[str]:
    arena.forget(2)
    with arena.running(*arena.stage("train")) as one, arena.running(*arena.stage("train")) as other:
        for process in (one, other):
            arena.end(process)
    return set()


# File system and clock


def _shimmed(arena: Arena, kind: str, at: int, part: str = "/data/store/", log: Path | None = None) -> tuple[int, str]:
    assert arena.shim
    arena.forget(2)
    return arena.run(*arena.stage("train"), **environment_of(kind, arena.shim, part, at, log))


@kind("disk full from the n-th write on")
def disk_full(arena: Arena) -> set[str]:
    _shimmed(arena, "full", arena.random.randint(1, 60))
    return set()


@kind("disk full where the stage lays out its cells", whole=True)
def disk_full_outputs(arena: Arena) -> set[str]:
    code, errors = _shimmed(arena, "full", arena.random.randint(1, 12), "/data/studies/")
    if code != 1 or "No space left" not in errors:
        raise NotSurvivedError(f"exit code {code}: {errors}")
    return set()


@kind("folders read-only from the n-th opening on")
def read_only(arena: Arena) -> set[str]:
    _shimmed(arena, "readonly", arena.random.randint(1, 20))
    return set()


@kind("power cut at the n-th flush or rename")
def power_cut(arena: Arena) -> set[str]:
    _shimmed(arena, "crash", arena.random.randint(1, 40))
    return set()


@kind("every file flushed before it is renamed", whole=True)
def order(arena: Arena) -> set[str]:
    log = arena.root.parent / "order.log"
    code, _ = _shimmed(arena, "order", 1, "/data/", log)
    if code or log.exists():
        raise NotSurvivedError(log.read_text() if log.exists() else f"exit code {code}")
    return set()


@kind("the clock jumps at every look", whole=True)
def clock(arena: Arena) -> set[str]:
    code, errors = _shimmed(arena, "clock", 1)
    if code:
        raise NotSurvivedError(errors)
    return set()


# Damage


def damaged(arena: Arena, content: bytes, how: str, other: bytes = b"") -> bytes:
    """A file's content, `truncated`, with a bit `flipped`, or `swapped` with another's."""
    if how == "swapped":
        return other
    if how == "truncated":
        return content[: arena.random.randrange(len(content))]
    place = arena.random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << arena.random.randrange(8)]) + content[place + 1 :]


def _damage(arena: Arena, path: Path, how: str, other: Path | None = None) -> None:
    path.write_bytes(damaged(arena, path.read_bytes(), how, other.read_bytes() if other else b""))


def _harm_cell(arena: Arena, pattern: str, how: str) -> set[str]:
    """A file of a finished cell, damaged; the stage that reads it must not take it for whole."""
    files = sorted(path for path in arena.store.root.glob(f"*/{pattern}") if path.parent.name in arena.planned)
    victim, other = arena.random.sample(files, 2)
    _damage(arena, victim, how, other)
    shutil.rmtree(arena.home / "cells", ignore_errors=True)
    return {victim.parent.name}


def _harms(what: str, pattern: str) -> None:
    for how in ("truncated", "flipped", "swapped"):
        words = {"truncated": "truncated", "flipped": "with a flipped bit", "swapped": "swapped with another's"}[how]

        def fault(arena: Arena, how: str = how) -> set[str]:
            return _harm_cell(arena, pattern, how)

        kind(f"{what} {words}", whole=True)(fault)


_harms("record", "record.json")
_harms("curve", "curve.parquet")
_harms("evaluation", "evaluation-*.json")


@kind("checkpoint truncated, flipped or swapped with another cell's")
def checkpoint(arena: Arena) -> set[str]:
    def act(process) -> None:
        until(lambda: process.poll() is not None or len(found()) >= 2, 60)
        kill_all(descendants(process.pid))
        process.kill()

    def found() -> list[Path]:
        return sorted(arena.store.root.glob("*/checkpoint.safetensors"))

    _training(arena, act, some=6)
    files = found()
    if files:
        how = arena.random.choice(["truncated", "flipped", "swapped"] if len(files) > 1 else ["truncated", "flipped"])
        _damage(arena, files[0], how, files[-1])
    return set()


@kind("shard truncated or with a flipped bit")
def shard(arena: Arena) -> set[str]:
    arena.forget(1)
    files = sorted((arena.root / "data/tokens").rglob("*.bin"))
    _damage(arena, arena.random.choice(files), arena.random.choice(["truncated", "flipped"]))
    return set()


@kind("plan with a flipped bit, truncated or of other content")
def plan(arena: Arena) -> set[str]:
    path = arena.home / "plan.json"
    how = arena.random.choice(["truncated", "flipped", "value"])
    if how == "value":
        text = path.read_text()
        path.write_text(text.replace('"lr": 0.02', '"lr": 0.03'))
    else:
        _damage(arena, path, how)
    code, errors = arena.run(*arena.stage("train"))
    if code and not errors.startswith("error: "):
        raise NotSurvivedError(errors)
    return set()


# The device


_PATCH = """
import stages.train.optimizer as optimizer
step, calls = optimizer.Optimizer.step, iter(range(10**9))
def failing(self, *arguments):
    import torch
    if next(calls) == {at}:
        {act}
    return step(self, *arguments)
optimizer.Optimizer.step = failing
"""


def _device(arena: Arena, act: str) -> tuple[int, str]:
    """Run with something that happens in the so-maniest step of every worker."""
    folder = arena.root.parent / "patch"
    folder.mkdir(exist_ok=True)
    trick = "import sys\nif 'trainer' in ' '.join(sys.orig_argv):\n"
    body = _PATCH.format(at=arena.random.randint(1, 60), act=act)
    (folder / "sitecustomize.py").write_text(trick + "".join(f"    {line}\n" for line in body.splitlines()))
    arena.forget(2)
    before = arena.project.environment["PYTHONPATH"]
    return arena.run(*arena.stage("train"), PYTHONPATH=f"{folder}{os.pathsep}{before}")


@kind("device lost", whole=True)
def device_lost(arena: Arena) -> set[str]:
    """Twice is an error of the machine; a second worker that has a checkpoint may not come to that step again."""
    code, errors = _device(arena, "raise torch.AcceleratorError('CUDA error: device lost')")
    through = all(arena.store.record(name) for name in arena.planned)
    if "device lost" not in errors or code != (0 if through else 1):
        raise NotSurvivedError(f"exit code {code}: {errors}")
    return set()


@kind("gradients not a number", whole=True)
def not_a_number(arena: Arena) -> set[str]:
    """Such a cell has diverged, which is an honest outcome; it is thrown away here, so that it is trained again."""
    code, errors = _device(arena, "self._flat.gradients.fill_(float('nan'))")
    if code:
        raise NotSurvivedError(errors)
    spoilt = {name for name in arena.planned if (found := arena.store.record(name)) and found.status == "diverged"}
    for name in spoilt:
        shutil.rmtree(arena.store.folder(name))
    shutil.rmtree(arena.home / "cells")  # or the study's own copy would be taken back into the store
    return spoilt


# The whole pipeline


@kind("table of losses truncated or flipped, before `dvc repro`", whole=True)
def table(arena: Arena) -> set[str]:
    path = arena.root / "data/results/tiny-mini/losses.csv"
    _damage(arena, path, arena.random.choice(["truncated", "flipped"]))
    code, errors = arena.run("dvc", "--wait-for-lock", "repro", "evaluate@tiny-mini")
    if code:
        raise NotSurvivedError(errors)
    if arena.project.losses() != arena.calm["losses.csv"]:
        raise NotSurvivedError("DVC kept a damaged table")
    return set()


@kind("two `dvc repro` at once", whole=True)
def two_dvc(arena: Arena) -> set[str]:
    arena.forget(1)
    shutil.rmtree(arena.root / "data/results/tiny-mini", ignore_errors=True)
    command = ("dvc", "--wait-for-lock", "repro", "fit@tiny-mini")
    with arena.running(*command) as one, arena.running(*command) as other:
        ends = [arena.end(process) for process in (one, other)]
    turned_away = [errors for code, errors in ends if code]  # DVC tells the later one who is at work
    if len(turned_away) == 2 or not all("is busy, it is being blocked by" in errors for errors in turned_away):
        raise NotSurvivedError("; ".join(turned_away))
    return set()


@kind("DVC killed, alone", whole=True)
def dvc_killed(arena: Arena) -> set[str]:
    arena.forget(2)
    shutil.rmtree(arena.root / "data/results/tiny-mini", ignore_errors=True)
    with arena.running("dvc", "--wait-for-lock", "repro", "fit@tiny-mini") as process:
        time.sleep(arena.random.uniform(0.5, 12))
        process.kill()
        process.communicate()
    until(lambda: not arena.workers(), 30)
    arena.run(sys.executable, "-m", "crossover", "doctor", "--fix")
    code, errors = arena.run("dvc", "--wait-for-lock", "repro", "fit@tiny-mini")
    if code:
        raise NotSurvivedError(errors)
    return set()
