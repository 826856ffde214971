"""The command `status`: where every active study stands."""

from crossover.cli.options import Json
from flows.commands.options import Scale, Studies, active_keys


def status(study: Studies = None, scale: Scale = None, as_json: Json = False) -> None:
    """Cells expected, done, diverged, failed, stale (and why), missing.

    crossover status --scale pocket
    """
    from crossover.cli.output import print_json
    from crossover.plots.blocks import show, table
    from flows.studies.states import study_status
    from stages.study.params import load_params

    params = load_params()
    states = [
        study_status(params, params.active[key].study, params.active[key].scale) for key in active_keys(study, scale)
    ]
    if as_json:
        print_json({f"{state.study}-{state.scale}": state.to_json() for state in states})
        return
    counts = table("", "study", "rows", "cells", "done", "diverged", "failed", "stale", "missing")
    for state in states:
        numbers = (state.rows, state.expected, state.done, state.diverged, state.failed, state.stale, state.missing)
        counts.add(f"{state.study}-{state.scale}", *map(str, numbers))
    show([counts, *(f"{state.study}-{state.scale}: {line}" for state in states for line in state.notes)])
