"""Rows that are there twice count once, whatever their cells are."""

import numpy as np
import pandas as pd

from crossover.runs.table import read_runs


def test_rows_equal_in_every_column_are_one() -> None:
    """Lists too, which a JSONL file may hold and no hash takes."""
    rows = {"loss": [1.0, 1.0, 1.0, 2.0], "flops": [1e9] * 4, "tags": [["a"], ["a"], ["b"], ["a"]]}
    runs = read_runs(pd.DataFrame(rows), None)
    assert runs.numbers("loss").tolist() == [1.0, 1.0, 2.0]
    assert [(item.reason, item.rows) for item in runs.left_out] == [("equal to an earlier row in every column", 1)]
    plain = read_runs(pd.DataFrame(rows).drop(columns="tags"), None)
    assert np.array_equal(plain.numbers("loss"), [1.0, 2.0])
