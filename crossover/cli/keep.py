"""The command `crossover keep`: may a change be kept? For people, and for programs that go by its exit code."""

import json
from pathlib import Path
from typing import Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import (
    AnyFile,
    Html,
    Loss,
    OfScale,
    Pair,
    Places,
    Plot,
    Study,
    Where,
    answer,
    note_written,
    one_place,
    require_outputs,
    write_answer,
)

_CODES = {"keep": 0, "discard": 3, "run more": 4}
_OF_STUDY = ("flops_6n", "loss_validation", "recipe", "seed")


def keep(
    a: Annotated[str, typer.Argument(help="The recipe as it is.", show_default=False)],
    b: Annotated[str, typer.Argument(help="The recipe with the change.", show_default=False)],
    file: AnyFile = None,
    at: Places = None,
    x: Annotated[str, typer.Option(help="Column or expression: FLOPs, tokens, parameters; 1 for one size.")] = "flops",
    loss: Loss = "loss",
    by: Annotated[str, typer.Option(help="Column that names the recipe.")] = "recipe",
    pair: Pair = None,
    cost: Annotated[str | None, typer.Option(help="Column or expression of a run's cost.", show_default="x")] = None,
    worth: Annotated[
        float | None,
        typer.Option(help="Least gain in loss that is worth keeping.", show_default="one s.d. of the difference of two "
                     "runs"),
    ] = None,
    noise: Annotated[float | None, typer.Option(help="Standard deviation of a run's loss; measured where absent.")]
    = None,
    level: Annotated[float, typer.Option(help="Probability of a false keep, however often it is asked.")] = 0.05,
    miss: Annotated[float, typer.Option(help="Probability that a change worth keeping is discarded.")] = 0.2,
    log: Annotated[
        Path | None, typer.Option(help="Add the answer to this file of JSON lines, and let at most a tenth of all "
                                  "keeps in it be false.")
    ] = None,
    of: Annotated[int, typer.Option(min=1, help="With --log: changes in a series.")] = 50,
    where: Where = None,
    study: Study = None,
    scale: OfScale = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    plot: Plot = None,
    html: Html = None,
) -> None:  # fmt: skip
    """May a change be kept? Ask after every run.

    Says keep (exit code 0), discard (3) or run more (4), and which run. At most one change in twenty that is no better
    is kept, however often it is asked; with --log at most a tenth of all that are kept. The gain must hold at the
    largest size, or at the place named by --at.

    crossover keep base change runs.csv --x flops --pair seed --log keeps.jsonl
    """
    from crossover.api.keep import keep as ask

    require_outputs(file, plot, html)
    if study is not None and scale is not None and file is None:
        file, x, loss, by, pair = Path("data/results") / f"{study}-{scale}" / "losses.csv", *_OF_STUDY
    elif study is not None or scale is not None or file is None:
        raise UsageError("name a file of runs, or --study and --scale")
    found = ask(
        file, a, b, at=one_place(at), x=x, loss=loss, by=by, pair=pair, cost=cost, worth=worth, noise=noise,
        level=level, miss=miss, log=log, of=of, where=where,
    )  # fmt: skip
    if as_json:
        written = write_answer(found, file.name, plot, html)
        print(json.dumps(found.to_json(), allow_nan=False))
        note_written(*written)
    else:
        answer(found, file.name, False, plot, html)
    raise typer.Exit(_CODES[found.verdict])
