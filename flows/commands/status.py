"""The command `status`: where every active study stands."""

from crossover.cli.options import Json


def status(as_json: Json = False) -> None:
    """Cells expected, done, diverged, failed, stale (and why), missing."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from crossover.cli.output import print_json
    from flows.states import study_status
    from stages.study.params import load_params

    params = load_params()
    states = [study_status(params, item.study, item.scale) for item in params.active.values()]
    if as_json:
        print_json({f"{state.study}-{state.scale}": state.to_json() for state in states})
        return
    table = Table(box=box.SIMPLE, padding=0)
    for name in ("study", "rows", "cells", "done", "diverged", "failed", "stale", "missing"):
        table.add_column(name, justify="left" if name == "study" else "right", no_wrap=True)
    for state in states:
        counts = (
            state.rows, state.expected, state.done, state.diverged, state.failed, state.stale, state.missing,
        )  # fmt: skip
        table.add_row(f"{state.study}-{state.scale}", *map(str, counts))
    console = Console()
    console.print(table)
    for state in states:
        for line in state.notes:
            console.print(f"{state.study}-{state.scale}: {line}", highlight=False, markup=False)
