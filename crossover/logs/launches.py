"""What is a launch and what is a run: one rule for every reader.

A launch is a stretch of a log in which no metric's steps fall: a file, or a part of one. An identifier of a logger's
(W&B, MLflow) says which launches are one run. Elsewhere a launch whose points were all there before is a copy; one that
begins where the launch before it began, or has other settings, is a run of its own; any other is a resume, which takes
over from its first step, since what was trained after its checkpoint is lost. Whatever is joined, split or dropped is
noted with counts. A log whose steps fall again and again is that of several trainings at once, and refused.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from crossover.base.errors import DamageError
from crossover.logs.logged import Curves, LoggedRun, Scalar
from crossover.logs.points import Points

_LAUNCHES, _SHORT = 3, 3
"""A log of more launches than the first number, half of which have at most as many points as the second says."""


def join(launches: Iterable[LoggedRun], same: str = "") -> list[LoggedRun]:
    """The runs of launches in the order of their time; `same` is the identifier of a run that all of them are.

    Raises `DamageError` for a log into which several trainings wrote at once.
    """
    runs, logs = list[LoggedRun](), list(launches)
    for log in () if same else logs:
        _require_one_writer(log)
    for launch in (part for log in logs for part in _parts(log)):
        if not runs or not _continue(runs[-1], launch, same):
            runs.append(launch)
    for place, run in enumerate(runs[1:], 2):
        run.notes.append(f"launch {place} of {len(runs)}: it begins where the one before it began, or is set otherwise")
    return runs


def _require_one_writer(log: LoggedRun) -> None:
    lengths = [max(map(len, curves.values())) for curves in (*log.earlier, log.curves) if curves]
    if len(lengths) > _LAUNCHES and sorted(lengths)[len(lengths) // 2] <= _SHORT:
        raise DamageError(
            f"{log.source}: its steps fall {len(lengths) - 1} times in {sum(lengths)} points; several trainings seem "
            "to write into it at once; give each a log, or a column that names it"
        )


def _parts(log: LoggedRun) -> Iterator[LoggedRun]:
    """The launches of one log, each with its settings; its notes are those of the first."""
    if log.twice:
        log.notes.append(f"{log.twice} losses replaced by later ones of the same step")
    for place, curves in enumerate([*log.earlier, log.curves]):
        part = replace(log, curves=curves, earlier=[], facts=dict(log.facts))
        yield replace(part, notes=[], purge=math.inf) if place else part


def _continue(run: LoggedRun, launch: LoggedRun, same: str) -> bool:
    """Add a launch to the run before it, where it is a part, a copy or a resume of that; whether it was."""
    if not run.curves.keys() & launch.curves.keys():
        if not same and _differ(run.facts, launch.facts):
            return False
        run.curves |= launch.curves
    elif _is_copy(run.curves, launch.curves):
        run.notes.append(f"left out a copy of {_count(launch.curves)} of its points in {launch.source.name}")
    elif same or launch.purge < math.inf or _goes_on(run, launch):
        _resume(run, launch)
    else:
        return False
    run.facts |= launch.facts
    run.notes += launch.notes
    return True


def _goes_on(run: LoggedRun, launch: LoggedRun) -> bool:
    """Whether it begins after the run began, and nothing known of both differs."""
    return _first(launch.curves) > _first(run.curves) and not _differ(run.facts, launch.facts)


def _resume(run: LoggedRun, launch: LoggedRun) -> None:
    """The launch takes over from its first step."""
    first, dropped = min(_first(launch.curves), launch.purge), 0
    for metric, points in run.curves.items():
        kept = points.before(first)
        dropped += len(points) - len(kept)
        run.curves[metric] = kept
    for metric, points in launch.curves.items():
        run.curves[metric] = run.curves.get(metric, Points()) + points
    run.curves = {metric: points for metric, points in run.curves.items() if points}
    lost = f"; {dropped} points logged from there on before it are left out" if dropped else ""
    run.notes.append(f"resumed at step {first:g}{lost}")


def _first(curves: Curves) -> float:
    return min(points.first for points in curves.values())


def _count(curves: Curves) -> int:
    return sum(map(len, curves.values()))


def _is_copy(there: Curves, curves: Curves) -> bool:
    """Whether every point was logged before; what is not a number is the same as itself."""
    return all(
        step in known and (known[step] == value or value != value)
        for metric, points in curves.items()
        for known in (there.get(metric, Points()),)
        for step, value in zip(points.steps.tolist(), points.numbers.tolist(), strict=True)
    )


def _differ(a: dict[str, Scalar], b: dict[str, Scalar]) -> bool:
    return any(a[name] != b[name] for name in a.keys() & b.keys())
