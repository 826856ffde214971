"""Reading anybody's runs, and the expressions over their columns."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from crossover.base.errors import UsageError
from crossover.runs.expressions import condition, evaluate
from crossover.runs.table import read_runs

TABLE = pd.DataFrame(
    {"N": [1e6, 2e6, 4e6], "my loss": [3.0, 2.5, 2.2], "size": ["1M", "2M", "4M"], "ok": [True, False, True]}
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("N", [1e6, 2e6, 4e6]),
        ("my loss", [3.0, 2.5, 2.2]),
        ("`my loss` * 2 - 1", [5.0, 4.0, 3.4]),
        ("6 * N ** 2 / 1e12", [6.0, 24.0, 96.0]),
        ("-log2(N / 1e6)", [0.0, -1.0, -2.0]),
        ("3", [3, 3, 3]),
    ],
)
def test_expressions_are_arithmetic(text: str, value: list[float]) -> None:
    assert evaluate(TABLE, text).tolist() == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("N > 1e6", [False, True, True]),
        ("1e6 < N <= 2e6", [False, True, False]),
        ("size in ['1M', '4M'] and `my loss` > 2.5", [True, False, False]),
        ("size not in ['1M'] or ok", [True, True, True]),
        ("not ok", [False, True, False]),
        ("~ok | (N > 2e6) & (size == '4M')", [False, True, True]),
        ("size == '2M'", [False, True, False]),
    ],
)
def test_conditions_choose_rows(text: str, value: list[bool]) -> None:
    assert condition(TABLE, text).tolist() == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('os').system('true')", "not allowed"),
        ("N.__class__ == 1", "not allowed"),
        ("(lambda: 1)() == 1", "not allowed"),
        ("[x for x in N] == 1", "not allowed"),
        ("open('x') == 1", "not allowed"),
        ("NN > 1", "no column is called 'NN'; did you mean 'N'"),
        ("N >", "cannot be read"),
        ("size > 3", "does not fit"),
        ("size * 2 > 3", "is text, and a number is needed"),
        ("N + 1", "is no condition"),
        ("N > 1e6 & ok", "comparisons beside & and . need brackets"),
        ("N in 3", "must be a list"),
        ("9" * 3000, "characters"),
        ("+".join(["N"] * 990) + " > 1", "nested too deeply"),
        ("-" * 1900 + "N > 1", "nested too deeply|cannot be read"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        condition(TABLE, text)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_every_format_reads_the_same(tmp_path, kind: str) -> None:
    path = tmp_path / f"runs.{kind}"
    exact = TABLE.assign(N=[1 / 3, 2 / 3, 1e300])
    if kind == "csv":
        exact.to_csv(path, index=False)
    elif kind == "parquet":
        exact.to_parquet(path)
    else:
        exact.to_json(path, orient="records", lines=True, double_precision=15)
    runs = read_runs(path)
    assert runs.numbers("N") == pytest.approx([1 / 3, 2 / 3, 1e300], rel=1e-14)
    assert runs.labels("size").tolist() == ["1M", "2M", "4M"]


def test_left_out_rows_are_counted_with_their_reason(tmp_path) -> None:
    path = tmp_path / "runs.csv"
    pd.concat([TABLE, TABLE.iloc[:1]]).to_csv(path, index=False)
    runs = read_runs(path, "N > 1e6")
    assert [(item.reason, item.rows) for item in runs.left_out] == [
        ("equal to an earlier row in every column", 1), ("outside `N > 1e6`", 1),
    ]  # fmt: skip
    fitted, held = runs.split("size == '4M'")
    assert (len(fitted.table), len(held.table)) == (1, 1)


def test_missing_values_are_nan_and_text_is_refused(tmp_path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("x,loss\n1,2.5\n2,\n3,nan\n4,inf\n")
    assert np.isfinite(read_runs(path).numbers("loss")).tolist() == [True, False, False, False]
    path.write_text("x,loss\n1,2.5\n2,diverged\n")
    with pytest.raises(UsageError, match="'loss' holds 'diverged'"):
        read_runs(path).numbers("loss")


def test_odd_tables_are_read_as_they_are_meant(tmp_path) -> None:
    trailing, big, shouted = (tmp_path / name for name in ("trailing.csv", "big.csv", "LOUD.CSV"))
    trailing.write_text("x,loss,w\n1,2.5,9,\n2,2.4,9,\n")
    assert read_runs(trailing).numbers("x").tolist() == [1, 2]
    big.write_text("flops,loss\n100000000000000000000000,2\n1000000000000000000000000,1\n")
    assert read_runs(big).numbers("flops * 2").tolist() == [2e23, 2e24]
    shouted.write_text("x,loss\n1,2\n")
    assert read_runs(shouted).numbers("x").tolist() == [1]
    dated = tmp_path / "dated.parquet"
    TABLE.assign(when=pd.to_datetime("2026-01-01"), none=[None, "a", "b"]).to_parquet(dated)
    with pytest.raises(UsageError, match="a real number is needed"):
        read_runs(dated).numbers("when")
    with pytest.raises(UsageError, match="'none' is missing in 1 row"):
        read_runs(dated).labels("none")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"x,loss\n" + b"1,2\n" * 999)[:40])
    with pytest.raises(UsageError, match="cannot be read as csv"):
        read_runs(cut)


def test_numbers_beyond_floats_and_text_beyond_unicode_are_named(tmp_path) -> None:
    huge = tmp_path / "huge.csv"
    huge.write_text(f"x,loss\n{'9' * 400},2\na,1\n")
    with pytest.raises(UsageError, match="'x' holds"):
        read_runs(huge).numbers("x")
    foreign = tmp_path / "foreign.parquet"
    pa.parquet.write_table(pa.table({"x": pa.array([b"\xff\xfe"]).view(pa.string())}), foreign)
    with pytest.raises(UsageError, match="cannot be read as parquet"):
        read_runs(foreign)


def test_a_name_like_those_of_quoted_columns_is_a_name(tmp_path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("x,loss\n1,2\n")
    with pytest.raises(UsageError, match="_quoted_7"):
        read_runs(path).numbers("_quoted_7 * `x`")


def test_broken_notes_of_pandas_in_parquet_do_not_matter(tmp_path) -> None:
    path = tmp_path / "runs.parquet"
    pa.parquet.write_table(pa.table({"x": [1, 2]}).replace_schema_metadata({"pandas": "{}"}), path)
    assert read_runs(path).numbers("x").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.csv", None, "does not exist"),
        ("runs.xlsx", "x", "is none of .csv"),
        ("empty.csv", "", "is empty"),
        ("header.csv", "x,loss\n", "has no rows"),
        ("broken.parquet", "PAR1 nonsense", "cannot be read as parquet"),
        ("broken.jsonl", "{]", "cannot be read as jsonl"),
        ("null.jsonl", '{"x":1}\nnull\n', "cannot be read as jsonl"),
    ],
)
def test_bad_files_are_named(tmp_path, name: str, content: str | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=said):
        read_runs(path)


def test_a_filter_that_keeps_nothing_is_an_error(tmp_path) -> None:
    path = tmp_path / "runs.csv"
    TABLE.to_csv(path, index=False)
    with pytest.raises(UsageError, match="keeps none of 3 rows"):
        read_runs(path, "N > 1e9")
