"""An answer on its way out: in words or as JSON, and as a figure and a page where they are asked for."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossover.base.errors import UsageError

if TYPE_CHECKING:
    from crossover.plots.answer import Answer

_PAGES = (".html", ".htm")
_FIGURES = (".png", ".svg", ".pdf")


def print_json(value: Any) -> None:
    """JSON on standard output."""
    print(json.dumps(value, indent=1, allow_nan=False))


def note_written(*paths: Path) -> None:
    """Say what was written, beside whatever standard output holds."""
    sys.stdout.flush()
    for path in paths:
        print(f"written: {path}", file=sys.stderr)


def require_outputs(read: Path | None, plot: Path | None, html: Path | None) -> None:
    """Before anything is computed. Raises `UsageError` for an output of another kind, or that is what is read."""
    for option, path, endings in (("--plot", plot, _FIGURES), ("--html", html, _PAGES)):
        if path is None:
            continue
        if path.suffix not in endings:
            raise UsageError(f"{option} {path} must end in {' or '.join(endings)}")
        if path.is_dir() or (read is not None and path.resolve() == read.resolve()):
            raise UsageError(f"{option} {path} is {'a folder' if path.is_dir() else 'what is read'}; name another file")


def write_answer(result: "Answer", title: str, plot: Path | None, html: Path | None) -> list[Path]:
    """The figure and the page where they are asked for; what was written."""
    from crossover.base.files import write_named

    if plot is not None:
        result.plot(plot)
    if html is not None:
        write_named(html, result.html(title).encode())
    return [path for path in (plot, html) if path is not None]


def answer(result: "Answer", title: str, as_json: bool, plot: Path | None, html: Path | None) -> None:
    """Write the figure and the page; print the JSON or the words, and what was written."""
    from crossover.plots.blocks import show

    written = write_answer(result, title, plot, html)
    if as_json:
        print_json(result.to_json())
    else:
        show(result.said())
    note_written(*written)
