"""Plain tables and histories: CSV, Parquet, JSONL and JSON, with one row per run or one row per step.

A table has one row per step where that is certain: it has the `_step` of a Weights & Biases history, a run's name comes
again, or the steps (or epochs) rise, and fall only to where a launch began or to a step that was passed before. It has
one row per run where it has no such column, or where every row names another run. Anything else is asked for.
"""

import ast
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats
from crossover.base.errors import DamageError, UsageError
from crossover.logs.launches import join
from crossover.logs.logged import (
    APART,
    LoggedRun,
    Scalar,
    as_number,
    flatten,
    one_line,
    parse_json,
    parse_lines,
    read_yaml,
    unwrapped,
)
from crossover.logs.points import Points
from crossover.runs.losses import NAMES
from crossover.runs.table import read_runs
from crossover.runs.text import number
from crossover.runs.unpacking import require_moderate

Reading = Literal["auto", "runs", "curves", "wide"]
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")
_STEPS = (
    "_step", "step", "global_step", "Step", "iteration", "iter", "update_step", "trainer/global_step", "global step",
    "epoch", "Epoch",
)  # fmt: skip
NAMELESS = ("metrics", "history", "wandb-history", "log", "train_log", "results")
"""Stems that every run has alike; the folder names the run then."""
_SETTINGS = ("config.json", "hparams.json", "params.json", "hparams.yaml", "config.yaml")


def is_table(path: Path) -> bool:
    """Whether the name is that of a table, compressed or not."""
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    return plain.suffix.lower() in SUFFIXES


def read_table(path: Path, reading: Reading = "auto") -> list[LoggedRun]:
    """The runs of a table: one per row, or those whose curves it holds.

    Raises `UsageError` for a file that is missing, empty or of an unknown kind, and where a row may be either;
    `DamageError` for broken JSON.
    """
    table, notes = _read(path)
    table = _unfold(table.rename(columns=str))
    step = None if reading == "runs" else _step_column(path, table, stated=reading in ("curves", "wide"))
    if step is not None:
        table = _of_finite(path, table, step, notes)
    if reading in ("curves", "wide") and step is None:
        raise UsageError(f"{path} has no column of steps ({', '.join(_STEPS)}); leave out --as {reading}")
    if step and (reading == "wide" or (reading == "auto" and _is_chart(table))):
        return _charted(path, table, step, notes)
    runs = _rows(path, table) if step is None else list(_curves(path, table, step))
    if step not in (None, "_step") and reading == "auto":
        notes.append(f"one row per step, by the column '{step}'; --as runs reads one row per run")
    runs[0].notes += notes
    return runs


