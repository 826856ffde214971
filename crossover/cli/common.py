"""What commands share: their options, and the way of an answer out, in words or as JSON, as a figure and as a page."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossover.base.errors import UsageError

if TYPE_CHECKING:
    from crossover.plots.answer import Answer

File = Annotated[Path, typer.Argument(help="Runs as .csv, .parquet or .jsonl, one row per run.", show_default=False)]
AnyFile = Annotated[
    Path | None, typer.Argument(help="Runs as .csv, .parquet or .jsonl, one row per run.", show_default=False)
]
Loss = Annotated[str, typer.Option(help="Column, or expression of columns, with the loss.")]
X = Annotated[str | None, typer.Option(help="Column or expression: FLOPs, tokens, parameters.")]
N = Annotated[str | None, typer.Option("--n", help="Column or expression: parameters.")]
D = Annotated[str | None, typer.Option("--d", help="Column or expression: training tokens.")]
By = Annotated[
    str | None, typer.Option(help="Column that names the recipe; none where several are to be taken as one.")
]
Pair = Annotated[str | None, typer.Option(help="Column that pairs runs of one size: the seed.")]
Places = Annotated[
    list[str] | None,
    typer.Option("--at", help="The place to answer for, as x=1e22 or N=7e9,D=2e12; fit and advise take several."),
]
Where = Annotated[
    str | None,
    typer.Option(
        help="Keep rows that satisfy this, as 'flops > 1e18 and size != \"7B\"'; quote odd names in `backticks`."
    ),
]
Study = Annotated[str | None, typer.Option("--study", help="A study of params.yaml, instead of a file.")]
OfScale = Annotated[str | None, typer.Option("--scale", help="The study's scale.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Plot = Annotated[Path | None, typer.Option(help="Also draw it here: .png, .svg or .pdf.")]
Html = Annotated[Path | None, typer.Option(help="Also write a page to send around, with an interactive figure.")]

_PAGES = (".html", ".htm")
_FIGURES = (".png", ".svg", ".pdf")


def one_place(places: list[str] | None) -> str | None:
    """The place of a command that answers for one. Raises `UsageError` where several are named."""
    if places and len(places) > 1:
        raise UsageError(f"--at was given {len(places)} times, and one place is answered for; ask once for each")
    return places[0] if places else None


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
        write_named(html, result.html(title, f"crossover {shlex.join(sys.argv[1:])}").encode())
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
