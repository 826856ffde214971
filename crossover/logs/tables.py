"""Plain tables and histories: CSV, Parquet, JSONL and JSON, with one row per run or one row per step.

A table is a curve where a column of steps says so (`_step` of a Weights & Biases history, or a `step` that grows);
anything else has one row per run. Which of the two was found is noted, and can be stated instead.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from crossover.base.errors import DamageError, UsageError
from crossover.logs.logged import LoggedRun, Scalar, as_number, flatten, one_line, parse_json
from crossover.runs.table import read_runs

Reading = Literal["auto", "runs", "curves"]
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")
_STEPS = ("_step", "step", "global_step", "Step", "iteration")
_NAMES = ("run", "run_name", "run_id", "name", "id")
_NAMELESS = ("metrics", "history", "wandb-history", "log", "train_log", "results")
"""Stems that every run has alike; the folder names the run then."""
_SETTINGS = ("config.json", "hparams.json", "params.json", "hparams.yaml", "config.yaml")


def is_table(path: Path) -> bool:
    """Whether the name is that of a table, compressed or not."""
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    return plain.suffix.lower() in SUFFIXES


def read_table(path: Path, reading: Reading = "auto") -> list[LoggedRun]:
    """The runs of a table: one per row, or one per curve.

    Raises `UsageError` for a file that is missing, empty or of an unknown kind, `DamageError` for broken JSON.
    """
    notes = list[str]()
    table = _read_json(path) if path.suffix.lower() == ".json" else _read_plain(path, notes)
    table = _unfold(table.rename(columns=str))
    step = None if reading == "runs" else _step_column(table, stated=reading == "curves")
    if reading == "curves" and step is None:
        raise UsageError(f"{path} has no column of steps ({', '.join(_STEPS)}); leave out --as curves")
    runs = _rows(path, table) if step is None else list(_curves(path, table, step))
    if step not in (None, "_step") and reading == "auto":
        notes.append(f"one row per step, by the column '{step}'; --as runs reads one row per run")
    runs[0].notes += notes
    return runs


def _read_plain(path: Path, notes: list[str]) -> pd.DataFrame:
    runs = read_runs(path)
    notes += [f"left out {item.rows} row(s) {item.reason}" for item in runs.left_out]
    return runs.table


def _read_json(path: Path) -> pd.DataFrame:
    """A list of rows, a mapping of columns as pandas writes it, or one mapping of values: a single run."""
    try:
        body = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except ValueError as error:
        what = "is empty" if not path.stat().st_size else f"is not valid JSON ({error})"
        raise DamageError(f"{path} {what}; export it again, or leave it out") from None
    if isinstance(body, dict) and body and all(isinstance(value, (dict, list)) for value in body.values()):
        columns = {str(key): list(item.values()) if isinstance(item, dict) else item for key, item in body.items()}
        if len({len(column) for column in columns.values()}) == 1:
            body = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = body if isinstance(body, list) else [body]
    if not rows or not all(isinstance(row, dict) and row for row in rows):
        raise UsageError(f"{path} holds no rows; give a list of objects, one per run or one per step")
    return pd.DataFrame([{_printable(str(key)): _printable(value) for key, value in row.items()} for row in rows])


def _printable(value: Any) -> Any:
    """Half a surrogate, which JSON can name and no table can hold, becomes a blank."""
    return one_line(value) if isinstance(value, str) else value


def _unfold(table: pd.DataFrame) -> pd.DataFrame:
    """Mappings within cells as columns of their own; also where they are text, as in the export W&B documents."""
    parts = []
    for column in table.columns:
        values = table[column]
        if pd.api.types.is_object_dtype(values.dtype) or pd.api.types.is_string_dtype(values.dtype):
            values = values.astype(object).map(_mapping)
        if values.map(lambda value: isinstance(value, dict)).any():
            inner = pd.DataFrame([flatten(value) for value in values], index=table.index)
            parts.append(inner.rename(columns=lambda name, outer=column: f"{outer}.{name}"))
        else:
            parts.append(table[[column]])
    unfolded = pd.concat(parts, axis=1)
    return unfolded.loc[:, ~unfolded.columns.duplicated()]


def _mapping(value: Any) -> Any:
    """The mapping that a text spells in JSON or in Python; anything else as it is."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    for parse in (parse_json, ast.literal_eval):
        try:
            return parse(value.replace(": nan", ": None") if parse is ast.literal_eval else value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def _step_column(table: pd.DataFrame, stated: bool) -> str | None:
    for name in _STEPS:
        if name in table.columns and pd.api.types.is_numeric_dtype(table[name]):
            steps = table[name].dropna()
            if stated or name == "_step":
                return name
            run = _run_column(table)
            repeated = run is not None and table[run].duplicated().any()
            grows = len(steps) > 2 and steps.is_monotonic_increasing and steps.nunique() > 2
            if repeated or (run is None and grows):
                return name
    return None


def _run_column(table: pd.DataFrame) -> str | None:
    """The first column that names every run, by text or a whole number."""
    for name in _NAMES:
        if name in table.columns and all(isinstance(value, (str, int)) for value in table[name].tolist()):
            return name
    return None


def _rows(path: Path, table: pd.DataFrame) -> list[LoggedRun]:
    column = _run_column(table)
    runs = []
    for i, row in enumerate(table.to_dict("records")):
        name = f"{_stem(path)}:{i + 1}" if column is None else str(row[column])
        facts = {str(key): kept for key, value in row.items() if key != column and (kept := _scalar(value)) is not None}
        runs.append(LoggedRun(name, path, facts))
    return runs


def _scalar(value: Any) -> Scalar | None:
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(value, float) and value != value:
        return None
    return flatten(value, "x").get("x")


def _curves(path: Path, table: pd.DataFrame, step: str) -> Iterator[LoggedRun]:
    column = _run_column(table)
    for name, rows in [(_stem(path), table)] if column is None else table.groupby(column, sort=False):
        run = LoggedRun(str(name), path)
        for other in rows.columns:
            if other not in (step, column, "_timestamp"):
                _add_column(run, str(other), rows[[step, other]].dropna())
        if column is None:
            _add_settings(run, path.parent)
        yield run


def _add_column(run: LoggedRun, name: str, points: pd.DataFrame) -> None:
    """Numbers by step are a curve; text that never changes is a setting."""
    for at, value in points.itertuples(index=False):
        number = as_number(value.item() if hasattr(value, "item") else value)
        if number is not None:
            run.log(name, float(at), number)
    if name not in run.curves and points.iloc[:, 1].astype(str).nunique() == 1:
        run.facts |= flatten(points.iloc[0, 1], name)


def _stem(path: Path) -> str:
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    return path.absolute().parent.name if plain.stem in _NAMELESS else plain.stem


def _add_settings(run: LoggedRun, folder: Path) -> None:
    """The settings that lie beside the history of a run, as Lightning's `hparams.yaml` or W&B's `config.yaml`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for name in _SETTINGS:
        if not (folder / name).exists():
            continue
        try:
            body = YAML(typ="safe").load(folder / name)
        except (YAMLError, ValueError, RecursionError):
            run.notes.append(f"{name} beside it cannot be read; its settings are missing")
            continue
        if isinstance(body, dict):
            plain = {key: _value(item) for key, item in body.items() if key not in ("_wandb", "wandb_version")}
            run.facts |= {key: item for key, item in flatten(plain).items() if key not in run.curves}


def _value(item: Any) -> Any:
    """W&B's `config.yaml` wraps every value with its description."""
    return item["value"] if isinstance(item, dict) and "value" in item and set(item) <= {"value", "desc"} else item
