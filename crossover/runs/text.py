"""Tables in text as people write them: any separator, decimal commas, thousands, a header that comes again.

The separator is the one that splits the header into most names. A column is of numbers where at least half of its cells
are, by one convention for the file: decimal points, or decimal commas where cells say so. What a cell says otherwise,
such as `OOM`, stays as it is for whoever asks for a number there. A row with more cells than the header is refused with
its line: half of `4,51` would pass for a loss.
"""

import csv
import gzip
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd

from crossover.base.errors import UsageError

_SEPARATORS = ",;\t|"
_POINT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?([eE][+-]?\d+)?|[+-]?\.\d+([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(\d{1,3}([. ]\d{3})+|\d+)(,\d*)?([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),(\d{1,2}|\d{4,})|[+-]?0,\d+|[+-]?\d{1,3}(\.\d{3})+,\d+")
_NOT_FINITE = {"nan": "nan", "inf": "inf", "+inf": "inf", "-inf": "-inf", "infinity": "inf", "-infinity": "-inf"}
_EMPTY = ("", "NA", "N/A", "n/a", "NULL", "null", "None", "-", "#N/A")


def read_text(path: Path, keep_nan: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """The table in a text file, compressed or not, and what is to be known of how it was read.

    With `keep_nan` a column in which NaN is written keeps it apart from empty cells, which are None there. Raises
    `UsageError` for columns of one name and rows that do not fit their header.
    """
    separator, names = _header(path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{path}: two columns are called '{twice}'; give one another name")
    table, notes = _read_fast(path, separator), list[str]()
    if table is None or _header_again(table):
        table, again = _read_rows(path, separator)
        notes += [f"left out {again} line(s) that say the header again"] if again else []
    commas = separator != "," and _decimal_commas(table)
    if commas:
        table = _as_text(path, separator) if not notes else table
        notes.append("read with decimal commas")
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = _converted(table[name], commas, keep_nan)
    return table, notes


def number(text: str, commas: bool = False) -> float | None:
    """A cell as a number by a convention; None where it is none."""
    text = text.strip()
    if text.lower() in _NOT_FINITE:
        return float(_NOT_FINITE[text.lower()])
    if not (_COMMA if commas else _POINT).fullmatch(text):
        return None
    return float(re.sub(r"[. ]", "", text).replace(",", ".") if commas else text.replace(",", ""))


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    if path.suffix == ".zst":
        with pd.io.common.get_handle(path, "rb", compression="infer", is_text=False) as handle:
            return io.StringIO(handle.handle.read().decode("utf-8-sig"), newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _header(path: Path) -> tuple[str, list[str]]:
    """The separator, and the names of the first line that is not empty."""
    with _open(path) as file:
        line = next((line for line in file if line.strip()), None)
    if line is None:
        raise pd.errors.EmptyDataError
    rows = {mark: next(csv.reader([line], delimiter=mark)) for mark in _SEPARATORS}
    first = "\t" if path.suffix.lower() == ".tsv" or path.with_suffix("").suffix.lower() == ".tsv" else ","
    best = max(_SEPARATORS, key=lambda mark: (len(rows[mark]), mark == first))
    return best, [name.strip() for name in rows[best]]


def _read_fast(path: Path, separator: str) -> pd.DataFrame | None:
    """By the parser of pandas; None where lines have more cells than the header."""
    with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
        try:
            table: pd.DataFrame = pd.read_csv(
                path, sep=separator, index_col=False, encoding="utf-8-sig", skipinitialspace=True,
                keep_default_na=False, na_values=list(_EMPTY), low_memory=False,
            )  # fmt: skip
        except (pd.errors.ParserWarning, pd.errors.ParserError):
            return None
    return table


def _as_text(path: Path, separator: str) -> pd.DataFrame:
    """Cells as they are written: `1.000` may be a thousand."""
    table: pd.DataFrame = pd.read_csv(
        path, sep=separator, index_col=False, encoding="utf-8-sig", skipinitialspace=True, dtype=str,
        keep_default_na=False, na_values=list(_EMPTY),
    )  # fmt: skip
    return table


def _header_again(table: pd.DataFrame) -> bool:
    first = table.iloc[:, 0]
    return not pd.api.types.is_numeric_dtype(first) and bool((first == table.columns[0]).any())


def _read_rows(path: Path, separator: str) -> tuple[pd.DataFrame, int]:
    """Line by line, for a header that comes again, with more columns too. Raises `UsageError` with the line."""
    rows, header, again = list[dict[str, str]](), list[str](), -1
    for line, cells in _lines(path, separator):
        if not header or (cells[0] == header[0] and not any(number(cell) is not None for cell in cells)):
            header, again = cells, again + 1
        elif len(cells) > len(header):
            raise UsageError(
                f"{path}: line {line} has {len(cells)} cells, more than the {len(header)} of its header; quote cells "
                f"that hold {separator!r} (a decimal comma?), or separate them by another mark"
            )
        else:
            rows.append(dict(zip(header, cells, strict=False)))
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame(rows, columns=list(names), dtype=object).replace(list(_EMPTY), None), again


def _lines(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    with _open(path) as file:
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]


def _decimal_commas(table: pd.DataFrame) -> bool:
    """Whether some column has commas that can only be decimal ones, at least in half of its cells."""
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            cells = [str(cell).strip() for cell in table[name].dropna().head(200)]
            found = sum(_DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells)
            if found and 2 * sum(_COMMA.fullmatch(cell) is not None for cell in cells) >= len(cells):
                return True
    return False


def _converted(column: "pd.Series[Any]", commas: bool, keep_nan: bool) -> "pd.Series[Any]":
    """Numbers where at least half of the cells are; other cells stay as they are."""
    cells = [cell if isinstance(cell, str) else None for cell in column]
    known = [cell for cell in cells if cell is not None]
    if len(known) < len(column.dropna()):
        return column  # truth values, or numbers beyond 64 bits
    found = {cell: number(cell, commas) for cell in set(known)}
    whole = sum(found[cell] is not None for cell in known)
    if not known or 2 * whole < len(known):
        return column
    values = [None if cell is None else cell if found[cell] is None else found[cell] for cell in cells]
    plain = whole == len(known) and not (keep_nan and any(value != value for value in values))
    if not plain:
        return pd.Series(values, index=column.index, dtype=object)
    numbers = pd.Series(values, index=column.index, dtype=float)
    exact = all("." not in cell and "e" not in cell.lower() for cell in known) and not commas and numbers.notna().all()
    return numbers.astype("int64") if exact and bool((numbers.abs() < 2**53).all()) else numbers
