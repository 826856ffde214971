"""Real ladders as questions: from runs at x <= target / 2, /4, /8, /16, which of two recipes wins at the target?

A folder per set, with `runs.csv` (ladder, recipe, x, loss[, seed]), or `curves_*.csv` whose rows are means of n splits
with their standard deviation (sd, n). Only recipes of one ladder are compared; the target of a pair is the largest x
that both have.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

RANGES = (2, 4, 8, 16)
_RUNGS = 2


@dataclass(frozen=True)
class Row:
    """A pair at one range: what the last rung shown says, and what came."""

    set: str
    ladder: str
    a: str
    b: str
    range: int
    target: float
    last: float
    """loss(B) - loss(A) at the largest size shown that both have."""
    trend: float
    """The same, with a quarter of the local slope carried on to the target."""
    truth: float
    """loss(B) - loss(A) at the target, as observed."""
    runs: int
    """Runs of each recipe that the observed means at the target are of."""


@dataclass(frozen=True)
class Question:
    """A table as it is shown, and the pairs that are asked of it at one target."""

    shown: pd.DataFrame
    target: float
    rows: list[Row]


def read_sets(folder: Path) -> dict[str, pd.DataFrame]:
    """The sets of a folder by name. Raises `SystemExit` where there is none."""
    files = sorted([*folder.glob("*/runs.csv"), *folder.glob("*/curves_*.csv")])
    if not files:
        raise SystemExit(f"{folder} has no */runs.csv or */curves_*.csv; name another folder by --data")
    return {file.parent.name: pd.read_csv(file, dtype={"ladder": str, "recipe": str}) for file in files}


def questions(sets: dict[str, pd.DataFrame], sample: int | None = None) -> Iterator[Question]:
    """Every question of every set; of a sample so many rows in all, the sets alike, the same ones whenever asked."""
    for name, table in sets.items():
        asked = list(_of_set(name, table))
        if sample is not None:
            asked = _drawn(asked, sample // len(sets), zlib.crc32(name.encode()))
        yield from asked


def _drawn(asked: list[Question], count: int, seed: int) -> list[Question]:
    places = [(i, row) for i, question in enumerate(asked) for row in question.rows]
    chosen = np.random.default_rng(seed).permutation(len(places))[:count]
    kept: dict[int, list[Row]] = {}
    for place in sorted(chosen):
        kept.setdefault(places[place][0], []).append(places[place][1])
    return [Question(asked[i].shown, asked[i].target, rows) for i, rows in kept.items()]


def _of_set(name: str, table: pd.DataFrame) -> Iterator[Question]:
    for ladder, rows in table.groupby("ladder", sort=False):
        cells = rows.groupby(["x", "recipe"], sort=True)["loss"].agg(["mean", "count"]).unstack()
        recipes, x = list(dict.fromkeys(rows["recipe"])), cells.index.to_numpy(float)
        mean, count = (cells[part][recipes].to_numpy(float) for part in ("mean", "count"))
        found: dict[tuple[float, int], list[Row]] = {}
        for i, j in combinations(range(len(recipes)), 2):
            both = np.flatnonzero(np.isfinite(mean[:, i]) & np.isfinite(mean[:, j]))
            difference = mean[both, j] - mean[both, i]
            if len(both) < _RUNGS or difference[-1] == 0:
                continue
            runs = int(min(count[both[-1], i], count[both[-1], j]))
            for reach in RANGES:
                seen = x[both] <= x[both[-1]] / reach
                if seen.sum() >= _RUNGS:
                    row = Row(
                        name, str(ladder), recipes[i], recipes[j], reach, float(x[both[-1]]),
                        float(difference[seen][-1]), _trend(np.log(x[both]), difference, int(seen.sum())),
                        float(difference[-1]), runs,
                    )  # fmt: skip
                    found.setdefault((row.target, reach), []).append(row)
        for (target, reach), asked in found.items():
            yield Question(rows[rows["x"] <= target / reach], target, asked)


def _trend(log_x: np.ndarray, difference: np.ndarray, shown: int) -> float:
    last, before = difference[shown - 1], difference[shown - 2]
    slope = (last - before) / (log_x[shown - 1] - log_x[shown - 2])
    return float(last + 0.25 * slope * (log_x[-1] - log_x[shown - 1]))
