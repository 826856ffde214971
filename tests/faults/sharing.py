"""Faults of sharing: a store with other users and other clones, what somebody deletes or stops meanwhile, a remote."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.workspace import Workspace
from tests.cells.test_command import LEFT
from tests.conftest import Project
from tests.faults.arena import Arena, NotSurvivedError
from tests.faults.kinds import kind
from tests.faults.services import KINDS
from tests.processes import descendants, kill_all, until
from tests.store.test_shared import AS_OTHERS

__all__ = ["KINDS"]


@kind("worker stopped for a while (SIGSTOP), then let go on")
def worker_stopped(arena: Arena) -> set[str]:
    arena.forget(2)
    with arena.running(*arena.stage("train"), CROSSOVER_QUIET_SECONDS="1") as process:
        until(lambda: process.poll() is not None or descendants(process.pid, "stages.cells.trainer"), 60)
        time.sleep(arena.random.uniform(0, 4))
        stopped = [member.pid for member in arena.workers()]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in stopped:
                _tell(pid, number)
            time.sleep(arena.random.uniform(0, 3))
        arena.end(process)
    return set()


def _tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@kind("`crossover gc --yes` beside a run")
def collected(arena: Arena) -> set[str]:
    arena.forget(2)
    command = (sys.executable, "-m", "crossover", "gc", "--yes", "--days", "0")
    with arena.running(*arena.stage("train")) as process:
        until(lambda: process.poll() is not None or descendants(process.pid, "stages.cells.trainer"), 60)
        time.sleep(arena.random.uniform(0, 3))
        arena.run(*command)
        arena.end(process)
    return set()


@kind("a cell of a shared store closed to this user", whole=True)
def closed(arena: Arena) -> set[str]:
    """The others are trained; the closed one is named, and is there again once it is opened."""
    name = arena.random.choice(sorted(arena.planned))
    arena.forget(1)
    with _closed(arena.store.folder(name)):
        command = [*(AS_OTHERS if os.getuid() == 0 and shutil.which("setpriv") else ()), *arena.stage("train")]
        code, errors = arena.run(*command)
    if code and "may not be read" not in errors and "failed" not in errors:
        raise NotSurvivedError(f"exit code {code}: {errors}")
    shutil.rmtree(arena.home / "cells", ignore_errors=True)
    return set()


@contextmanager
def _closed(folder: Path) -> Iterator[None]:
    """Neither its record nor the folder itself is open to write or read."""
    record = folder / "record.json"
    if record.exists():
        record.chmod(0)
        folder.chmod(0o555)
    try:
        yield
    finally:
        if record.exists():
            folder.chmod(0o755)
            record.chmod(0o644)


@kind("two clones with one store train the same cells at once")
def two_clones(arena: Arena) -> set[str]:
    arena.forget(2)
    other = arena.root.parent / "clone"
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(arena.root, other, symlinks=True)
    shutil.rmtree(other / "data/store")
    store = {"CROSSOVER_STORE": str(arena.store.root)}
    words = " ".join(arena.stage("train")[1:])
    there = ("bash", "-c", f"cd '{other}' && exec '{sys.executable}' {words}")
    try:
        with arena.running(*arena.stage("train"), **store) as one, arena.running(*there, **store) as two:
            for process in (one, two):
                arena.end(process)
    finally:
        shutil.rmtree(other, ignore_errors=True)
        for path in (arena.store.root / ".clones").glob("*.json"):
            path.unlink()
    return set()


@kind("two clones with one store run the same trainer program at once")
def two_trainers(arena: Arena) -> set[str]:
    """In projects of their own. Of either, workers may be killed; run again, both have what the program left, once."""
    place = arena.root.parent / "trainers"
    shutil.rmtree(place, ignore_errors=True)
    clones = [_with_a_program(arena, place / name) for name in "ab"]
    store = {"CROSSOVER_STORE": str(place / "store")}
    there = [("bash", "-c", f"cd '{clone}' && exec {' '.join(arena.stage('train'))}") for clone in clones]
    with arena.running(*there[0], **store) as one, arena.running(*there[1], **store) as two:
        time.sleep(arena.random.uniform(2, 7))
        kill_all(descendants(arena.random.choice([one, two]).pid, "stages.cells.trainer"))
        for process in (one, two):
            arena.end(process)
    for command in there:
        code, errors = arena.run(*command, **store)
        if code:
            raise NotSurvivedError(f"not trained: {errors}")
    cells, begun = list((place / "store").glob("*/record.json")), (place / "begun").read_text()
    shutil.rmtree(place, ignore_errors=True)
    if len(cells) != 4 or not 4 <= len(begun) <= 6:
        raise NotSurvivedError(f"{len(cells)} of 4 cells were trained, in {len(begun)} runs")
    return set()


def _with_a_program(arena: Arena, root: Path) -> Path:
    """The project again, its cells trained by a program that takes half a second and leaves what is asked for."""
    shutil.copytree(arena.root, root, symlinks=True)
    shutil.rmtree(root / "data/store")
    begin = f"import time; open('{root.parent}/begun', 'a').write('x'); time.sleep(.5)"
    (root / "trainers/own.py").write_text(LEFT.replace("CHANGE", begin))
    program = {"own": {"command": "python trainers/own.py", "sources": ["trainers/own.py"]}}
    recipes = {"constant": {"trainer": "own"}, "inverse": {"trainer": "own", "options": {"other": True}}}

    def change(values: dict[str, Any]) -> None:
        values["studies"]["tiny"]["recipes"] = recipes
        values["scales"]["mini"]["widths"] = [8]
        values["trainers"] = program

    Project(root).params(change)
    code, errors = arena.run("bash", "-c", f"cd '{root}' && exec {' '.join(arena.stage('plan'))}")
    if code:
        raise NotSurvivedError(errors)
    return root


@kind("a push of results that others came before", whole=True)
def rejected(arena: Arena) -> set[str]:
    """Two machines send to one branch; the second goes behind the first."""
    place = arena.root.parent / "remote"
    shutil.rmtree(place, ignore_errors=True)
    ours, commit = f"git -C '{arena.root}'", "-c user.name=t -c user.email=t@example.com commit -qm s"
    clones = [
        f"git clone -q '{place}/r.git' '{place}/{name}'; git -C '{place}/{name}' checkout -q main" for name in "ab"
    ]
    setting = [f"mkdir '{place}'; {ours} add -A .; {ours} {commit}; {ours} branch -f main HEAD", *clones]
    setting.insert(1, f"git clone -q --bare '{arena.root}' '{place}/r.git'")
    code, errors = arena.run("bash", "-c", "; ".join(setting))
    if code:
        raise NotSurvivedError(errors)
    a, b = (Workspace(place / name, "main", "results/nightly") for name in "ab")
    remote = str(place / "r.git")
    first, second = arena.random.sample([a, b], 2)
    for workspace, others in ((first, None), (second, first)):
        workspace.fetch(remote)
        with workspace.opened():
            (workspace.folder / "docs").mkdir(exist_ok=True)
            (workspace.folder / "docs/findings.md").write_text(f"{workspace.repository.name} {time.time_ns()}\n")
            workspace.commit(workspace.repository.name)
            if others:
                with others.opened():
                    (others.folder / "docs").mkdir(exist_ok=True)
                    (others.folder / "docs/findings.md").write_text(f"again {time.time_ns()}\n")
                    others.commit("again")
                    others.send(remote)
            workspace.send(remote)
    log = arena.run(
        "bash", "-c", f"test $(git -C '{remote}' rev-list --first-parent --count results/nightly ^main) = 3"
    )
    if log[0]:
        raise NotSurvivedError(f"results were lost: {log[1]}")
    shutil.rmtree(place, ignore_errors=True)
    return set()
