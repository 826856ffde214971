"""Tables: the schema is enforced on writing, and no digit is lost."""

from pathlib import Path

import pytest

from stages.study.tables import BLOCKS, LOSSES, RUNS, read_csv, table, write_csv


def test_csv_round_trip_is_exact(tmp_path: Path) -> None:
    rows = [
        {"fingerprint": "a", "text": "seen", "block": 1, "tokens": 2**40, "loss": 0.1 + 0.2},
        {"fingerprint": 'quote"comma,', "text": "fresh", "block": 2, "tokens": 1, "loss": None},
    ]
    write_csv(tmp_path / "t.csv", rows, BLOCKS)
    assert read_csv(tmp_path / "t.csv", BLOCKS).to_pylist() == rows


@pytest.mark.parametrize("change", [{"extra": 1}, {"loss": "high"}])
def test_a_wrong_row_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        table([{"fingerprint": "a", "text": "seen", "block": 1, "tokens": 2, "loss": 1.0, **change}], BLOCKS)


def test_every_column_has_a_meaning() -> None:
    assert all(field.metadata[b"meaning"] for schema in (LOSSES, RUNS, BLOCKS) for field in schema)
