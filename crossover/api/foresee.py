"""The whole curve of a large run from those of smaller ones, and whether it keeps to it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import some
from crossover.curves.foresee import Foresight, Logged
from crossover.curves.foresee import foresee as foresee_curves
from crossover.curves.schedule import read_schedule
from crossover.runs.losses import read_losses
from crossover.runs.roles import POOLED, RECIPES, recipe_column
from crossover.runs.table import Runs, Tabular, read_runs

_RATE = "lr"
_DENSEST = 1000  # points of a run


def foresee(
    curve: Tabular,
    ladder: Tabular,
    *,
    run: str = "run",
    n: str = "N",
    x: str = "tokens",
    loss: str = "loss",
    lr: str | None = None,
    schedule: str | None = None,
    warmup: float = 0.0,
    size: float | None = None,
    until: float | None = None,
    by: str | None = None,
    where: str | None = None,
) -> Foresight:
    """Forecast a run's loss curve with a 90% band, from the curves of finished runs.

    Args:
        curve: the run, one row per logged point. Rows without a loss are its plan: their x and learning rates.
        ladder: finished runs, one row per logged point, of one recipe and of two sizes or more, or of the run's own
            size; lengths, schedules and seeds may differ.
        run: column of the ladder that names the runs.
        n: column or expression: the size, such as parameters.
        x: column or expression: tokens (or steps) so far, the same unit in both tables.
        loss: column or expression: training loss.
        lr: column or expression: the learning rate; `lr` where both tables have one.
        schedule: the shape of the learning rate of all runs, where none was logged: `constant`, `cosine`, `cosine:0.1`,
            `linear`, `wsd:0.2`.
        warmup: share of a run in which that rate rises.
        size: of the run, where its table does not say it.
        until: x at which the run ends, where its rows do not reach as far.
        by: "none" pools several recipes of the ladder on purpose.
        where: keep rows of the ladder that satisfy this.

    Raises:
        UsageError: a column that is not there, a ladder of one other size or of several recipes,
            a rate that is not known.

    >>> import numpy as np
    >>> points = np.linspace(1e8, 2e9, 40)
    >>> def curve(n, share=1.0):
    ...     return np.where(points <= share * 2e9, 1.8 + 90 * n**-0.3 + 700 * points**-0.35, np.nan)
    >>> names, sizes = ["a", "b", "c"], [1e7, 3e7, 1e8]
    >>> ladder = {"run": np.repeat(names, 40), "N": np.repeat(sizes, 40), "tokens": np.tile(points, 3),
    ...           "loss": np.concatenate([curve(n) for n in sizes])}
    >>> found = foresee({"tokens": points, "loss": curve(3e8, 0.5)}, ladder, size=3e8)
    >>> f"{found.end.value:.2f} expected, {curve(3e8)[-1]:.2f} comes; on its course: {found.left is None}"
    '2.45 expected, 2.45 comes; on its course: True'
    """
    if by not in (None, POOLED):
        raise UsageError("a curve is foreseen from one recipe; choose it with --where, or pool them by --by none")
    known, told = read_runs(curve), read_runs(ladder, where)
    recipe_column(told, by, loss, n, x)
    rate = _rate_of(known, told, lr, schedule)
    shape = None if schedule is None else read_schedule(schedule, warmup)
    small = [_logged(part, name, n, x, loss, rate, shape) for name, part in _divided(told, run)]
    if size is not None and n in known.table.columns:
        raise UsageError(f"{known.path} has the column '{n}', so its size is not for --size to say")
    if run in known.table.columns and (runs := known.table[run].nunique()) > 1:
        raise UsageError(f"{known.path}: '{run}' names {runs} runs, and one is foreseen at a time")
    large = _planned(_logged(known, "this run", n, x, loss, rate, None, size), until, shape)
    found = foresee_curves(small, large, (x, loss))
    return replace(found, flags=[*found.flags, *_strange(known, told, schedule)])


def _divided(told: Runs, run: str) -> Iterator[tuple[str, Runs]]:
    labels = told.labels(run)
    for name in dict.fromkeys(labels.tolist()):
        yield name, Runs(told.path, told.table[labels == name].reset_index(drop=True))


def _strange(known: Runs, told: Runs, schedule: str | None) -> Iterator[str]:
    """What a reader should know of how the two tables were taken."""
    if schedule is not None and _RATE in {*known.table.columns, *told.table.columns}:
        yield f"the logged rates '{_RATE}' are not used, since a schedule was named"
    for name in RECIPES:
        if name in known.table.columns and name in told.table.columns:
            ours, theirs = (sorted(set(runs.table[name].dropna().astype(str))) for runs in (known, told))
            if ours and not set(ours) & set(theirs):
                yield f"the run's {name} is {some(ours)}, the ladder's {some(theirs)}"


def _rate_of(known: Runs, told: Runs, lr: str | None, schedule: str | None) -> str | None:
    """The learning rate's column. Raises `UsageError` where one table alone has it, or a schedule is named too."""
    if schedule is not None:
        if lr is not None:
            raise UsageError("name the learning rate's column or its schedule, not both")
        return None
    have = [_RATE in runs.table.columns for runs in (known, told)]
    if lr is None and have[0] != have[1]:
        lacking = told if have[0] else known
        what = f"{lacking.path} has no column '{_RATE}', and the other table has"
        raise UsageError(f"{what}; name it by --lr, or its shape by --schedule")
    return lr or (_RATE if all(have) else None)


