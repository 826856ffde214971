"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from crossover.base.errors import UsageError

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


def one_place(places: list[str] | None) -> str | None:
    """The place of a command that answers for one. Raises `UsageError` where several are named."""
    if places and len(places) > 1:
        raise UsageError(f"--at was given {len(places)} times, and one place is answered for; ask once for each")
    return places[0] if places else None
