"""A cell as a job: it travels by value, is done by a warm worker, and refuses source that its plan does not know."""

import pickle
from pathlib import Path

import pytest

from crossover.base.errors import Interrupted
from stages.cells import job as jobs
from stages.cells.job import Job, dismiss_workers, do, stop_workers
from stages.cells.plan import Plan
from stages.cells.trainer import CellError
from stages.train.observer import Window
from tests.cells.test_pool import planned, tokenized

__all__ = ["planned", "tokenized"]  # fixtures


def make_jobs(plan: Plan, store: Path) -> list[Job]:
    return [Job(plan.only(name), name, str(store), Path.cwd()) for name in plan.cells]


def test_a_job_travels_and_finds_its_worker_warm(planned: Plan, tmp_path: Path) -> None:
    first, second, *_ = (pickle.loads(pickle.dumps(job)) for job in make_jobs(planned, tmp_path / "store"))
    assert len(first.plan.rows) == 1
    assert first.name == "tiny-mini constant width 8 lr 0.02 seed 0"
    dismiss_workers()
    told: list[Window] = []
    assert do(first, told.append).status == "done"
    assert told[-1].step == first.cell.steps
    assert sum(len(window.losses) for window in told) == first.cell.steps
    (pool,) = jobs._POOLS.values()
    (trainer,) = pool._trainers
    worker = trainer.pid
    assert do(second).fingerprint == second.fingerprint
    assert trainer.pid == worker
    dismiss_workers()
    assert trainer.pid is None


def test_other_source_than_the_plans_is_refused(planned: Plan, tmp_path: Path) -> None:
    for changed in ({"source": "0" * 64}, {"evaluation_digest": "0" * 64}):
        (job, *_) = make_jobs(planned.model_copy(update=changed), tmp_path / "store")
        with pytest.raises(
            CellError, match=r"is not the one that tiny-mini was planned with; .*dvc repro plan@tiny-mini"
        ):
            do(job)
    dismiss_workers()
    assert not list((tmp_path / "store").glob("*/record.json"))


def test_after_a_stop_no_worker_begins(planned: Plan, tmp_path: Path) -> None:
    dismiss_workers()
    first, *_ = make_jobs(planned, tmp_path / "store")
    do(first)
    stop_workers()
    with pytest.raises(Interrupted):
        do(first)
    dismiss_workers()
    assert do(first).status == "done"
    dismiss_workers()
