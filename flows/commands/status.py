"""The command `status`: where every active study stands."""

from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import CrossoverError
from crossover.cli.common import Json
from flows.commands.options import Scale, Studies, active_keys

if TYPE_CHECKING:
    from flows.studies.runs import StudyRuns
    from stages.study.params import Params

Runs = Annotated[bool, typer.Option("--runs", help="Where, when and how fast they were trained instead.")]


def status(study: Studies = None, scale: Scale = None, runs: Runs = False, as_json: Json = False) -> None:
    """Cells expected, done, diverged, failed, stale (and why), missing; or where and when they were trained.

    crossover status --scale pocket
    """
    from crossover.cli.common import print_json
    from crossover.plots.blocks import show, table
    from flows.studies.states import study_status
    from stages.shards.index import read_index
    from stages.shards.manifest import INDEX
    from stages.study.params import load_params
    from stages.tokens.identity import changed_texts

    params, keys = load_params(), active_keys(study, scale)
    if runs:
        _show_runs({key: _runs(params, key) for key in keys}, as_json)
        return
    changed = changed_texts(params, read_index()) if INDEX.exists() else {}
    states = [study_status(params, params.active[key].study, params.active[key].scale, changed) for key in keys]
    if as_json:
        print_json({f"{state.study}-{state.scale}": state.to_json() for state in states})
        return
    counts = table("", "study", "rows", "cells", "done", "diverged", "failed", "stale", "missing")
    for state in states:
        numbers = (state.rows, state.expected, state.done, state.diverged, state.failed, state.stale, state.missing)
        counts.add(f"{state.study}-{state.scale}", *map(str, numbers))
    show([counts, *(f"{state.study}-{state.scale}: {line}" for state in states for line in state.notes)])


def _runs(params: "Params", key: str) -> "StudyRuns | None":
    from flows.studies.runs import study_runs

    item = params.active[key]
    try:
        return study_runs(item.study, params.scale(item.scale))
    except CrossoverError:  # not planned yet
        return None


def _show_runs(found: "dict[str, StudyRuns | None]", as_json: bool) -> None:
    from crossover.cli.common import print_json
    from crossover.plots.blocks import show, table

    if as_json:
        print_json({key: runs.to_json() if runs else None for key, runs in found.items()})
        return
    rows = table("", "study", "cells", "took", "predicted", "tokens/s", "first", "last", "device", left=1)
    notes: dict[str, None] = {}
    there = {key: runs for key, runs in found.items() if runs}
    for key, runs in there.items():
        rows.add(key, str(runs.cells), f"{runs.seconds:.0f} s", f"{runs.predicted:.0f} s",
                 f"{runs.tokens_per_second:,.0f}", runs.first[:16], runs.last[:16],
                 ", ".join(runs.devices))  # fmt: skip
        notes |= dict.fromkeys([*(f"torch / NumPy / Python: {build}" for build in runs.builds),
                                *(f"code: {commit}" for commit in runs.commits)])  # fmt: skip
    if lacking := [key for key in found if key not in there]:
        notes[f"nothing is trained here of {', '.join(lacking)}"] = None
    show(
        [rows, "seconds of the whole machine; of cells that came by `dvc pull` neither time nor host is known", *notes]
    )