def _logged(
    runs: Runs, name: str, n: str, x: str, loss: str, rate: str | None, shape: Callable[[Floats], Floats] | None,
    size: float | None = None,
) -> Logged:  # fmt: skip
    """A run's points in order."""
    place = runs.numbers(x)
    sizes = np.array([size]) if size is not None else np.unique(runs.numbers(n))
    if len(sizes) != 1 or not 0 < sizes[0] < np.inf:
        raise UsageError(f"{runs.path}: a run has one positive size, and '{n}' has {sizes[:3].tolist()}")
    if not np.isfinite(place).all():
        raise UsageError(f"{runs.path}: '{x}' is missing in some rows; filter them out")
    order = np.argsort(place, kind="stable")
    rates = None if rate is None else runs.numbers(rate)[order]
    if shape is not None:
        rates = shape(place[order] / place.max())
    return Logged(name, float(sizes[0]), place[order], read_losses(runs, loss)[order], rates)


def _planned(run: Logged, until: float | None, shape: Callable[[Floats], Floats] | None) -> Logged:
    """The run up to where it ends by plan, with the rate of its schedule; what is to come as dense as what was logged.

    Between two rows of a plan the rate is taken as a line.
    """
    x, loss, rates = run.x, run.loss, run.lr
    if until is not None:
        if not x[-1] <= until < np.inf:
            raise UsageError(f"--until {until:g} lies before the last row of the run, at {x[-1]:g}")
        if rates is not None and until > x[-1]:
            raise UsageError("the rate up to --until is not known; add rows with it and no loss, or name a --schedule")
        if until > x[-1]:
            x, loss = np.append(x, until), np.append(loss, np.nan)
    known = np.flatnonzero(~np.isnan(loss))
    start = known[-1] if len(known) else 0
    spacing = max(_spacing(x[: start + 1]), x[-1] / _DENSEST)
    ahead = np.concatenate([
        np.linspace(a, b, max(math.ceil((b - a) / spacing), 1) + 1)[1:] for a, b in pairwise(x[start:])
    ] or [x[:0]])  # fmt: skip
    whole = np.concatenate([x[: start + 1], ahead])
    rates = None if rates is None else np.interp(whole, x, rates)
    if shape is not None:
        rates = shape(whole / whole[-1])
    return Logged(run.name, run.n, whole, np.concatenate([loss[: start + 1], np.full(len(ahead), np.nan)]), rates)


def _spacing(x: Floats) -> float:
    """Between points that were logged; of a run that has not begun none is known."""
    return float(np.median(np.diff(x))) if len(x) > 1 else 0.0
