"""The grid flow: what the store lacks of some studies, as one queue of mapped tasks, the costliest cell first.

A task per cell, on threads of this machine, Dask or Ray. It is retried with back-off where its worker or its host died,
never where it diverged or failed by itself. Cells end up in the store, which every worker reaches by path or URL; DVC
records them afterwards. Nothing here decides what a cell is: fingerprints come from the plans that DVC made.
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture, as_completed
from prefect.tasks import exponential_backoff
from prefect.utilities.annotations import unmapped

from flows import slurm
from flows.artifacts import GridReport, Outcome
from flows.runners import Lost, Result, Where, resources, task_runner
from stages.cells.job import Job, dismiss_workers, do, stop_workers
from stages.cells.plan import Plan, read_plan
from stages.cells.trainer import WorkerLostError
from stages.store.store import store_from_environment
from stages.study.costs import count_flops
from stages.train.observer import Window

_BACKOFF = 2.0  # seconds before the first further attempt, doubled for each one after it
_LOGGED = 30.0  # seconds between a cell's lines in the log


def missing_jobs(plans: list[Plan], time_limit: float | None = None) -> list[Job]:
    """What the store lacks of some plans, each cell once, the costliest first."""
    store, root = store_from_environment(), Path.cwd()
    jobs: dict[str, Job] = {}
    for plan in plans:
        for fingerprint, cell in plan.cells.items():
            if fingerprint not in jobs and not store.complete(fingerprint, plan.evaluation(cell)):
                jobs[fingerprint] = Job(plan.only(fingerprint), fingerprint, store.url, root, time_limit)
    return sorted(jobs.values(), key=lambda job: -count_flops(job.cell).total)


@flow(name="grid", persist_result=False, validate_parameters=False)
def grid(studies: list[tuple[str, str]], where: Where) -> list[Outcome]:
    """Run what the store lacks of studies at scales; what failed is among the outcomes and remembered in the store."""
    jobs = missing_jobs([read_plan(*pair) for pair in studies], where.time_limit)
    report, found = GridReport(jobs, where.place), []
    try:
        for outcome in _outcomes(jobs, where, report):
            if outcome.error:
                store_from_environment().put_failure(outcome.job.fingerprint, outcome.error)
            found.append(outcome)
            report.add(outcome)
    except BaseException:  # interrupted: the runner waits for its threads, which wait for these
        stop_workers()
        raise
    finally:
        report.close()
    return found


def run_grid(studies: list[tuple[str, str]], where: Where) -> list[Outcome]:
    """The flow on the runner that `where` names."""
    dismiss_workers()
    names = ", ".join("-".join(pair) for pair in studies)
    on = grid.with_options(flow_run_name=f"cells of {names} on {where.runner}", task_runner=task_runner(where))
    outcomes = on(studies, where)
    dismiss_workers()
    return outcomes


def _outcomes(jobs: list[Job], where: Where, report: GridReport) -> Iterator[Outcome]:
    """Prefect retries a task whose worker died; a job that went down with its host is submitted again here."""
    attempt = 1
    while jobs:
        lost: list[Job] = []
        for job, result in (slurm.submit if where.runner == "slurm" else _by_tasks)(jobs, where):
            if isinstance(result, int):
                yield _finished(job, result + attempt - 1)
            elif isinstance(result, Lost) and attempt <= where.retries:
                report.lost(job, result)
                lost.append(job)
            else:
                yield Outcome(job, "failed", attempt, str(result) or type(result).__name__)
        if jobs := lost:
            time.sleep(_BACKOFF * 2 ** (attempt - 1))
        attempt += 1


def _by_tasks(jobs: list[Job], where: Where) -> Iterator[tuple[Job, Result]]:
    """Every job with what its task returned or raised, as they finish."""
    cell = train_cell.with_options(retries=where.retries)
    with resources(where):
        futures = cell.map(jobs, limit=unmapped(where.limit))
    by_future = dict(zip(futures, jobs, strict=True))
    for future in as_completed(list(by_future)):
        yield by_future[future], _result(future)


def _result(future: PrefectFuture[Any]) -> Result:
    try:
        result: int | Exception = future.result(raise_on_failure=False)
    except Exception as error:  # of the runner: the task itself did not come to an end
        return Lost(type(error).__name__)
    return result


def _finished(job: Job, attempts: int) -> Outcome:
    store = store_from_environment()
    record = store.record(job.fingerprint)
    if record is None:
        return Outcome(job, "failed", attempts, f"its worker left no record in {store.url}")
    losses = store.evaluation(job.fingerprint, job.plan.evaluation(job.cell))
    return Outcome(job, record.status, attempts, None, record, losses["loss_validation"] if losses else None)


def _worker_died(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), WorkerLostError)


def _task_name() -> str:
    from prefect.runtime import task_run

    job: Job = task_run.parameters["job"]
    return job.name


@task(
    name="cell",
    task_run_name=_task_name,
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_delay_seconds=exponential_backoff(_BACKOFF),
    retry_condition_fn=_worker_died,
)
def train_cell(job: Job, limit: str | None) -> int:
    """One cell, wherever the task runner puts it. Returns the number of attempts it took."""
    from prefect.runtime import task_run

    log, told = get_run_logger(), time.monotonic()

    def observe(window: Window) -> None:
        nonlocal told
        if time.monotonic() > told + _LOGGED:
            log.info("step %d of %d, loss %.4f", window.step, job.cell.steps, window.losses[-1])
            told = time.monotonic()

    slot = concurrency(limit, strict=True, raise_on_lease_renewal_failure=False) if limit else nullcontext()
    with slot:
        record = do(job, observe)
    speed = record.provenance.tokens_per_second
    log.info("%s: %s after %.1f s, %.0f tokens/s", job.name, record.status, record.provenance.seconds, speed)
    return int(task_run.run_count)
