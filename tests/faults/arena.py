"""Where faults are put: a tiny study in a project of its own, its calm results, and what must hold after a fault."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet

from crossover.base.errors import DamageError
from stages.store.marker import CLONES, MARKER
from stages.store.store import Store
from tests.conftest import make_project
from tests.patience import patience
from tests.processes import alive, command_of, until

STUDY = ("tiny", "mini")
PATIENCE = 300.0


class NotSurvivedError(AssertionError):
    """A fault was not survived."""


def build_shim(folder: Path) -> Path | None:
    """The failing file system and clock as a shared library; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or sys.platform != "linux":
        return None
    target = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source), "-ldl"], check=True)
    return target


class Arena:
    """A project with everything made once, calmly; faults are put into it again and again."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.project = make_project(root / "project")
        self.root = self.project.root
        self.shim = build_shim(root)
        self.random = random.Random(seed)
        self.store = Store(self.root / "data/store")
        self.home = self.root / "data/studies/tiny-mini"
        # Cells of some tenths of a second, so that faults fall into their middle.
        self.project.params(lambda values: values["scales"]["mini"].update(tokens=12_000, widths=[8, 16]))
        self.project.repro()
        self.calm = self.results()
        self.planned = {row["fingerprint"] for row in json.loads((self.home / "plan.json").read_text())["rows"]}
        self.forgotten: set[str] = set()
        """Cells that this round may train again."""

    def results(self) -> dict[str, Any]:
        """Tables of the study: the bytes of the losses, the contents of the others."""
        places = (self.home / "curves.parquet", self.root / "data/results/tiny-mini/blocks.parquet")
        tables = {path.name: pyarrow.parquet.read_table(path) for path in places}
        return {"losses.csv": self.project.losses(), **{name: table.to_pydict() for name, table in tables.items()}}

    def start_over(self) -> None:
        """Make everything again from nothing, after a fault that was not survived."""
        for process in self.workers():
            process.kill()
        self.project.forget()
        (self.root / ".dvc/tmp/rwlock").unlink(missing_ok=True)
        self.project.repro()

    def finished(self) -> set[str]:
        """Planned cells that the store holds whole."""
        return {name for name in self.planned if self._whole(name)}

    def _whole(self, name: str) -> bool:
        try:
            record = self.store.record(name)
            return record is not None and all(self.store.verified(record, file) for file in record.files)
        except DamageError:
            return False

    def forget(self, some: int) -> None:
        """Some cells were never trained."""
        chosen = self.random.sample(sorted(self.planned), some)
        self.forgotten.update(chosen)
        for name in chosen:
            shutil.rmtree(self.store.folder(name), ignore_errors=True)
        shutil.rmtree(self.home / "cells", ignore_errors=True)

    def stage(self, name: str) -> list[str]:
        """The command of a stage of the study."""
        return [sys.executable, "-m", "stages.cells", name, *STUDY]

    @contextmanager
    def running(self, *command: str, **more: str) -> Iterator["subprocess.Popen[str]"]:
        """A command that is running, with `more` in its environment; whatever happens, nothing of it is left."""
        environment = {**self.project.environment, **more}
        process = subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            with process:
                if process.poll() is None:
                    process.kill()

    def end(self, process: "subprocess.Popen[str]") -> tuple[int, str]:
        """Exit code and standard error of a command that must end by itself, with no traceback of ours."""
        try:
            _, errors = process.communicate(timeout=patience(PATIENCE))
        except subprocess.TimeoutExpired:
            raise NotSurvivedError(f"{process.args} did not end") from None
        if "Traceback" in errors:
            raise NotSurvivedError(f"a traceback: {errors[-1500:]}")
        return process.returncode, errors

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        """Run a command to its end, under faults that the environment brings."""
        with self.running(*command, **environment) as process:
            return self.end(process)

    def workers(self) -> list[psutil.Process]:
        """Trainers of this project that live."""
        found = []
        for process in psutil.process_iter():
            if "stages.cells.trainer" in command_of(process):
                try:
                    found += [process] if Path(process.cwd()) == self.root else []
                except psutil.Error:
                    continue
        return found

    def recover(self) -> None:
        """Do what a person would: run again, and where a message names a remedy, follow it."""
        for name in ("train", "evaluate"):
            for _ in range(6):
                code, errors = self.run(*self.stage(name))
                if code == 0:
                    break
                self._remedy(errors)
            else:
                raise NotSurvivedError(f"{name} does not recover: {errors}")

    def _remedy(self, errors: str) -> None:
        if not errors.startswith(("error: ", "Exception ignored")) and "\nerror: " not in errors:
            raise NotSurvivedError(f"no message: {errors[-500:]}")
        if "data/tokens" in errors:
            for path in (self.root / "data/tokens").rglob("*.bin"):
                if str(path.relative_to(self.root)) in errors:
                    path.unlink(missing_ok=True)
            self._must(sys.executable, "-m", "stages.tokens")
        elif "plan.json" in errors:
            self._must(*self.stage("plan"))
        else:
            self.run(sys.executable, "-m", "crossover", "doctor", "--deep", "--fix")

    def _must(self, *command: str) -> None:
        code, errors = self.run(*command)
        if code:
            raise NotSurvivedError(f"{command} failed: {errors}")

    def check(self, kept: dict[str, str]) -> None:
        """After recovery: every cell once, none that was finished lost or trained twice, the tables as they were."""
        until(lambda: not any(map(alive, self.workers())), 30)
        if self.finished() != self.planned:
            raise NotSurvivedError(f"cells are missing: {self.planned - self.finished()}")
        if again := [name for name, trained in self.kept().items() if kept.get(name, trained) != trained]:
            raise NotSurvivedError(f"trained though they were finished: {again}")
        strange = {path.name for path in self.store.root.iterdir()} - self.planned - {MARKER, CLONES}
        if strange:
            raise NotSurvivedError(f"cells nobody planned: {strange}")
        if left := [path for name in self.planned for path in self.store.folder(name).glob("checkpoint*")]:
            raise NotSurvivedError(f"unfinished: {left}")
        for name, value in self.results().items():
            if value != self.calm[name]:
                raise NotSurvivedError(f"{name} is not what it was")

    def kept(self) -> dict[str, str]:
        """When each finished cell was trained, by fingerprint: it must not be trained again."""
        records = [record for name in self.finished() if (record := self.store.record(name))]
        return {item.fingerprint: f"{item.provenance.started} {item.provenance.seconds}" for item in records}


def environment_of(kind: str, shim: Path, path: str, at: int, log: Path | None = None) -> dict[str, str]:
    """What puts the shim before libc."""
    told = {"FAULT_LOG": str(log)} if log else {}
    return {"LD_PRELOAD": str(shim), "FAULT_KIND": kind, "FAULT_PATH": path, "FAULT_AT": str(at), **told}
