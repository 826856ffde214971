"""How forecasts of curves do on runs held back: coverage, error beside two simple rules, false and planted alarms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats
from crossover.curves.course import Course, make_course
from crossover.curves.departure import find_departure
from crossover.curves.foresee import BLOCKS, Logged, ladder_of

CURVES = Path(__file__).with_name("courses.parquet")
"""Of 144 runs of our own, averaged to 100 points each: `courses` (of params.yaml, at pocket) has two schedules and
three lengths at every width; `lr_crossover-desk` four recipes along four or five widths."""
_HALF = 1.6449
PLANTED = 0.3
"""Nats by which a planted departure raises the loss, half of it in its first hundredth of the run."""


@dataclass(frozen=True)
class Case:
    """Runs to forecast, all of one size, from a ladder of smaller ones, or of others of that size."""

    label: str
    ladder: list[Logged]
    runs: list[Logged]


@dataclass(frozen=True)
class Scored:
    """One run's forecast against what came."""

    covered: float
    error: float
    """Root mean square, nats; then that of the last curve rescaled, and of the power law through its tail."""
    by_rescaling: float
    by_tail: float
    alarm: bool
    """In the run as it was."""
    late: list[float]
    """Shares of the run until planted departures were found; infinite where never."""


def logged(rows: pd.DataFrame) -> Logged:
    """A run of a table."""
    x, loss, lr = (rows[name].to_numpy(float) for name in ("tokens", "loss", "lr"))
    return Logged(str(rows["run"].iloc[0]), float(rows["N"].iloc[0]), x, loss, lr)


def runs_of(table: pd.DataFrame) -> list[Logged]:
    """All runs of a table."""
    return [logged(rows) for _, rows in table.groupby("run", sort=False)]


def by_recipe(table: pd.DataFrame, seeds: int = 2) -> Iterator[Case]:
    """The largest width of each recipe from the others, two seeds of each."""
    for (study, recipe), rows in table.groupby(["study", "recipe"], sort=False):
        largest, small = rows["N"].max(), rows[rows["N"] < rows["N"].max()]
        if small["N"].nunique() >= 2:
            first = [part for _, group in small.groupby("N") for part in runs_of(group)[:seeds]]
            yield Case(f"{study} {recipe}", first, runs_of(rows[rows["N"] == largest]))


def beside(table: pd.DataFrame, others: int) -> Iterator[Case]:
    """Every run from so many others of its own size, recipe, length and schedule."""
    for name, rows in table.groupby(table["run"].str.rsplit("/", n=1).str[0], sort=False):
        runs = runs_of(rows)
        for k, run in enumerate(runs):
            ladder = [*runs[k + 1 :], *runs[:k]][:others]
            if len(ladder) == others:
                yield Case(f"{name} beside {others}", ladder, [run])


def mixed(table: pd.DataFrame, generator: np.random.Generator, variants: int, draws: int) -> Iterator[Case]:
    """Ladders whose widths have other schedules and lengths: so many variants of each, drawn anew."""
    table = table.assign(variant=table["run"].str.rsplit("/", n=2).str[0])
    names, sizes = table["variant"].unique(), sorted(table["N"].unique())
    for k in range(draws):
        target = names[k % len(names)]
        ladder = list[Logged]()
        for size in sizes[:-1]:
            for name in generator.choice(names, variants, replace=False):
                ladder += runs_of(table[(table["N"] == size) & (table["variant"] == name)])[:2]
        yield Case(
            f"{target} from {variants}",
            ladder,
            runs_of(table[(table["N"] == sizes[-1]) & (table["variant"] == target)]),
        )


def score(case: Case, planted: Sequence[float] = (0.3, 0.6, 0.8)) -> list[Scored]:
    """Every run of a case."""
    ladder = ladder_of(case.ladder)
    courses = [make_course(item.name, item.n, item.x, item.loss, item.lr, BLOCKS) for item in case.ladder]
    found = []
    for run in case.runs:
        course = make_course(run.name, run.n, run.x, run.loss, run.lr, BLOCKS)
        forecast = ladder.forecast(course)
        away = course.loss - forecast.mean
        late = []
        for share in planted:
            first = int(np.searchsorted(course.end, share * course.total))
            raised = course.loss + PLANTED * np.clip((np.arange(len(away)) - first + 1) / 2, 0, 1)
            left = find_departure(forecast, raised)
            noticed = np.inf if left is None else (course.end[left.block] - course.end[first - 1]) / course.total
            late.append(float(noticed))
        found.append(
            Scored(
                float(np.mean(np.abs(away) <= _HALF * forecast.sd)), _rms(away),
                _rms(course.loss - rescaled(courses, course)), _rms(course.loss - through_tail(courses, course)),
                find_departure(forecast, course.loss) is not None, late,
            )
        )  # fmt: skip
    return found


def _rms(away: Floats) -> float:
    return float(np.sqrt(np.mean(away**2)))


def _mean_curve(courses: Sequence[Course], size: float, progress: Floats) -> Floats:
    here = [item for item in courses if item.log_n == size]
    return np.mean([np.interp(progress, item.x / item.total, item.loss) for item in here], axis=0)


def rescaled(courses: Sequence[Course], course: Course) -> Floats:
    """The curve of the largest size at the same share of the run, times what the last step in size changed; of runs of
    one size their mean."""
    sizes, progress = sorted({item.log_n for item in courses}), course.x / course.total
    if len(sizes) == 1:
        return _mean_curve(courses, sizes[0], progress)
    last, before = (_mean_curve(courses, size, progress) for size in (sizes[-1], sizes[-2]))
    steps = (course.log_n - sizes[-1]) / (sizes[-1] - sizes[-2])
    return last * (last / before) ** steps


def through_tail(courses: Sequence[Course], course: Course) -> Floats:
    """A power law of tokens through the second half of the longest curve of the largest size."""
    longest = max(courses, key=lambda item: (item.log_n, item.total))
    tail = longest.x > 0.5 * longest.total
    slope, level = np.polyfit(np.log(longest.x[tail]), np.log(longest.loss[tail]), 1)
    result: Floats = np.exp(level + slope * np.log(course.x))
    return result


def summary(scored: Sequence[Scored]) -> dict[str, float]:
    """Means over runs: share inside the band, errors in nats and how often each is the larger one, shares of alarms in
    healthy runs and of planted departures found within 5% of the run."""
    late = np.array([value for item in scored if not item.alarm for value in item.late])
    return {
        "runs": len(scored),
        "inside": float(np.mean([item.covered for item in scored])),
        "error": float(np.mean([item.error for item in scored])),
        "rescaled": float(np.mean([item.by_rescaling for item in scored])),
        "tail": float(np.mean([item.by_tail for item in scored])),
        "< rescaled": float(np.mean([item.error < item.by_rescaling for item in scored])),
        "< tail": float(np.mean([item.error < item.by_tail for item in scored])),
        "alarms": float(np.mean([item.alarm for item in scored])),
        "found": float(np.mean((late > 0) & (late <= 0.051))),
    }
