"""An answer on its way out: in words, as JSON, as a figure, as a page."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover.base.errors import UsageError

if TYPE_CHECKING:
    from crossover.cli.said import Said
    from crossover.plots.house import Figure


def print_json(value: Any) -> None:
    """JSON on standard output."""
    print(json.dumps(value, indent=1, allow_nan=False))


def answer(
    file: Path,
    said: "Iterable[Said]",
    body: dict[str, Any] | None,
    draw: "Callable[[], Figure]",
    plot: Path | None,
    html: Path | None,
) -> None:
    """Write the figure and the page where they are asked for; print the JSON, or in words what is said."""
    from crossover.base.files import write_bytes
    from crossover.cli.said import as_blocks, show

    told, figure = list(said), draw() if plot or html else None
    if figure is not None and plot is not None:
        formats = {".png": figure.png, ".svg": lambda: figure.svg().encode(), ".pdf": figure.pdf}
        if plot.suffix not in formats:
            raise UsageError(f"--plot writes {', '.join(formats)}; name {plot} with one of them at its end")
        write_bytes(plot, formats[plot.suffix]())
    if figure is not None and html is not None:
        from crossover.plots.answer import answer_page

        write_bytes(html, answer_page(file.name, figure, as_blocks(told)).encode())
    if body is not None:
        print_json(body)
    else:
        show(told)
