"""Which phase runs when, and for how long at most. Of the standard library alone: packages may still be wheels."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Any

_LEAVE = 12.0  # seconds for packing what came out
_MODULES = {"warm": "warming", "compile": "warming", "bits": "right"}  # where they are not named after their phase


@dataclass(frozen=True)
class Context:
    """What a phase is given."""

    folder: Path
    out: Path
    miniature: bool
    until: float
    only: Sequence[str]

    @property
    def parts(self) -> Path:
        """Where every phase leaves what it found."""
        return self.folder / "parts"

    def over(self) -> bool:
        """Whether the phase should come to its end."""
        return time.time() > self.until

    def keep(self, name: str, value: Any) -> None:
        """Write what a phase found, replacing what it wrote before, and say it."""
        (self.parts / f"{name}.json").write_text(json.dumps(value, indent=1, default=str))
        print(f"{name}: {json.dumps(value, default=str)[:1500]}", flush=True)

    def phase(self, name: str, *more: str) -> list[str]:
        """The command that runs one phase in a process of its own."""
        said = ["--out", str(self.out), "--phase", name, "--until", str(self.until), *["--miniature"] * self.miniature]
        return [sys.executable, "-m", "tests.gpu", "run", *said, *more, "--only", *self.only]


def run_one(folder: Path, arguments: argparse.Namespace) -> int:
    """One phase, here."""
    name, _, rest = arguments.phase.partition(":")
    context = Context(folder, arguments.out.resolve(), arguments.miniature, arguments.until, arguments.only)
    module = import_module(f"tests.gpu.{_MODULES.get(name, name)}")
    task: Callable[..., None] = getattr(module, name)
    task(context, rest) if rest else task(context)
    return 0


def run_all(folder: Path, arguments: argparse.Namespace) -> int:
    """All phases. The exit code is 1 where one failed or was cut."""
    started, out, parts = time.time(), arguments.out.resolve(), folder / "parts"
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir()
    end = started + arguments.seconds - _LEAVE
    environment = _environment(folder, arguments.miniature)
    scale = 4.0 if arguments.miniature else 1.0  # a CPU is slower, and the whole takes what it takes
    failed = []

    def run(*names: str, most: float) -> None:
        """Phases side by side, those of them that are asked for."""
        names = tuple(name for name in names if name in arguments.only)
        until = min(time.time() + scale * most, end)
        context = Context(folder, out, arguments.miniature, until - 3, arguments.only)
        running = {name: _start(context.phase(name), folder, environment, parts / f"{name}.log") for name in names}
        for name, process in running.items():
            code = _wait(process, until)
            failed.extend([name] * bool(code))
            log = (parts / f"{name}.log").read_text(errors="replace")
            said = f"[{time.time() - started:4.0f}s] {name}: exit {code}\n{log}"
            print(said[-6000:], flush=True)
            with (out / "log.txt").open("a") as file:
                file.write(said)
        found = {path.stem: json.loads(path.read_text()) for path in sorted(parts.glob("*.json"))}
        about = {"commit": environment.get("CROSSOVER_COMMIT", "unknown"), "failed": failed}
        (out / "gpu.json").write_text(json.dumps(about | found, indent=1))

    run("look", most=40)
    run("right", "bits", "warm", most=190)
    run("speed", most=150)
    run("ladder", most=1e9)
    from tests.gpu.ladder import pack_store

    pack_store(out)
    print(
        f"[{time.time() - started:4.0f}s] {'all phases ended' if not failed else 'cut or failed: ' + ', '.join(failed)}"
    )
    return int(bool(failed))


def _environment(folder: Path, miniature: bool) -> dict[str, str]:
    """For phases: the packed text as `data`, our source, one cache of compiled code, and the wheels where needed."""
    paths = [str(Path.cwd())]
    if util.find_spec("pydantic") is None:
        site = tempfile.mkdtemp(prefix="crossover-site-")
        options = ["-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", site]
        wheels = sorted(map(str, (folder / "wheels").glob("*.whl")))
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *wheels], check=True)
        paths.append(site)
    commit = folder / "commit"
    told = {"CROSSOVER_COMMIT": commit.read_text().strip()} if commit.exists() else {}
    few = {"OMP_NUM_THREADS": "1"} if miniature else {}  # phases side by side on few cores
    cache = {
        "TORCHINDUCTOR_CACHE_DIR": tempfile.gettempdir() + "/crossover-inductor",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }
    return {**os.environ, **told, **few, **cache, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _start(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """In the packed folder, whose `data` holds the text and the plan; a session of its own, to be ended whole."""
    with log.open("wb") as file:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def _wait(process: "subprocess.Popen[bytes]", until: float) -> int:
    try:
        return process.wait(max(1.0, until - time.time()))
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()
