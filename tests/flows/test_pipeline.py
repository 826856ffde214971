"""What a failed cell means for the studies that plan it."""

from pathlib import Path

from flows.artifacts import Outcome
from flows.pipeline import _studies_that_failed
from stages.cells.job import Job
from stages.cells.plan import Plan
from tests.cells.test_pool import planned, tokenized

__all__ = ["planned", "tokenized"]  # fixtures


def test_a_failed_cell_fails_every_study_that_plans_it(planned: Plan) -> None:
    other = planned.model_copy(update={"study": "other", "rows": planned.rows[:1]})
    apart = planned.model_copy(update={"study": "apart", "rows": planned.rows[-1:]})
    name = planned.rows[0].fingerprint
    job = Job(planned.only(name), name, "store", Path())
    reasons = _studies_that_failed([Outcome(job, "failed", 1, "too slow")], [planned, other, apart])
    assert reasons.keys() == {"train@tiny-mini", "evaluate@tiny-mini", "train@other-mini", "evaluate@other-mini"}
    assert reasons["train@other-mini"] == f"1 cell(s) failed: {job.name}: too slow"
    assert _studies_that_failed([Outcome(job, "done")], [planned, other]) == {}
