"""An answer of any kind: its JSON, its words as a terminal shows them, its figure, and its page to send around."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from crossover.plots.blocks import Block, Heading, Table, render
from crossover.runs.estimates import Serialisable

if TYPE_CHECKING:
    from crossover.plots.house import Figure


class Answer(Serialisable):
    """What every question returns. A kind of answer says its words and draws its figure."""

    def said(self) -> Iterable[Block]:
        """Lines, headings and tables."""
        raise NotImplementedError

    def draw(self) -> "Figure":
        """The figure."""
        raise NotImplementedError

    def __str__(self) -> str:
        """What the terminal shows, 120 columns wide."""
        return render(self.said())

    def plot(self, path: str | Path | None = None) -> "Figure":
        """The figure, which a notebook shows; also written where a path ends in .png, .svg or .pdf.

        Raises `UsageError` for another ending, and `MissingExtraError` without the extra `plots`.
        """
        from crossover.base.extras import needs

        with needs():
            figure = self.draw()
        if path is not None:
            figure.save(Path(path))
        return figure

    def html(self, title: str = "runs") -> str:
        """A page to send around: words, tables and an interactive figure in one file.

        Raises `MissingExtraError` without the extra `plots`.
        """
        from crossover.base.extras import needs

        with needs():
            from crossover.plots.page import page, show

            template = Path(__file__).with_name("answer.html.j2")
            blocks = [(_kind(block), block) for block in self.said()]
            return page(template, title=title, figure=show(self.draw()), blocks=blocks)


def _kind(block: Block) -> str:
    return "table" if isinstance(block, Table) else "heading" if isinstance(block, Heading) else "line"
