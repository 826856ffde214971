"""An answer of any kind: its JSON, its words as a terminal shows them, its figure, and its page to send around."""

from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from crossover.plots.blocks import Block, Heading, Lead, Table, render
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

    def html(self, title: str = "runs", command: str = "") -> str:
        """A page to send around: words, tables and an interactive figure in one file.

        What is read first comes before the figure, all else below it; at the foot what it was made from, and when.

        Raises `MissingExtraError` without the extra `plots`.
        """
        from crossover.base.extras import needs

        with needs():
            from crossover.plots.page import page, show

            template = Path(__file__).with_name("answer.html.j2")
            first, rest = _parted([(_kind(block), block) for block in self.said()])
            made = {
                "command": command, "table": getattr(self, "digest", ""), "crossover": version("scaling-crossover"),
                "made": date.today().isoformat(),
            }  # fmt: skip
            made = {name: value for name, value in made.items() if value}
            figure = self.draw()
            content = {"figure": show(figure), "sure": figure.sure, "first": first, "rest": rest, "made": made}
            return page(template, title=title, **content)


def _kind(block: Block) -> str:
    kinds = {Table: "table", Heading: "heading", Lead: "lead"}
    return next((name for kind, name in kinds.items() if isinstance(block, kind)), "line")


def _parted(blocks: list[tuple[str, Block]]) -> tuple[list[tuple[str, Block]], list[tuple[str, Block]]]:
    """What stands above the figure: of answers with leads these and the heading before them; else all before tables."""
    kinds = [kind for kind, _ in blocks]
    if "lead" not in kinds:
        end = kinds.index("table") if "table" in kinds else len(blocks)
        return blocks[:end], blocks[end:]
    first = [item for i, item in enumerate(blocks) if item[0] == "lead" or kinds[i : i + 2] == ["heading", "lead"]]
    return first, [item for item in blocks if item not in first]
