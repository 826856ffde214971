"""The page of anybody's runs: what a command said of them, and its figure, interactive, in one file."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stages.report.house import Figure
from stages.report.page import page, show


@dataclass(frozen=True)
class Block:
    """A line, a heading, or a table with a header and rows of text."""

    text: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    heading: bool = False


def runs_page(title: str, figure: Figure, blocks: Iterable[Block]) -> str:
    """The page as HTML."""
    return page("runs.html.j2", title=title, figure=show(figure), blocks=list(blocks))
