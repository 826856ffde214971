"""The command line: what a study will cost and where it stands; laws, crossovers, optima and advice for any runs."""
# Commands import what they need when they run, so that each starts in the time that it needs itself.

import sys
from typing import Annotated

import typer

from flows import (
    advising,
    analyse,
    caring,
    collecting,
    diffing,
    doctor,
    importing,
    predicting,
    reporting,
    running,
    serving,
)
from stages.study.errors import UsageError, guarded

app = typer.Typer(  # plain help: the library that draws boxes takes as long to import as all the rest
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Scale = Annotated[str | None, typer.Option(help="A scale of params.yaml; all active ones where absent.")]
StudyName = Annotated[str | None, typer.Option("--study", help="A study of params.yaml.")]


@app.command()
def plan(
    scale: Scale = None,
    study: StudyName = None,
    detect: Annotated[float | None, typer.Option(help="Instead: what shows a difference of so many nats?")] = None,
    noise: Annotated[
        float | None, typer.Option(help="Seed SD of one run, for --detect; of the study `noise` where absent.")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Of --detect; 0.8 where absent.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Every cell with its FLOPs, and the predicted time and money.

    Tells parameters, tokens and whether the cell is in the store. Needs neither data nor a GPU. Without options:
    the active studies. With --scale alone: its active studies, or all studies where none is active there. With
    --study all: every study of params.yaml, and what they cost together. Fails where a study would take longer than
    its budget.

    With --detect 0.02: how many seeds and rungs show a difference of 0.02 nats between two recipes, and their price.
    """
    if detect is not None:
        from flows.designing import show_designs

        show_designs(detect, noise, 0.8 if power is None else power, study, scale, as_json)
        return
    if noise is not None or power is not None:
        raise UsageError("--noise and --power belong to --detect; name the difference, as --detect 0.02")
    from flows.planning import show_plan

    show_plan(scale, study, as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """Cells expected, done, diverged, failed, stale (and why), missing."""
    from flows.planning import show_status

    show_status(as_json)


for command in (
    running.run,
    serving.serve,
    reporting.report,
    diffing.diff,
    analyse.fit,
    analyse.compare,
    analyse.optimum,
    predicting.predict,
    advising.advise,
    caring.verify,
    caring.accept,
    doctor.doctor,
    collecting.gc,
):
    app.command()(command)
app.command("import")(importing.import_runs)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(guarded(app))


if __name__ == "__main__":
    main()
