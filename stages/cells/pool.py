"""A local worker pool: one process per core (one thread each) or per GPU, fed with the costliest cell first.

Workers die with their parent, however it dies; on Ctrl-C or SIGTERM they write a checkpoint first. A worker that
crashes costs its cell only: the others finish, then the failure is reported.
"""

import ctypes
import os
import shutil
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from stages.cells.plan import Plan
from stages.cells.progress import Progress
from stages.study.costs import count_flops
from stages.study.errors import CrossoverError, Interrupted
from stages.study.store import Store

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_GRACE = 20.0  # seconds a worker has for its last checkpoint


def run_pool(plan: Plan, fingerprints: list[str], store: Store, workers: int | None = None) -> None:
    """Bring the cells to completion. Raises `CrossoverError` naming each cell that failed, after the others."""
    if not fingerprints:
        return
    cells = plan.cells()
    waiting = sorted(fingerprints, key=lambda fingerprint: count_flops(cells[fingerprint]).total)
    pool = [_start(plan, store, number) for number in range(min(len(waiting), workers or worker_count()))]
    progress = Progress({fingerprint: cells[fingerprint] for fingerprint in waiting}, len(pool))
    failures: dict[str, str] = {}
    try:
        with _terminable():
            _feed(pool, waiting, progress, failures)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; finished cells and checkpoints are kept, run the same command again") from None
    finally:
        _stop(pool)
        progress.close()
    for fingerprint, error in failures.items():
        store.put_failure(fingerprint, error)
    if failures:
        names = "; ".join(
            f"{fingerprint[:12]} (width {cells[fingerprint].width}): {error}" for fingerprint, error in failures.items()
        )
        raise CrossoverError(f"{len(failures)} cell(s) failed, the others are kept: {names}")


def worker_count() -> int:
    """One per GPU, else one per core this process may use."""
    if shutil.which("nvidia-smi"):  # importing torch only to learn that there is no GPU takes seconds
        import torch

        if count := torch.cuda.device_count():
            return int(count)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Member:
    process: "SpawnProcess"
    pipe: Connection
    cell: str | None = None


def _start(plan: Plan, store: Store, number: int) -> _Member:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(plan, store, number, theirs, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    return _Member(process, ours)


def _feed(pool: list[_Member], waiting: list[str], progress: Progress, failures: dict[str, str]) -> None:
    """Hand out cells, the costliest (last) first, until all are done or failed."""
    for member in pool:
        _hand_out(member, waiting)
    while busy := {member.pipe: member for member in pool if member.cell}:
        for ready in wait(list(busy)):
            member = busy[ready]  # type: ignore[index]
            try:
                kind, value = member.pipe.recv()
            except EOFError:
                kind, value = "died", _epitaph(member)
            _handle(member, kind, value, progress, failures)
            if kind in ("done", "failed"):
                _hand_out(member, waiting)
    if waiting:  # every worker died
        failures.update(dict.fromkeys(waiting, "no worker left to run it"))


def _handle(member: _Member, kind: str, value: Any, progress: Progress, failures: dict[str, str]) -> None:
    cell = member.cell or ""
    if kind == "step":
        progress.step(cell, value)
        return
    if kind == "done":
        progress.done(cell, value)
    else:
        failures[cell] = value
        progress.failed(cell, value)
    member.cell = None


def _hand_out(member: _Member, waiting: list[str]) -> None:
    if waiting:
        member.cell = waiting.pop()
        member.pipe.send(member.cell)


def _epitaph(member: _Member) -> str:
    member.process.join(5)
    code = member.process.exitcode
    hint = "; out of memory? lower the number of workers or the batch" if code == -signal.SIGKILL else ""
    return f"its worker died (exit code {code}){hint}"


def _stop(pool: list[_Member]) -> None:
    for member in pool:
        if member.cell and member.process.is_alive():  # in the middle of a cell: let it write a checkpoint
            member.process.terminate()
        else:
            member.pipe.close()
    for member in pool:
        member.process.join(_GRACE)
        if member.process.is_alive():
            member.process.kill()
            member.process.join()
        member.pipe.close()


class _terminable:  # noqa: N801 (used as a statement)
    """Within it, SIGTERM interrupts like Ctrl-C."""

    def __enter__(self) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        self._before = signal.signal(signal.SIGTERM, interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
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


def _work(plan: Plan, store: Store, number: int, pipe: Connection, parent: int) -> None:
    """A worker: one cell after the other until the pipe closes."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    import torch

    from stages.cells.one import Worker

    device = torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    worker = Worker(plan, store, device)
    while not stop.is_set():
        try:
            fingerprint = pipe.recv()
        except EOFError:
            return
        try:
            record = worker.complete(fingerprint, lambda step: pipe.send(("step", step)), stop.is_set)
        except Interrupted:
            return
        except Exception as error:  # the cell failed, not the pool
            pipe.send(("failed", f"{type(error).__name__}: {error}"))
        else:
            pipe.send(("done", record.status))
