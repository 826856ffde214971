"""An answer on its way out: in words or as JSON, and as a figure and a page where they are asked for."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossover.plots.answer import Answer


def print_json(value: Any) -> None:
    """JSON on standard output."""
    print(json.dumps(value, indent=1, allow_nan=False))


def note_written(*paths: Path) -> None:
    """Say what was written, beside whatever standard output holds."""
    sys.stdout.flush()
    for path in paths:
        print(f"written: {path}", file=sys.stderr)


def answer(result: "Answer", title: str, as_json: bool, plot: Path | None, html: Path | None) -> None:
    """Write the figure and the page where they are asked for; print the JSON or the words, and what was written."""
    from crossover.base.files import write_bytes
    from crossover.plots.blocks import show

    if plot is not None:
        result.plot(plot)
    if html is not None:
        write_bytes(html, result.html(title).encode())
    if as_json:
        print_json(result.to_json())
    else:
        show(result.said())
    note_written(*(path for path in (plot, html) if path is not None))
