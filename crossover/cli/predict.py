"""The command `crossover predict`: a forecast at a size nobody has trained, lodged in git, and scored when it has come.

crossover predict runs.csv --n N --d D --loss loss --by recipe --at N=7e9,D=2e12 --lodge
crossover predict --study lr_crossover --scale pocket --width 96 --lodge
crossover predict --check
crossover predict --score large.csv --lodge
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.options import Json, Loss, Where, parse_place
from crossover.cli.output import print_json
from crossover.cli.project import find_project, require_project

if TYPE_CHECKING:
    from crossover.ledger.body import Forecast, Outcome
    from crossover.ledger.chain import Ledger
    from crossover.ledger.forecasting import Runs
    from crossover.ledger.scoring import Lookup, Realised, Record


@dataclass(frozen=True)
class Asked:
    """Runs, the target and where both come from."""

    runs: "Runs"
    at: dict[str, float]
    name: str
    source: Path
    columns: dict[str, str]
    count: int
    pairs: list[tuple[str, str]] | None = None
    study: str | None = None
    cells: list[str] = field(default_factory=list)
    trained: bool = False
    """Whether a cell at the target is already there."""


def predict(
    file: Annotated[Path | None, typer.Argument(help="Runs as .csv, .parquet or .jsonl.", show_default=False)] = None,
    x: Annotated[str | None, typer.Option(help="Column or expression: FLOPs, tokens, parameters.")] = None,
    n: Annotated[str | None, typer.Option("--n", help="Column or expression: parameters.")] = None,
    d: Annotated[str | None, typer.Option("--d", help="Column or expression: training tokens.")] = None,
    loss: Loss = "loss",
    by: Annotated[str | None, typer.Option(help="Column that names the recipe.")] = None,
    pair: Annotated[str | None, typer.Option(help="Column that pairs runs of one size: the seed.")] = None,
    where: Where = None,
    at: Annotated[str | None, typer.Option(help="The target, as N=7e9,D=2e12 or x=1e22.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each recipe that there will be at the target.")] = 1,
    law: Annotated[str | None, typer.Option(help="Instead of power, power_floor (5 sizes) or chinchilla.")] = None,
    study: Annotated[str | None, typer.Option(help="A study of params.yaml, instead of a file.")] = None,
    scale: Annotated[str | None, typer.Option(help="Its scale.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="The width to forecast.")] = None,
    lodge: Annotated[
        bool, typer.Option("--lodge", help="Write the forecast, or with --score what came, to data/ledger.jsonl.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="What the forecast is called in the ledger.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Is every lodged forecast as it was?")] = False,
    score: Annotated[bool, typer.Option("--score", help="Score them; a file holds what came of other runs.")] = False,
    as_json: Json = False,
) -> None:
    """Forecast a loss and who wins at a size nobody has trained.

    With --lodge the forecast goes into data/ledger.jsonl, where git shows every later change: commit it. Once the cell
    is trained, --score says how the forecasts did, and the report keeps the record: of own studies by itself, of other
    runs by --score FILE --lodge. --check reads the ledger alone.
    """
    if check or score:
        if (check and (score or file or lodge)) or study or at:
            raise UsageError("--check and --score stand alone; --score may name a file with what came")
        if lodge and file is None:
            raise UsageError("--score --lodge needs a file with what came; own studies are scored by their results")
        if check:
            _check(as_json)
        else:
            _score(file, where, lodge, as_json)
        return
    if (file is None) == (study is None):
        raise UsageError("name a file of runs, or a study with --study, --scale and --width")
    if file is not None:
        asked = _of_table(file, {"x": x, "N": n, "D": d}, {"loss": loss, "recipe": by, "pair": pair, "where": where},
                          at, runs)  # fmt: skip
    else:
        if study is None or scale is None or width is None:
            raise UsageError("a study's forecast needs --study, --scale and --width")
        asked = require_project().ask_study(study, scale, width)
    forecast = _forecast(asked, law, name)
    if lodge:
        _lodge(forecast, asked)
    if as_json:
        print_json(forecast.model_dump())
    else:
        _show(forecast, lodge)


def _of_table(
    file: Path, inputs: dict[str, str | None], others: dict[str, str | None], at: str | None, count: int
) -> Asked:
    import numpy as np

    from crossover.ledger.forecasting import Runs
    from crossover.runs.table import read_runs

    named = {key: text for key, text in inputs.items() if text is not None}
    if set(named) not in ({"x"}, {"N", "D"}):
        raise UsageError("name the size: --x, or --n and --d; each a column, or an expression of columns")
    if at is None:
        raise UsageError(f"name the target with --at, as {','.join(f'{key}=1e9' for key in named)}")
    target = parse_place(at, tuple(named), "--at")
    if missing := [key for key in named if not 0 < target.get(key, 0) < float("inf")]:
        raise UsageError(f"--at '{at}' needs a positive, finite {missing[0]}")
    read = read_runs(file, others["where"])
    values = read.numbers(str(others["loss"]))
    recipe = read.labels(others["recipe"]) if others["recipe"] else np.full(len(values), "runs", object)
    pairs = None if others["pair"] is None else read.labels(others["pair"])
    columns = {key: text for key, text in (named | others).items() if text is not None}
    runs = Runs({key: read.numbers(text) for key, text in named.items()}, values, recipe, pairs)
    return Asked(runs, target, f"{file.stem} {at}", file, columns, count)


def _forecast(asked: Asked, law: str | None, name: str | None) -> "Forecast":
    from crossover.base.files import sha256_file
    from crossover.ledger.body import Forecast, Inputs
    from crossover.ledger.forecasting import chances, expectations
    from crossover.ledger.history import head
    from crossover.runs.estimates import CONFIDENCE

    expected = expectations(asked.runs, asked.at, asked.count, law)
    pairs = None if asked.pairs is None else [two for two in asked.pairs if set(two) <= set(expected)]
    places = asked.runs.places()
    return Forecast(
        name=name or asked.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=head(Path.cwd()),
        study=asked.study,
        columns=asked.columns,
        at=asked.at,
        lever_arm_decades=asked.runs.lever_arm(asked.at),
        runs=asked.count,
        confidence=CONFIDENCE,
        recipes=expected,
        pairs=chances(asked.runs, asked.at, asked.count, law, expected, pairs),
        inputs=Inputs(
            source=str(asked.source), sha256=sha256_file(asked.source), rows=len(asked.runs.loss),
            digest=asked.runs.digest, places=places, cells=asked.cells,
        ),
    )  # fmt: skip


def _lodge(forecast: "Forecast", asked: Asked) -> None:
    """Append to the ledger. Raises `UsageError` where it is no forecast, or there already."""
    from crossover.ledger.chain import LEDGER, append
    from crossover.ledger.forecasting import among

    if asked.trained or among(forecast.at, forecast.inputs.places):
        raise UsageError(f"{forecast.name}: the target is already trained, so this is no forecast; nothing was lodged")

    def make(ledger: "Ledger") -> "list[Forecast]":
        for known in ledger.forecasts:
            if known.same_question(forecast):
                raise UsageError(f"this very forecast was lodged as '{known.name}' on {known.date}")
            if known.name == forecast.name:
                raise UsageError(f"{LEDGER}: '{known.name}' was lodged on {known.date}; give this one another --name")
        return [forecast]

    append(LEDGER, make)


def _check(as_json: bool) -> None:
    from crossover.ledger.chain import LEDGER, read_ledger

    ledger = read_ledger()
    forecasts, outcomes, witnessed = len(ledger.forecasts), len(ledger.outcomes), ledger.witnessed
    if as_json:
        print_json({"ledger": str(LEDGER), "forecasts": forecasts, "outcomes": outcomes, "committed": witnessed})
        return
    print(f"{LEDGER}: {forecasts} forecast(s) and {outcomes} outcome(s), each as it was lodged")
    if witnessed is None:
        print("no git here: the chain alone was checked, which lines cut off its end would not break")
    elif witnessed < forecasts + outcomes:
        print(f"{forecasts + outcomes - witnessed} of them are not committed, so nothing witnesses them yet: "
              f"commit {LEDGER}")  # fmt: skip


def _score(file: Path | None, where: str | None, lodge: bool, as_json: bool) -> None:
    from crossover.ledger.chain import LEDGER, append, read_ledger
    from crossover.ledger.outcomes import recorded
    from crossover.ledger.scoring import score_all

    lookup = _own_losses if file is None else _table_losses(file, where)
    ledger = read_ledger()
    if file is not None and not any(lookup(item) for item in ledger.forecasts if item.study is None):
        raise UsageError(f"{file} has no finished run at the target of any lodged forecast, by that forecast's columns")
    if file is not None and lodge:
        append(LEDGER, lambda ledger: _outcomes(file, ledger, lookup))
        ledger = read_ledger()
    record = score_all(ledger.forecasts, recorded(ledger.outcomes, lookup))
    if as_json:
        print_json(record.to_json())
    else:
        _show_record(record)
        if lodge:
            print(f"lodged in {LEDGER}; commit it: the page keeps the record")


def _outcomes(file: Path, ledger: "Ledger", lookup: "Lookup") -> "list[Outcome]":
    """What came in a file and is not on record yet: what was lodged first stands, so that no rerun improves a score."""
    from crossover.base.files import sha256_file
    from crossover.ledger.body import Came, Outcome

    known = {(item.forecast, name) for item in ledger.outcomes for name in item.recipes}
    date, found = datetime.now(UTC).isoformat(timespec="seconds"), []
    for forecast in ledger.forecasts:
        came = {} if forecast.study else {
            name: Came(loss=one.loss, runs=one.runs)
            for name, one in lookup(forecast).items() if (forecast.name, name) not in known
        }  # fmt: skip
        if came:
            found.append(
                Outcome(forecast=forecast.name, date=date, source=str(file), sha256=sha256_file(file), recipes=came)
            )
    if not found:
        raise UsageError(f"what {file} holds at the targets of lodged forecasts is on record already; the first stands")
    return found


def _table_losses(file: Path, where: str | None) -> "Lookup":
    """Looks forecasts of tables up in this one, by their own columns; own studies in their results."""
    from crossover.ledger.outcomes import table_losses
    from crossover.runs.table import read_runs

    table = read_runs(file, where)

    def look(forecast: "Forecast") -> "Mapping[str, Realised]":
        if forecast.study:
            return _own_losses(forecast)
        try:
            return table_losses(forecast, table)
        except UsageError:  # another forecast's table, with other columns
            return {}

    return look


def _own_losses(forecast: "Forecast") -> "Mapping[str, Realised]":
    """What a study of this project came to; nothing where no project is at hand."""
    project = find_project()
    return project.own_losses(forecast) if project and forecast.study else {}


def _show(forecast: "Forecast", lodged: bool) -> None:
    from crossover.cli.said import console, make_table
    from crossover.ledger.chain import LEDGER

    at = ", ".join(f"{key} = {value:.4g}" for key, value in forecast.at.items())
    title = f"{forecast.name}: {at}, {forecast.lever_arm_decades:.2f} decades outside the runs"
    table = make_table(title, "recipe", "law", f"mean loss of {forecast.runs} run(s)", "90% interval", left=2)
    for name, item in forecast.recipes.items():
        table.add_row(name, item.formula, f"{item.value:.5g}", f"[{item.low:.5g}, {item.high:.5g}]")
    console.print(table)
    for chance in forecast.pairs:
        words = f"P({chance.b} ends below {chance.a}) = {chance.p_b_wins:.3f}; {chance.b} - {chance.a} = "
        console.print(f"{words}{chance.difference:+.4f}, s.d. {chance.sd:.2g}", markup=False)
    if lodged:
        console.print(f"lodged in {LEDGER}; commit it: from then on no change goes unseen", markup=False)


def _show_record(record: "Record") -> None:
    from crossover.cli.said import console, make_table
    from crossover.ledger.words import score_rows, track_words

    table = make_table("", "forecast", "recipe or pair", "forecast", "came", "error", "in s.d.", "", left=2)
    for row in score_rows(record.scores):
        table.add_row(*row)
    console.print(table)
    console.print(track_words(record.track), markup=False)
