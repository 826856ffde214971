"""From runs to one row each: the point of the curves that counts, and every value there."""

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from crossover.base.errors import UsageError
from crossover.logs.endings import divergence
from crossover.logs.logged import APART, LoggedRun, Scalar
from crossover.logs.points import Points

_RATE = re.compile(r"(^|[^a-z])(lr|learning_rate)(-[A-Za-z]+)?$")
PEAK = "_max"
"""Ends the name of the column with the largest value of a learning rate: its last one says little of a schedule."""
STATUS = "status"
"""The column with how a run ended, where that is known."""


@dataclass(frozen=True)
class Take:
    """Which point of a curve counts."""

    kind: Literal["last", "min", "mean"] = "last"
    count: int = 1
    """Points that `mean` averages, the last ones."""
    rises: bool = False
    """Whether the metric grows as models get better: `min` takes its largest value then."""

    def __str__(self) -> str:
        return f"mean:{self.count}" if self.kind == "mean" else self.kind


def parse_take(text: str) -> Take:
    """`last`, `min`, or `mean:10` for the mean of the last ten points. Raises `UsageError` for anything else."""
    match = re.fullmatch(r"\s*(last|min|mean(?::| of last )([1-9]\d{0,8}))\s*", text)
    if match is None:
        raise UsageError(f"--take '{text}' is none of last, min and mean:10 (the mean of the last 10 points)")
    return Take("mean", int(match[2])) if match[2] else Take("min" if match[1] == "min" else "last")


def to_table(runs: list[LoggedRun], take: Take, loss: str | None) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """One row per run, in their order, with all settings and metrics as columns; and notes, each with the run.

    `take` chooses the point of the metric `loss`: its last one, its smallest one, or the mean of its last ones. With
    `min` the other metrics are those at that step or the last before it, otherwise their last ones. Raises
    `UsageError` where `take` asks for more than a single value and no run has a curve of `loss`.
    """
    if take.kind != "last" and not any(loss in run.curves for run in runs):
        raise UsageError(
            f"--take {take} needs a curve, and '{loss}' is none; name a metric by --loss, or leave --take out"
        )
    notes = list[tuple[str, str]]()
    rows = [_row(run, take, loss, notes) for run in runs]
    return pd.DataFrame(rows), notes


def _row(run: LoggedRun, take: Take, loss: str | None, notes: list[tuple[str, str]]) -> dict[str, Scalar]:
    points = run.curves.get(loss or "", Points())
    end = _best(points, take.rises) if take.kind == "min" else math.inf
    row: dict[str, Scalar] = {"run": run.name}
    row |= {key: value for key, value in run.facts.items() if key != "run"}
    for metric, curve in run.curves.items():
        name = f"{APART}{metric}" if metric in row else metric
        value = curve.at(end)
        if value is not None:
            row[name] = value
        if _RATE.search(metric):
            row[name + PEAK] = float(np.max(curve.numbers))
    if points:
        row.setdefault("step", min(points.last, end))
    known = run.facts.get(loss or "")
    if isinstance(known, float) and math.isnan(known):
        _diverge(row, "its loss is NaN", notes)
    if loss is not None and (lost := divergence(run.curves, loss)):
        row[f"{APART}{loss}" if loss in run.facts else loss] = math.nan
        _diverge(row, lost.why, notes)
    elif take.kind == "mean" and points and loss is not None:
        row[f"{APART}{loss}" if loss in run.facts else loss] = _mean(run, points, take.count, notes)
    if take.kind != "last" and not points:
        notes.append((run.name, f"no curve of '{loss}', so --take {take} does not apply"))
    return row


def _diverge(row: dict[str, Scalar], why: str, notes: list[tuple[str, str]]) -> None:
    """Say so, also where a tracker says that the run finished; what that said stays beside it."""
    if row.get(STATUS, "diverged") != "diverged":
        row[f"{APART}{STATUS}"] = row[STATUS]
    row[STATUS] = "diverged"
    notes.append((str(row["run"]), f"diverged: {why}; it has no loss"))


def _best(points: Points, rises: bool) -> float:
    """The step of the smallest value, of a metric that rises the largest; the end of training where there is none."""
    finite, sign = np.isfinite(points.numbers), -1 if rises else 1
    return float(points.steps[finite][np.argmin(sign * points.numbers[finite])]) if finite.any() else math.inf


def _mean(run: LoggedRun, points: Points, count: int, notes: list[tuple[str, str]]) -> float:
    values = points.numbers[-count:].tolist()
    if len(values) < count:
        notes.append((run.name, f"only {len(values)} points of the {count} to be averaged"))
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
