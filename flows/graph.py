"""DVC's view of the pipeline: its stages, what each waits for, which are stale; and DVC itself, run as a child."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossover.base.errors import CrossoverError, UsageError
from stages.study.processes import mortal

_LOCK = Path(".crossover/run.lock")
_RUNNING: set["subprocess.Popen[str]"] = set()


@contextmanager
def alone() -> Iterator[None]:
    """Two runs in one folder would train the same cells and fight over DVC's locks.

    Raises `CrossoverError` where another one is at work.
    """
    _LOCK.parent.mkdir(exist_ok=True)
    (_LOCK.parent / ".gitignore").write_text("*\n")
    with _LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            other = file.read().strip() or "unknown"
            raise CrossoverError(f"another run (process {other}) is at work in {Path.cwd()}; wait for it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@dataclass(frozen=True)
class Graph:
    """Stages by address, as `dvc.yaml` declares them and as the workspace has them."""

    upstream: dict[str, list[str]]
    """What every stage waits for; in the order in which `dvc repro` would visit the stages."""
    stale: set[str]
    """Stages that DVC would run even if nothing before them ran."""

    def before(self, addresses: list[str]) -> set[str]:
        """Everything that must be done before these stages, themselves not included."""
        found: set[str] = set()
        waiting = list(addresses)
        while waiting:
            more = set(self.upstream[waiting.pop()]) - found
            found |= more
            waiting += more
        return found - set(addresses)

    def stages(self, name: str) -> list[str]:
        """Addresses of one stage, one per study where it has several."""
        return [address for address in self.upstream if address.split("@")[0] == name]


def read_graph() -> Graph:
    """From `dvc.yaml` and the workspace. Raises `UsageError` where DVC cannot read them."""
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            graph = repo.index.graph
            order = list(networkx.dfs_postorder_nodes(graph))
            stale = set(repo.status())
    except DvcException as error:
        raise UsageError(f"dvc.yaml: {error}") from None
    names = {stage: stage.addressing for stage in order}
    return Graph({names[stage]: [names[before] for before in graph.successors(stage)] for stage in order}, stale)


def dvc(
    *words: str,
    hear: Callable[[str], None] = lambda _: None,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Run DVC, which waits for its lock; `hear` gets its lines as they come. Returns exit code and lines."""
    command = mortal(sys.executable, "-m", "dvc", "--wait-for-lock", *words)
    lines = []
    with subprocess.Popen(  # noqa: S603
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(variables or {})},
    ) as process:  # fmt: skip
        assert process.stdout
        _RUNNING.add(process)
        for raw in process.stdout:
            if line := raw.rstrip():
                lines.append(line)
                hear(line)
    _RUNNING.discard(process)
    return process.returncode, lines


def stop_dvc() -> None:
    """Ask every DVC that this process runs to end; its stages end with it."""
    for process in list(_RUNNING):
        process.terminate()


def last_error(lines: list[str]) -> str:
    """What went wrong, in the words of the stage, else in DVC's."""
    errors = [line.split(": ", 1)[1] for line in lines if line.startswith(("error: ", "ERROR: "))]
    return errors[0] if errors else next(iter(lines[-1:]), "dvc said nothing")


def order_lock(graph: Graph, path: Path = Path("dvc.lock")) -> None:
    """New stages of dvc.lock in the order of `dvc repro`, whichever finished first, so that both doors write alike."""
    from dvc.utils.serialize import dump_yaml, load_yaml

    lock = load_yaml(path)
    stages = lock["stages"]
    place = {name: number for number, name in enumerate(graph.upstream)}
    ordered = dict(sorted(stages.items(), key=lambda item: place.get(item[0], -1)))
    if list(ordered) != list(stages):
        dump_yaml(path, {**lock, "stages": ordered})
