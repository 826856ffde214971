"""What is said of an answer: lines, headings and tables as plain text, for a terminal, a string and a page alike."""

import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 120
"""Columns of a string, and of output that goes to no terminal."""


@dataclass(frozen=True)
class Heading:
    """What the lines below it are about."""

    text: str


class Lead(str):
    """A line that is read first, such as who wins, how sure that is, what next: a page sets it before the figure."""

    __slots__ = ()


@dataclass
class Table:
    """A header and rows of text, whatever brackets they hold: `left` columns to the left, numbers to the right."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    left: int = 1

    def add(self, *cells: str) -> None:
        """A row."""
        self.rows.append(list(cells))


Block = str | Heading | Table


def table(title: str, *columns: str, left: int = 1) -> Table:
    """A table without rows yet."""
    return Table(title, list(columns), left=left)


def render(blocks: Iterable[Block]) -> str:
    """As text: tables at most `WIDTH` wide, lines whole."""
    text = io.StringIO()
    _print(blocks, text)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def show(blocks: Iterable[Block]) -> None:
    """Print it: in a terminal as wide as that and wrapped at words, else as `render` does."""
    _print(blocks, sys.stdout)


def _print(blocks: Iterable[Block], file: TextIO) -> None:
    from rich.console import Console

    terminal = file.isatty()
    console = Console(file=file, width=None if terminal else WIDTH, highlight=False, soft_wrap=not terminal)
    for i, block in enumerate(blocks):
        if i and isinstance(block, Heading):
            console.print()
        _print_block(console, block)


def _print_block(console: "Console", block: Block) -> None:
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    if isinstance(block, str):
        console.print(Text(block, style="bold" if isinstance(block, Lead) else ""))
    elif isinstance(block, Heading):
        console.print(Text(block.text, style="bold"))
    else:
        drawn = Drawn(title=Text(block.title) if block.title else None, title_justify="left", box=box.SIMPLE)
        for i, name in enumerate(block.header):
            drawn.add_column(Text(name), justify="left" if i < block.left else "right", overflow="fold")
        for row in block.rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)
