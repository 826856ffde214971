"""What a failed cell means for the studies that plan it, and where cells are said to run."""

from pathlib import Path
from typing import Any

import pytest

from flows.artifacts import Outcome
from flows.pipeline import _studies_that_lack
from flows.runners import Where
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


@pytest.mark.parametrize(
    ("where", "said"),
    [({"runner": "local", "workers": 2}, "2 workers"), ({"runner": "slurm"}, "Slurm"),
     ({"runner": "dask", "address": "tcp://host:1"}, "dask at tcp://host:1")],
)  # fmt: skip
def test_a_place_in_words(where: dict[str, Any], said: str) -> None:
    assert Where(**where).place == said
