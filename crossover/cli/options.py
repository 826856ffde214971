"""Options that commands share, and how a place is written on the command line."""

from pathlib import Path
from typing import Annotated

import typer

from crossover.base.errors import UsageError
from crossover.base.hints import nearest

File = Annotated[Path, typer.Argument(help="Runs as .csv, .parquet or .jsonl, one row per run.", show_default=False)]
Loss = Annotated[str, typer.Option(help="Column, or expression of columns, with the loss.")]
Where = Annotated[
    str | None,
    typer.Option(
        help="Keep rows that satisfy this, as 'flops > 1e18 and size != \"7B\"'; quote odd names in `backticks`."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Plot = Annotated[Path | None, typer.Option(help="Also draw it here: .png, .svg or .pdf.")]
Html = Annotated[Path | None, typer.Option(help="Also write a page to send around, with an interactive figure.")]


def require_inputs(needed: tuple[str, ...], given: dict[str, str], law: str) -> None:
    """Raise `UsageError` where an input of the law has no column, or a column is no input of it."""
    missing = [f"--{name.lower()}" for name in needed if name not in given]
    if missing:
        raise UsageError(f"law '{law}' needs {' and '.join(missing)}: a column, or an expression of columns")
    extra = [f"--{name.lower()}" for name in given if name not in needed]
    if extra:
        raise UsageError(f"law '{law}' has no use for {' and '.join(extra)}; its inputs are {', '.join(needed)}")


def parse_place(text: str, inputs: tuple[str, ...], option: str) -> dict[str, float]:
    """A place written as N=7e9,D=2e12. Raises `UsageError` that names the option and the part."""
    place = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        match = {known.lower(): known for known in inputs}.get(name.strip().lower())
        if match is None:
            raise UsageError(f"{option} '{text}': '{name.strip()}' is no input; {nearest(name.strip(), list(inputs))}")
        try:
            place[match] = float(number)
        except ValueError:
            raise UsageError(f"{option} '{text}': '{number}' is no number; write {match}=1e9") from None
    return place
