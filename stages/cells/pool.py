"""A local worker pool: one process per core (one thread each) or per GPU, fed with the costliest cell first.

A worker that crashes costs its cell only: the others finish, then the failure is reported. On Ctrl-C or SIGTERM the
workers write a checkpoint first.
"""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossover.base.errors import CrossoverError, Interrupted
from stages.cells.plan import Plan
from stages.cells.progress import Progress
from stages.cells.trainer import CellError, HostError, Trainer, WorkerLostError
from stages.live.events import Begun
from stages.live.telling import Live
from stages.store.store import Store
from stages.study.costs import count_flops
from stages.train.observer import Observer, Window, nobody

TRIED = "CROSSOVER_TRIED"
"""Set where cells that failed have been tried already, by a grid on other machines say: they are left as they are."""


class Pool:
    """Workers shared by threads: each cell takes a free one, or a new one, and gives it back.

    `root` is the project's folder, by default the working directory.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._trainers: list[Trainer] = []
        self._free: list[Trainer] = []
        self._live = Live(root or Path())
        self._stopped = False

    def complete(
        self, plan: Plan, fingerprint: str, store: Store, observe: Observer = nobody, **options: Any
    ) -> str:  # fmt: skip
        """`Trainer.complete` on a free worker, told of live. Raises `Interrupted` once the pool was stopped."""
        trainer, cell, status = self._take(), _begun(plan, fingerprint), "stopped"
        tell = self._live.begin(cell)

        def both(window: Window) -> None:
            tell(window)
            observe(window)

        try:
            status = trainer.complete(plan, fingerprint, store, observe=both, **options)
            return status
        except WorkerLostError:
            if self._stopped:
                raise Interrupted("stopped; the cell goes on from its checkpoint next time") from None
            raise
        finally:
            self._live.end(cell, status)
            self._free.append(trainer)

    def _take(self) -> Trainer:
        with self._lock:
            if self._stopped:
                raise Interrupted("stopped before the cell began")
            if not self._free:
                self._free.append(Trainer(len(self._trainers), self._root))
                self._trainers += self._free
            return self._free.pop()

    def stop(self) -> None:
        """End all workers, together; those in the middle of a cell write a checkpoint first."""
        with self._lock:
            self._stopped = True
        stopping = [threading.Thread(target=trainer.stop) for trainer in self._trainers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        self._live.close()


def _begun(plan: Plan, fingerprint: str) -> Begun:
    row = plan.only(fingerprint).rows[0]
    cell = row.cell
    return Begun(
        fingerprint=fingerprint,
        study=f"{plan.study}-{plan.scale}",
        recipe=row.recipe,
        width=cell.width,
        seed=cell.seed,
        lr=cell.lr,
        axes=json.dumps(row.axes, sort_keys=True),
        steps=cell.steps,
        tokens_per_step=cell.batch * cell.seq_len,
    )


def run_pool(plan: Plan, fingerprints: list[str], store: Store, workers: int | None = None) -> None:
    """Bring the cells to completion. Raises `CrossoverError` naming each cell that failed, after the others."""
    if failures := try_pool(plan, fingerprints, store, workers):
        raise CrossoverError(f"{len(failures)} cell(s) failed, the others are kept: {in_words(plan, failures)}")


def try_pool(
    plan: Plan, fingerprints: list[str], store: Store, workers: int | None = None, attempts: int = 1
) -> dict[str, str]:
    """The same, but what failed in every attempt is returned, and why; the store remembers it.

    Raises `CrossoverError` after the others where the machine failed: that says nothing of the cells.
    """
    if not fingerprints:
        return {}
    failed = _attempt(plan, fingerprints, store, workers)
    if failed and attempts > 1:
        return try_pool(plan, list(failed), store, workers, attempts - 1)
    failures = {name: str(error) for name, error in failed.items()}
    for fingerprint, why in failures.items():
        store.put_failure(fingerprint, why)
    if hosts := {name: why for name, why in failures.items() if isinstance(failed[name], HostError)}:
        raise CrossoverError(
            f"this machine could not finish {len(hosts)} cell(s), the others are kept: {in_words(plan, hosts)}; "
            "mend that and run the same command again"
        )
    return failures


def _attempt(plan: Plan, fingerprints: list[str], store: Store, workers: int | None) -> dict[str, CellError]:
    cells = plan.cells
    costliest = sorted(fingerprints, key=lambda fingerprint: -count_flops(cells[fingerprint]).total)
    count = min(len(costliest), workers or worker_count())
    place, recipes = workers_in_words(count), {row.fingerprint: row.recipe for row in reversed(plan.rows)}
    progress = Progress({fingerprint: cells[fingerprint] for fingerprint in costliest}, place, recipes)
    try:
        with terminable():
            return _run(count, plan, costliest, store, progress)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; finished cells and checkpoints are kept, run the same command again") from None
    finally:
        progress.close()


def in_words(plan: Plan, failures: dict[str, str]) -> str:
    """Cells that failed, the first of each reason with its width."""
    alike: dict[str, list[str]] = {}
    for name, error in failures.items():
        alike.setdefault(error, []).append(f"{name[:12]} (width {plan.cells[name].width})")
    return "; ".join(
        f"{cells[0]}{f' and {len(cells) - 1} more' if cells[1:] else ''}: {error}" for error, cells in alike.items()
    )


def _run(count: int, plan: Plan, fingerprints: list[str], store: Store, progress: Progress) -> dict[str, CellError]:
    """All cells, a thread per worker; what failed, and why."""
    failures: dict[str, CellError] = {}
    pool = Pool()

    def work(fingerprint: str) -> None:
        try:
            status = pool.complete(plan, fingerprint, store, observe=lambda told: progress.step(fingerprint, told.step))
        except Interrupted:
            return
        except CellError as error:
            failures[fingerprint] = error
            progress.failed(fingerprint, str(error))
        else:
            progress.done(fingerprint, status)

    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(work, fingerprint) for fingerprint in fingerprints]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.stop()  # threads in the middle of a cell see their worker leave
    return failures


def workers_in_words(count: int) -> str:
    """1 worker, 2 workers."""
    return f"{count} worker{'s' * (count > 1)}"


def gpu_count() -> int:
    """GPUs that this process sees."""
    signs = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of a driver: CUDA, ROCm, CUDA under Windows
    if not shutil.which("nvidia-smi") and not any(Path(sign).exists() for sign in signs):
        return 0  # importing torch only to learn that there is none takes seconds
    import torch

    return int(torch.cuda.device_count())


def worker_count(per_gpu: int = 1) -> int:
    """So many per GPU, else one per core this process may use."""
    if count := gpu_count():
        return count * per_gpu
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def terminable() -> Iterator[None]:
    """Within it, SIGTERM interrupts like Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
