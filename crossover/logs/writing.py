"""Writing the table of an import as CSV, Parquet or JSONL, whole or not at all."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

from crossover.base.errors import UsageError
from crossover.base.files import write_named

SUFFIXES = (".csv", ".parquet", ".jsonl")


def require_writable(path: Path, sources: list[Path]) -> None:
    """Raises `UsageError` where `path` is of another kind, or one of the files that are read."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--to writes {', '.join(SUFFIXES)}; name {path} with one of them at its end")
    if path.is_dir() or path.resolve() in {source.resolve() for source in sources}:
        raise UsageError(f"--to {path} is what is read; name another file")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table; a missing value is an empty cell or null."""
    write_named(path, {".csv": _csv, ".parquet": _parquet, ".jsonl": _jsonl}[path.suffix](table))


def _csv(table: pd.DataFrame) -> bytes:
    return str(table.to_csv(index=False)).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    """Columns in which runs differ by type, such as 1 and "auto", as text."""
    plain = table.copy()
    for name in plain.columns:
        if plain[name].dtype == object and plain[name].dropna().map(type).nunique() > 1:
            plain[name] = plain[name].map(str).where(plain[name].notna(), None)
    buffer = io.BytesIO()
    plain.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _jsonl(table: pd.DataFrame) -> bytes:
    """Infinities as null too: JSON has none."""
    plain = table.replace([np.inf, -np.inf], np.nan).astype(object)
    rows = plain.where(plain.notna(), None).to_dict("records")
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
