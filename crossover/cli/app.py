"""Which training recipe wins at the scale you cannot afford: answers from anybody's runs, and what studies say."""
# Commands import what they need when they run, so that each starts in the time that it needs itself.

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from crossover.base.entry import guarded
from crossover.cli.advise import advise
from crossover.cli.allocate import allocate
from crossover.cli.compare import compare
from crossover.cli.fit import fit
from crossover.cli.foresee import foresee
from crossover.cli.import_ import import_
from crossover.cli.keep import keep
from crossover.cli.optimum import optimum
from crossover.cli.predict import predict
from crossover.cli.project import Group, find_project

if TYPE_CHECKING:
    from typer import Context

_WIDEST = 160

ANSWERS = Group(
    "Answers, on any table of runs",
    (import_, compare, predict, advise, keep, fit, optimum, allocate, foresee),
    "crossover compare runs.csv --x flops --by recipe --pair seed --at x=1e22",
)
GROUPS = (ANSWERS, *(project.GROUPS if (project := find_project()) else ()))


class Grouped(TyperGroup):
    """Help in groups, each with its example."""

    def format_commands(self, ctx: "Context", formatter: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        """Names and first sentences."""
        for group in GROUPS:
            with formatter.section(group.title):
                names = [_name(command) for command in group.commands]
                limit = formatter.width - 6 - max(map(len, self.commands))
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit)) for name in names])
                formatter.write_paragraph()
                formatter.write_text(f"$ {group.example}")


def _name(command: Any) -> str:
    name: str = command.__name__
    return name.rstrip("_")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"crossover {version('scaling-crossover')}")
        raise typer.Exit


app = typer.Typer(  # plain help: the library that draws boxes takes as long to import as all the rest
    cls=Grouped, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST},
)  # fmt: skip
for group in GROUPS:
    for command in group.commands:
        app.command(_name(command))(command)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    sys.exit(guarded(app))
