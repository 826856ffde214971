"""The command line: answers for anybody's runs, and in the checkout of a project what its studies cost and say."""
# Commands import what they need when they run, so that each starts in the time that it needs itself.

import sys

import typer

from crossover.base.errors import guarded
from crossover.cli.advise import advise
from crossover.cli.compare import compare
from crossover.cli.fit import fit
from crossover.cli.import_ import import_runs
from crossover.cli.optimum import optimum
from crossover.cli.predict import predict
from crossover.cli.project import find_project

app = typer.Typer(  # plain help: the library that draws boxes takes as long to import as all the rest
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__
)
for command in (fit, compare, optimum, predict, advise):
    app.command()(command)
app.command("import")(import_runs)
if project := find_project():
    for command in project.COMMANDS:
        app.command()(command)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(guarded(app))
