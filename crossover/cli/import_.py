"""The command `import`: training logs of W&B, TensorBoard, Hugging Face or tables to a table of runs."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crossover.logs import Choice, Proposal
    from crossover.plots.blocks import Block


def import_(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders with runs.", show_default=False)],
    to: Annotated[Path, typer.Option(help="The table to write: .csv, .parquet or .jsonl.", show_default=False)],
    loss: Annotated[str | None, typer.Option(help="Column or expression: the loss.")] = None,
    n: Annotated[str | None, typer.Option("--n", help="Column or expression: parameters.")] = None,
    d: Annotated[str | None, typer.Option("--d", "--tokens", help="Column or expression: training tokens.")] = None,
    flops: Annotated[str | None, typer.Option(help="Column or expression: training FLOPs.")] = None,
    lr: Annotated[str | None, typer.Option(help="Column or expression: the peak learning rate.")] = None,
    batch: Annotated[str | None, typer.Option(help="Column or expression: the batch size.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Column, or several as optimizer,schedule.")] = None,
    seed: Annotated[str | None, typer.Option(help="Column or expression: the seed.")] = None,
    take: Annotated[str, typer.Option(help="Which loss of a curve: last, min, or mean:10 of the last ten.")] = "last",
    reading: Annotated[
        Literal["auto", "runs", "curves", "wide"],
        typer.Option(
            "--as", help="A row of a table is: runs, curves (steps), wide (steps, a run per column), or auto."
        ),
    ] = "auto",
    where: Annotated[str | None, typer.Option(help="Rows to keep, as: flops > 1e18 and status == 'finished'.")] = None,
    names: Annotated[str | None, typer.Option(help="Settings in the runs' names, as: lr{lr}_n{n}.")] = None,
    rises: Annotated[bool, typer.Option("--higher-is-better", help="The loss rises, as accuracy does.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the guesses.")] = False,
    as_json: Json = False,
) -> None:
    """Read training logs as one table of runs.

    Reads W&B run folders, TensorBoard events, Hugging Face trainer_state.json, CSV, Parquet and JSON. Columns are
    guessed by name and shown; nothing is written until each guess is stated by its flag or all are accepted by --yes.
    A flag that says none leaves its column out.

    crossover import wandb/ --to runs.csv --loss val/loss --d "step * 2048"
    """
    from crossover.logs import find_runs, parse_take, propose, read_names, require_writable

    given = {
        "loss": loss, "n": n, "d": d, "flops": flops, "lr": lr, "batch": batch, "recipe": recipe, "seed": seed,
    }  # fmt: skip
    stated = {role: text for role, text in given.items() if text is not None}
    require_writable(to, paths)
    runs = find_runs(paths, reading)
    if names is not None:
        read_names(runs, names)
    proposal = propose(runs, stated, replace(parse_take(take), rises=rises), where)
    extra = ["--take", take] * (take != "last") + ["--as", reading] * (reading != "auto")
    extra += [*(["--where", where] if where else []), *(["--names", names] if names else [])]
    extra += ["--higher-is-better"] * rises
    _settle(proposal, to, yes or not proposal.guesses, _confirming(paths, to, stated, proposal, extra), as_json)


def _settle(proposal: "Proposal", to: Path, settled: bool, confirm: str, as_json: bool) -> None:
    """Write the table where nothing is left to guess; show what was found; ask for what is."""
    from crossover.logs import write_table

    if settled:
        write_table(to, proposal.table)
    if as_json:
        from crossover.cli.common import print_json

        print_json(_to_json(proposal, to if settled else None, confirm))
    else:
        _show(proposal, to if settled else None)
    if not settled:
        names = ", ".join(f"--{choice.role.name}" for choice in proposal.guesses)
        raise UsageError(f"nothing written: {names} are guesses; correct them, or confirm them all by: {confirm}")


def _confirming(paths: list[Path], to: Path, stated: dict[str, str], proposal: "Proposal", extra: list[str]) -> str:
    """The command line that states every column as it was guessed."""
    chosen = {choice.role.name: choice.expression for choice in proposal.choices}
    flags = [part for role, text in (stated | chosen).items() for part in (f"--{role}", text)]
    return shlex.join(["crossover", "import", *map(str, paths), "--to", str(to), *flags, *extra])


def _show(proposal: "Proposal", written: Path | None) -> None:
    from crossover.plots.blocks import show

    show(_said(proposal))
    if written is not None:
        size = f"{_count(len(proposal.table), 'row')}, {_count(len(proposal.table.columns), 'column')}"
        show([f"written: {written}, {size}"])


def _said(proposal: "Proposal") -> "Iterator[Block]":
    from crossover.base.hints import some
    from crossover.plots.blocks import table

    columns = ("column", "is", "because", "range", "also possible")
    out = table(_count(len(proposal.table), "run"), *columns, left=len(columns))
    for choice in proposal.choices:
        why = choice.why if choice.stated else f"guess: {choice.why}"
        out.add(choice.role.name, choice.expression, why, choice.range, some(choice.others))
    yield out
    for choice in proposal.choices:
        if choice.lacking:
            yield f"note: {_lacking(choice, len(proposal.table))}"
    if proposal.unknown:
        looked = ", ".join(f"{role.meaning} (--{role.name})" for role in proposal.unknown)
        yield f"note: no column looks like {looked}; the flag states one, or an expression"
    alike = [str(name) for name in proposal.table.columns if "param" in str(name).lower()]
    if alike and any(role.name == "n" for role in proposal.unknown):
        yield f"note: --n may be one of {some(alike)}"
    yield from (f"note: {note}" for note in proposal.notes)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _lacking(choice: "Choice", runs: int) -> str:
    from crossover.base.hints import some

    who = "every run" if len(choice.lacking) == runs else some(choice.lacking)
    return f"without {choice.role.name} ({choice.expression}): {who}"


def _to_json(proposal: "Proposal", written: Path | None, confirm: str) -> dict[str, Any]:
    columns = [
        {
            "column": choice.role.name, "expression": choice.expression, "stated": choice.stated, "why": choice.why,
            "range": choice.range, "also_possible": choice.others, "lacking": choice.lacking,
        }
        for choice in proposal.choices
    ]  # fmt: skip
    return {
        "written": None if written is None else str(written), "runs": list(proposal.table["run"]), "columns": columns,
        "unknown": [role.name for role in proposal.unknown], "notes": proposal.notes, "confirm": confirm,
    }  # fmt: skip