def _read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table of a file, in which NaN that is written is kept apart from what lacks; and how it was read."""
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    if plain.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return _read_json(path, lines=plain.suffix.lower() != ".json"), []
    runs = read_runs(path, keep_nan=True)
    return runs.table, runs.notes + [f"left out {item.rows} row(s) {item.reason}" for item in runs.left_out]


def _read_json(path: Path, lines: bool) -> pd.DataFrame:
    """A list of rows, a mapping of columns as pandas writes it, one mapping of values, or a row per line."""
    require_moderate(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        body = parse_lines(content) if lines else parse_json(content)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (ValueError, OSError, EOFError) as error:
        what = "is empty" if not path.stat().st_size else f"is not valid JSON ({error})"
        raise DamageError(f"{path} {what}; export it again, or leave it out") from None
    if isinstance(body, dict) and body and all(isinstance(value, (dict, list)) for value in body.values()):
        columns = {str(key): list(item.values()) if isinstance(item, dict) else item for key, item in body.items()}
        if len({len(column) for column in columns.values()}) == 1:
            body = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = body if isinstance(body, list) else [body]
    if not rows or not all(isinstance(row, dict) and row for row in rows):
        raise UsageError(f"{path} holds no rows; give a list of objects, one per run or one per step")
    if isinstance(body, dict) and not any("loss" in name.lower() for name in flatten(body)):
        raise UsageError(f"{path} is one object without a loss, and no run; leave it out")
    if b"\\" in content or not content.isascii():
        rows = [{_printable(str(key)): _printable(value) for key, value in row.items()} for row in rows]
    return _frame(rows, b"nan" in content.lower())


def _frame(rows: list[dict[str, Any]], nan: bool) -> pd.DataFrame:
    """Columns with a NaN that is written, in any spelling, keep it apart from what lacks, which is None there."""
    table = pd.DataFrame(rows)
    for name in table.columns if nan else ():
        values = [row.get(name) for row in rows]
        numbers = [as_number(value) for value in values]
        if any(number is not None and number != number for number in numbers):
            spelt = [value if number is None else number for value, number in zip(values, numbers, strict=True)]
            table[name] = pd.Series(spelt, dtype=object)
    return table


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
        if values.dtype == object and values.map(lambda value: isinstance(value, dict)).any():
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


def _step_column(path: Path, table: pd.DataFrame, stated: bool) -> str | None:
    """The column of steps where rows are steps, None where they are runs. Raises `UsageError` where either may be."""
    name = next((name for name in _STEPS if name in table and pd.api.types.is_numeric_dtype(table[name])), None)
    if name is None or stated or name == "_step":
        return name
    run, steps = _run_column(table), _of_finite(path, table, name, [])[name].to_numpy(float)
    if run is not None:
        return name if table[run].duplicated().any() else None
    if len(steps) < 3:
        return None
    falls = np.flatnonzero(np.diff(steps) < 0) + 1
    launches = np.split(steps, falls)
    known = all(
        launch[0] <= launches[0][0] or launch[0] in steps[:at] for launch, at in zip(launches[1:], falls, strict=True)
    )
    if known and len(np.unique(steps)) > 2 and 2 * len(launches) <= len(steps):
        return name
    raise UsageError(
        f"{path}: '{name}' falls {len(falls)} time(s) in {len(steps)} rows; is a row a step, or a run? "
        "Say --as curves or --as runs"
    )


def _of_finite(path: Path, table: pd.DataFrame, step: str, notes: list[str]) -> pd.DataFrame:
    """The rows that have a step."""
    known = np.isfinite(table[step].to_numpy(float, na_value=np.nan))
    if not known.any():
        raise UsageError(f"{path}: no row has a number in the column of steps, '{step}'; --as runs reads rows as runs")
    notes += [f"left out {int((~known).sum())} row(s) without a step"] * (not known.all())
    return table[known]


def _is_chart(table: pd.DataFrame) -> bool:
    """Whether it is a chart as W&B exports it: a column per run or group, each with its least and greatest value."""
    return any(str(name).endswith("__MIN") for name in table.columns)


def _charted(path: Path, table: pd.DataFrame, step: str, notes: list[str]) -> list[LoggedRun]:
    """A run per column; `NAME - METRIC` names both, anything else the run, whose metric is then a loss."""
    names = [str(name) for name in table.columns if name != step and not str(name).endswith(("__MIN", "__MAX"))]
    runs, steps = dict[str, LoggedRun](), table[step].to_numpy(float)
    means = 0
    for name in names:
        run, _, metric = name.rpartition(" - ")
        known = runs.setdefault(run or name, LoggedRun(run or name, path, _group(run)))
        _add_column(known, metric if run else "loss", steps, table[name])
        means += {f"{name}__MIN", f"{name}__MAX"} <= set(table) and not table[f"{name}__MIN"].equals(
            table[f"{name}__MAX"]
        )
    found = [run for run in runs.values() if run.curves]
    if not found:
        raise UsageError(f"{path} has no column of numbers beside '{step}'; leave it out")
    found[0].notes += [*notes, f"a run per column, {len(found)} in all, by the column '{step}'"]
    if means:
        found[0].notes.append(
            f"{means} columns have a least value below their greatest: they are means of groups or of steps; "
            "export the chart ungrouped and without smoothing to keep each run's own"
        )
    return found


def _group(name: str) -> dict[str, Scalar]:
    """The settings that name a group, as W&B writes them: `optimizer: adamw, lr: 0.01`."""
    pairs = [part.partition(": ") for part in name.split(", ")]
    if not all(colon and key.strip() and value.strip() for key, colon, value in pairs):
        return {}
    return {key: value if (plain := number(value)) is None else plain for key, _, value in pairs}


def _run_column(table: pd.DataFrame) -> str | None:
    """The first column that names every run, by text or a whole number."""
    for name in NAMES:
        if name in table.columns and all(isinstance(value, (str, int)) for value in table[name].tolist()):
            return name
    return None


def _rows(path: Path, table: pd.DataFrame) -> list[LoggedRun]:
    column, spelt = _run_column(table), {str(name) for name in table.columns if table[name].dtype == object}
    again = column is not None and bool(table[column].duplicated().any())
    runs = []
    for i, row in enumerate(table.to_dict("records")):
        name = f"{_stem(path)}:{i + 1}" if column is None else str(row[column])
        facts = {
            str(key): kept for key, value in row.items()
            if key != column and (kept := _scalar(value, nan=str(key) in spelt)) is not None
        }  # fmt: skip
        runs.append(LoggedRun(name, path, facts | ({f"{APART}{column}": name} if again else {})))
    if again:
        runs[0].notes.append(
            f"{len(table)} rows bear {table[column].nunique()} names in '{column}', kept as '{APART}{column}': if they "
            f"are checkpoints, fit with --bootstrap 1000 --cluster {APART}{column}"
        )
    return runs


def _scalar(value: Any, nan: bool) -> Scalar | None:
    """A value of a cell; where NaN was written and kept apart from what lacks, it is one."""
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(value, float) and value != value:
        return value if nan else None
    return flatten(value, "x").get("x")


def _curves(path: Path, table: pd.DataFrame, step: str) -> Iterator[LoggedRun]:
    column = _run_column(table)
    skipped = {step, column, "_timestamp"} | ({"epoch"} if step != "epoch" else set())
    for name, rows in [(_stem(path), table)] if column is None else table.groupby(column, sort=False):
        run = LoggedRun(str(name), path)
        steps = rows[step].to_numpy(float)
        for launch in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(steps) < 0) + 1):
            run.begin()
            for other in rows.columns:
                if other not in skipped:
                    _add_column(run, str(other), steps[launch], rows[other].iloc[launch])
        if column is None:
            _add_settings(run, path.parent)
        yield from join([run], same=str(name) if column else "")


def _add_column(run: LoggedRun, name: str, steps: Floats, values: "pd.Series[Any]") -> None:
    """Numbers by step are a curve; text that never changes is a setting."""
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        known, numbers = values.notna().to_numpy(), values.to_numpy(float, na_value=np.nan)
    else:
        spelt = [as_number(value.item() if hasattr(value, "item") else value) for value in values]
        known, numbers = np.array([number is not None for number in spelt], bool), np.array(spelt, float)
    if known.any():
        points = run.curves[name] = Points.sort(steps[known], numbers[known])
        run.twice += int(known.sum()) - len(points) if "loss" in name.lower() else 0
        return
    text = values[values.notna()]
    if len(text) and text.astype(str).nunique() == 1:
        run.facts |= flatten(text.iloc[0], name)


def _stem(path: Path) -> str:
    plain = path.with_suffix("") if path.suffix in (".gz", ".zst") else path
    return path.absolute().parent.name if plain.stem in NAMELESS else plain.stem


def _add_settings(run: LoggedRun, folder: Path) -> None:
    """The settings that lie beside the history of a run, as Lightning's `hparams.yaml` or W&B's `config.yaml`."""
    for name in _SETTINGS:
        if not (folder / name).exists():
            continue
        try:
            settings = flatten(unwrapped(read_yaml(folder / name)))
        except DamageError:
            run.notes.append(f"{name} beside it cannot be read; its settings are missing")
            continue
        run.facts |= {key: item for key, item in settings.items() if key not in run.curves}
