"""One cell as a job that any process can do that has this source and the tokens: a thread, Dask, Ray, Slurm.

A job carries everything by value or by path, so that it can be pickled, and is done by a worker process that the
next job finds warm.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from crossover.base.errors import Interrupted
from stages.cells.plan import Plan
from stages.cells.pool import Pool
from stages.cells.trainer import CellError
from stages.store.store import Record, Store
from stages.study.cell import Cell
from stages.train.observer import Observer, nobody

_STOPPED = threading.Event()
_POOLS: dict[tuple[Path, str | None], Pool] = {}


@dataclass(frozen=True)
class Job:
    """A cell to be brought to completion."""

    plan: Plan
    """With that cell's rows only."""
    fingerprint: str
    store: str
    """URL or folder, as `Store.at` takes it."""
    root: Path
    """The project's folder where the job was made; elsewhere the worker's own working directory takes its place."""
    seconds: float | None = None
    """Time limit."""

    @property
    def cell(self) -> Cell:
        """What is to be trained."""
        return self.plan.cells[self.fingerprint]

    @property
    def name(self) -> str:
        """What a person calls it."""
        plan, row, cell = self.plan, self.plan.rows[0], self.cell
        return f"{plan.study}-{plan.scale} {row.recipe} width {cell.width} lr {cell.lr:.4g} seed {cell.seed}"


def do(job: Job, observe: Observer = nobody) -> Record:
    """Bring the cell to completion in a worker process of this process.

    Raises `WorkerLostError`, `TimeLimitError` or `CellError`.
    """
    if _STOPPED.is_set():
        raise Interrupted("stopped before the cell began")
    root = job.root if (job.root / "data/tokens").is_dir() else Path.cwd()
    store = Store.at(job.store)
    _pool(root).complete(job.plan, job.fingerprint, store, observe=observe, seconds=job.seconds)
    record = store.record(job.fingerprint)
    if record is None:
        raise CellError(f"its worker left no record in {job.store}")
    return record


def _pool(root: Path) -> Pool:
    """This process's workers for a project and the GPUs that it may use now."""
    return _POOLS.setdefault((root, os.environ.get("CUDA_VISIBLE_DEVICES")), Pool(root))


def stop_workers() -> None:
    """End this process's workers; those in the middle of a cell write a checkpoint first. No new ones begin."""
    _STOPPED.set()
    for pool in list(_POOLS.values()):
        pool.stop()


def dismiss_workers() -> None:
    """End this process's idle workers; the next job starts new ones."""
    stop_workers()
    _POOLS.clear()
    _STOPPED.clear()
