"""The page of anybody's runs: what a command said of them, and its figure, interactive, in one file."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crossover.plots.house import Figure
from crossover.plots.page import page, show


@dataclass(frozen=True)
class Block:
    """A line, a heading, or a table with a header and rows of text."""

    text: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    heading: bool = False


def answer_page(title: str, figure: Figure, blocks: Iterable[Block]) -> str:
    """The page as HTML."""
    return page(Path(__file__).with_name("answer.html.j2"), title=title, figure=show(figure), blocks=list(blocks))
