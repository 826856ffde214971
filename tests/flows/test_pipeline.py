"""What a failed cell means for the studies that plan it."""

from pathlib import Path

from flows.artifacts import Outcome
from flows.pipeline import _studies_that_lack
from stages.cells.job import Job
from stages.cells.plan import Plan
from tests.cells.test_pool import planned, tokenized

__all__ = ["planned", "tokenized"]  # fixtures


def test_a_failed_cell_is_told_of_every_study_that_plans_it(planned: Plan) -> None:
    other = planned.model_copy(update={"study": "other", "rows": planned.rows[:1]})
    apart = planned.model_copy(update={"study": "apart", "rows": planned.rows[-1:]})
    name = planned.rows[0].fingerprint
    job = Job(planned.only(name), name, "store", Path())
    told = _studies_that_lack([Outcome(job, "failed", 1, "too slow")], [planned, other, apart])
    assert told == [f"{key}-mini: 1 cell(s) failed: {job.name}: too slow" for key in ("tiny", "other")]
    assert _studies_that_lack([Outcome(job, "done")], [planned, other]) == []
