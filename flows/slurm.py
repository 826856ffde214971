"""Cells as one Slurm array job, through submitit: an array task per cell, at most `--workers` of them at once.

Submitting and waiting happens where the flow runs, say on the login node. Nodes need this source and its environment,
the tokens and the store, all on a shared folder (the store may also be behind a URL), and no Prefect server.
"""

import itertools
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossover.base.errors import CrossoverError, UsageError
from flows.runners import Lost, Result, Where
from stages.cells.job import Job, do
from stages.cells.trainer import WorkerLostError

LOGS = Path(".crossover/slurm")
_POLL = 2.0  # seconds
_GENERAL = {"name", "nodes", "tasks_per_node", "cpus_per_task", "mem_gb", "timeout_min", "gpus_per_node"}
"""What submitit names alike for all executors; other parameters carry the executor's name."""


def submit(jobs: list[Job], where: Where) -> Iterator[tuple[Job, Result]]:
    """Every job with its outcome, as they finish; a job whose node did not finish it is `Lost`."""
    waiting = list(zip(jobs, _executor(where).map_array(run, jobs), strict=True))
    number = waiting[0][1].job_id.split("_")[0]
    print(f"Slurm array job {number}: {len(jobs)} cells, logs in {LOGS}", file=sys.stderr, flush=True)
    try:
        while waiting:
            ended = [handle.done() for _, handle in waiting]
            now = list(itertools.compress(waiting, ended))
            waiting = [pair for pair, over in zip(waiting, ended, strict=True) if not over]
            for job, handle in now:
                failure = handle.exception()
                yield job, Lost(type(failure).__name__) if failure else handle.result()
            time.sleep(_POLL if waiting else 0)
    except KeyboardInterrupt:
        print(f"Slurm job {number} goes on; `scancel {number}` ends it", file=sys.stderr)
        raise


def run(job: Job) -> int | CrossoverError:
    """On the node. An error that another attempt would meet again is a value: raised, it would come back as text."""
    try:
        do(job)
    except WorkerLostError:
        raise
    except CrossoverError as error:
        return error
    return 1


def _executor(where: Where) -> Any:
    import submitit

    settings = {**where.slurm}
    cluster = settings.pop("cluster", "slurm")
    if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise UsageError("sbatch and srun are not on this machine; run --runner slurm where jobs are submitted")
    executor = submitit.AutoExecutor(LOGS, cluster=cluster)
    named = {key if key in _GENERAL else f"slurm_{key}": value for key, value in settings.items()}
    defaults = {"name": "crossover", "timeout_min": 24 * 60, "slurm_array_parallelism": where.workers or 256}
    try:
        executor.update_parameters(**{**defaults, **named})
    except (TypeError, NameError, ValueError, AssertionError) as error:
        raise UsageError(f"--slurm: {error}") from None
    return executor
