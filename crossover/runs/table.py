"""Anybody's runs: a CSV, Parquet or JSONL file, its rows filtered, its columns or expressions of them as arrays."""

import csv
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.runs.expressions import condition, evaluate, require
from crossover.runs.text import read_text
from crossover.runs.unpacking import require_moderate


@dataclass(frozen=True)
class LeftOut:
    """Rows that were not used, and why."""

    reason: str
    rows: int


@dataclass
class Runs:
    """A table of runs and what was left out of it so far."""

    path: str
    table: pd.DataFrame
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """How the file was read, where that is not plain."""

    def __str__(self) -> str:
        """Where they are from, how many they are, and their columns."""
        dropped = "".join(f"; left out: {item.rows} row(s), {item.reason}" for item in self.left_out)
        return f"{self.path}: {len(self.table)} runs with {', '.join(map(str, self.table.columns))}{dropped}"

    def numbers(self, expression: str) -> Floats:
        """A column, or an expression of columns, as floats [n]. Raises `UsageError` where it is not numeric."""
        values = evaluate(self.table, expression)
        if pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_complex_dtype(values.dtype):
            raise UsageError(f"{self.path}: '{expression}' is of type {values.dtype}, and a real number is needed")
        if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
            try:
                numeric = pd.to_numeric(values, errors="coerce")
            except OverflowError:
                raise UsageError(f"{self.path}: '{expression}' holds a number that is too large") from None
            wrong = values[numeric.isna() & values.notna()]
            if len(wrong):
                raise UsageError(f"{self.path}: '{expression}' holds '{wrong.iloc[0]}', which is no number")
            values = numeric
        array: Floats = values.to_numpy(float, na_value=np.nan)
        return array

    def labels(self, column: str) -> npt.NDArray[np.object_]:
        """A column, or `lower(column)`, as text [n]. Raises `UsageError` where it is missing in a row."""
        if column not in self.table.columns:
            column = column.removeprefix("`").removesuffix("`")
        if column not in self.table.columns and column.startswith("lower("):
            values = evaluate(self.table, column)
        else:
            values = self.table[require(self.table, column)]
        if values.isna().any():
            raise UsageError(
                f"{self.path}: '{column}' is missing in {int(values.isna().sum())} row(s); filter them out"
            )
        text: npt.NDArray[np.object_] = values.astype(str).to_numpy(object)
        return text

    def split(self, text: str | None) -> tuple["Runs", "Runs"]:
        """Rows where a condition is false, and rows where it is true."""
        if text is None:
            return self, Runs(self.path, self.table.iloc[:0])
        chosen = condition(self.table, text)
        if not chosen.any():
            raise UsageError(f"{self.path}: no row satisfies '{text}'")
        return Runs(self.path, self.table[~chosen], self.left_out), Runs(self.path, self.table[chosen])


Tabular: TypeAlias = Runs | pd.DataFrame | Mapping[str, Any] | str | Path
"""Runs in any form: read already, a frame, a mapping of column names to arrays of one length, or a file's path."""


def read_runs(source: Tabular, where: str | None = None, keep_nan: bool = False) -> Runs:
    """Read runs, one per row; drop rows equal to an earlier one in every column, keep those that satisfy `where`.

    Args:
        source: a .csv, .tsv, .parquet or .jsonl file (also .gz, .zst), a DataFrame, columns by name, or runs.
        where: a condition on columns, as `flops > 1e18 and size != "7B"`.
        keep_nan: in text keep NaN that is written apart from empty cells, which are None beside it.

    Raises:
        UsageError: naming the file, for a missing, empty or unreadable one, and for a filter that keeps nothing.

    >>> print(read_runs({"flops": [1e18, 1e19], "loss": [3.1, 2.9]}, where="flops > 2e18"))
    runs: 1 runs with flops, loss; left out: 1 row(s), outside `flops > 2e18`
    """
    if isinstance(source, Runs):
        path, table, left_out, notes = source.path, source.table, list(source.left_out), source.notes
    else:
        path, table, notes = _open(source, keep_nan)
        table, left_out = _without_repeats(table)
    if table.empty:
        raise UsageError(f"{path} has no rows")
    if where is not None:
        kept = condition(table, where)
        if not kept.any():
            raise UsageError(f"{path}: --where '{where}' keeps none of {len(table)} rows")
        if not kept.all():
            left_out.append(LeftOut(f"outside `{where}`", int((~kept).sum())))
        table = table[kept]
    return Runs(path, table.reset_index(drop=True), left_out, notes)


def _open(source: pd.DataFrame | Mapping[str, Any] | str | Path, keep_nan: bool) -> tuple[str, pd.DataFrame, list[str]]:
    if isinstance(source, (str, Path)):
        return str(source), *_read(Path(source), keep_nan)
    if isinstance(source, pd.DataFrame):
        if source.columns.duplicated().any():
            raise UsageError(f"two columns are called '{source.columns[source.columns.duplicated()][0]}'; rename one")
        return "runs", source, []
    if not isinstance(source, Mapping):
        raise UsageError(f"runs are a file's path, a DataFrame, or columns by name; got {type(source).__name__}")
    try:
        return "runs", pd.DataFrame(dict(source)), []
    except ValueError as error:
        raise UsageError(f"the columns are no table ({error}); give arrays of one length") from None


def _without_repeats(table: pd.DataFrame) -> tuple[pd.DataFrame, list[LeftOut]]:
    try:
        repeated = table.duplicated()
    except TypeError:  # lists or objects of a JSONL file
        repeated = table.astype(str).duplicated()
    if not repeated.any():
        return table, []
    return table[~repeated], [LeftOut("equal to an earlier row in every column", int(repeated.sum()))]


def _read_parquet(file: Path) -> pd.DataFrame:
    """Without what pandas may have noted in it about types: those are Arrow's, and the notes can be broken."""
    table: pa.Table = pyarrow.parquet.read_table(file)
    table.validate(full=True)  # text that is no UTF-8 would fail later, on its way out
    return table.to_pandas(ignore_metadata=True)


def _read_lines(file: Path) -> tuple[pd.DataFrame, list[str]]:
    return pd.read_json(file, lines=True, precise_float=True), []


def _read(path: Path, keep_nan: bool) -> tuple[pd.DataFrame, list[str]]:
    readers: dict[str, Callable[[Path], tuple[pd.DataFrame, list[str]]]] = {
        ".csv": lambda file: read_text(file, keep_nan), ".tsv": lambda file: read_text(file, keep_nan),
        ".parquet": lambda file: (_read_parquet(file), []), ".jsonl": _read_lines, ".ndjson": _read_lines,
    }  # fmt: skip
    kind = (path.with_suffix("").suffix if path.suffix in (".gz", ".zst") else path.suffix).lower()
    if kind not in readers:
        raise UsageError(f"{path} is none of {', '.join(readers)}; rename or convert it")
    require_moderate(path)
    try:
        found = readers[kind](path)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except pd.errors.EmptyDataError:
        raise UsageError(f"{path} is empty") from None
    except (
        ValueError,
        TypeError,
        OSError,
        EOFError,
        zlib.error,
        csv.Error,
        pd.errors.ParserError,
        pa.ArrowException,
    ) as error:
        raise UsageError(f"{path} cannot be read as {kind[1:]} ({str(error).splitlines()[0]})") from None
    return found
