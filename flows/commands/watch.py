"""The command `watch`: training as it goes."""
# What it needs is imported when it runs, so that `crossover --help` stays quick.

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from crossover.cli.common import Json
from flows.commands.options import Scale, Studies, active_keys

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flows.studies.watching import Board, Line

Once = Annotated[bool, typer.Option("--once", help="Show it once instead of until Ctrl-C.")]

_SIGNS = {"waiting": "·", "training": "◐", "done": "●", "diverged": "✗", "failed": "✗", "departed": "!"}
_EVERY = 1.0  # seconds
_MANY = 8  # cells in one place of the grid, above which they are counted
_SHOWN = 24


def watch(study: Studies = None, scale: Scale = None, once: Once = False, as_json: Json = False) -> None:
    """Cells as they train: loss beside what is expected, speed, time left, divergences, departures from the course.

    Whoever trains them (`dvc repro`, `make study`, `crossover run`) may run elsewhere on this machine.

    crossover watch --study lr_crossover
    """
    from rich.console import Console
    from rich.live import Live

    from crossover.cli.common import print_json
    from crossover.plots.blocks import WIDTH
    from flows.studies.watching import Board, to_json
    from stages.study.params import load_params

    params = load_params()
    items = [params.active[key] for key in active_keys(study, scale)]
    board = Board(_planned([(item.study, item.scale) for item in items]))
    board.update()
    if as_json:
        print_json(to_json(board.lines()))
    elif once or not (console := Console()).is_terminal:
        Console(width=None if Console().is_terminal else WIDTH).print(shown(board))
    else:
        with Live(shown(board), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(_EVERY)
                board.update()
                live.update(shown(board), refresh=True)


def _planned(studies: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that have a plan. Raises `UsageError` where none has."""
    from crossover.base.errors import UsageError
    from stages.cells.plan import folder

    there = [pair for pair in studies if (folder(*pair) / "plan.json").exists()]
    if not there:
        raise UsageError("no recorded plan is here yet; `make study` or `dvc repro` makes one and trains")
    return there


def shown(board: "Board") -> "RenderableType":
    """The grid of cells, those that train, and what needs a look; while something trains, of those studies alone."""
    from rich.console import Group
    from rich.text import Text

    lines = board.lines()
    busy = [line for line in lines if line.state in ("training", "departed")]
    live = dict.fromkeys(line.study for line in busy or lines)
    worth = [f"{_SIGNS[line.state]} {line.study} {_name(line)}: {line.note}" for line in lines if line.note]
    return Group(
        Text(_summary(lines), style="bold"),
        Text("● done  ◐ training  ! left its course  ✗ diverged or failed  · waiting"),
        *(part for study in live for part in (Text(f"\n{study}", style="bold"),
                                              _grid([line for line in lines if line.study == study]))),
        *([_table(busy[:_SHOWN])] if busy else []),
        *map(Text, worth[:_SHOWN]),
    )  # fmt: skip


def _summary(lines: "Sequence[Line]") -> str:
    counts = {state: sum(line.state == state for line in lines) for state in _SIGNS}
    told = [f"{counts['done']} of {len(lines)} cells done"]
    told += [f"{count} {state}" for state, count in counts.items() if count and state not in ("done", "waiting")]
    speed = sum(line.tokens_per_second or 0.0 for line in lines)
    return ", ".join(told) + (f"; {speed:,.0f} tokens/s" if speed else "")


def _grid(lines: "Sequence[Line]") -> "RenderableType":
    """A row per recipe, a column per width, a sign per seed."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    widths = sorted({line.width for line in lines})
    out = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("recipe", *(f"width {width}" for width in widths)):
        out.add_column(Text(name), no_wrap=True)
    for recipe in dict.fromkeys(line.recipe for line in lines):
        here = [line for line in lines if line.recipe == recipe]
        signs = (_signs([line for line in here if line.width == width]) for width in widths)
        out.add_row(Text(recipe), *map(Text, signs))
    return out


def _signs(lines: "Sequence[Line]") -> str:
    if len(lines) <= _MANY:
        return "".join(_SIGNS[line.state] for line in lines)
    counts = {sign: sum(_SIGNS[line.state] == sign for line in lines) for sign in dict.fromkeys(_SIGNS.values())}
    return " ".join(f"{count}{sign}" for sign, count in counts.items() if count)


def _table(lines: "Sequence[Line]") -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, side in (("cell", "left"), ("done", "right"), ("loss", "right"), ("expected [90%]", "right"),
                       ("tokens/s", "right"), ("left", "right")):  # fmt: skip
        out.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for line in lines:
        band = "–" if line.expected is None else f"{line.expected:.3f} [{line.low:.3f}, {line.high:.3f}]"
        loss = "–" if line.loss is None else f"{line.loss:.3f}"
        speed = "–" if line.tokens_per_second is None else f"{line.tokens_per_second:,.0f}"
        left = "–" if line.seconds_left is None else f"{line.seconds_left:.0f} s"
        out.add_row(Text(_name(line)), f"{line.progress:.0%}", loss, band, speed, left)
    return out


def _name(line: "Line") -> str:
    return f"{line.recipe}, width {line.width}, seed {line.seed}"
