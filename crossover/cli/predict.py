"""The command `crossover predict`: a forecast at a size nobody has trained, lodged in git, and scored when it has come.

crossover predict runs.csv --n N --d D --loss loss --by recipe --at N=7e9,D=2e12 --lodge
crossover predict --study lr_crossover --scale pocket --at width=96 --lodge
crossover predict --check
crossover predict --score large.csv --lodge
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import (
    AnyFile,
    By,
    D,
    Html,
    Json,
    Loss,
    N,
    OfScale,
    Pair,
    Places,
    Plot,
    Study,
    Where,
    X,
    note_written,
    one_place,
    print_json,
    require_outputs,
    write_answer,
)
from crossover.cli.project import find_project, require_project

if TYPE_CHECKING:
    from crossover.answers.predict import Prediction
    from crossover.ledger.body import Forecast, Outcome
    from crossover.ledger.chain import Ledger
    from crossover.ledger.realised import Lookup, Realised
    from crossover.ledger.scoring import Record


Criterion = Annotated[
    str | None, typer.Option("--gate", help="With --lodge: what the launch must come to, as 'loss < 2.31'.")
]
_ALONE = "--check and --score stand alone; --score may name a file with what came"


@dataclass(frozen=True)
class Asked:
    """What was predicted, and where it comes from."""

    prediction: "Prediction"
    name: str
    source: Path
    columns: dict[str, str]
    study: str | None = None
    cells: list[str] = field(default_factory=list)
    trained: bool = False
    """Whether a cell at the target is already there."""


def predict(
    file: AnyFile = None,
    at: Places = None,
    x: X = None,
    n: N = None,
    d: D = None,
    loss: Loss = "loss",
    by: By = None,
    pair: Pair = None,
    where: Where = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each recipe that there will be at the target.")] = 1,
    law: Annotated[
        str | None, typer.Option(help="Instead of power_floor or chinchilla; m4 and bnsl are taken as exact.")
    ] = None,
    study: Study = None,
    scale: OfScale = None,
    lodge: Annotated[
        bool, typer.Option("--lodge", help="Write the forecast, or with --score what came, to data/ledger.jsonl.")
    ] = False,
    gate: Criterion = None,
    name: Annotated[str | None, typer.Option(help="Its name in the ledger; with --score FILE which to score.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Is every lodged forecast as it was?")] = False,
    score: Annotated[bool, typer.Option("--score", help="Score them; a file holds what came of other runs.")] = False,
    as_json: Json = False,
    plot: Plot = None,
    html: Html = None,
) -> None:
    """Forecast a loss and who wins at a size nobody has trained.

    With --lodge the forecast goes into data/ledger.jsonl, where git shows every later change: commit it. Once the cell
    is trained, --score says how the forecasts did, and the report keeps the record: of own studies by itself, of other
    runs by --score FILE --lodge. --check reads the ledger alone. With --study the place is a width, as --at width=96.

    crossover predict runs.csv --x flops --by recipe --pair seed --at x=1e22 --lodge
    """
    if check or score:
        if study or at or gate:
            raise UsageError(_ALONE)
        _ledger(check, score, file, where, name, lodge, as_json)
        return
    require_outputs(file, plot, html)
    inputs, others = {"x": x, "N": n, "D": d}, {"loss": loss, "recipe": by, "pair": pair, "where": where}
    asked = _ask(file, inputs, others, one_place(at), runs, law, study, scale)
    if gate and not lodge:
        raise UsageError("--gate is a criterion that is fixed before the run: it needs --lodge")
    forecast = _forecast(asked, name, gate)
    written = write_answer(asked.prediction, forecast.name, plot, html)
    if lodge:
        _lodge(forecast, asked)
    if as_json:
        print_json(forecast.model_dump())
    else:
        _show(asked.prediction, forecast, lodge)
    note_written(*written)


def _ledger(
    check: bool, score: bool, file: Path | None, where: str | None, name: str | None, lodge: bool, as_json: bool
) -> None:
    """The questions that stand alone: is the ledger as it was, and how did its forecasts do?"""
    if (check and (score or file or lodge)) or (name and not file):
        raise UsageError(_ALONE)
    if lodge and file is None:
        raise UsageError("--score --lodge needs a file with what came; own studies are scored by their results")
    if check:
        _check(as_json)
    else:
        _score(file, where, name, lodge, as_json)


def _ask(
    file: Path | None, inputs: dict[str, str | None], others: dict[str, str | None], place: str | None, runs: int,
    law: str | None, study: str | None, scale: str | None,
) -> Asked:  # fmt: skip
    """Of a table, or of a study."""
    if (file is None) == (study is None):
        raise UsageError("name a file of runs, or a study with --study, --scale and --at width=96")
    if file is not None:
        return _of_table(file, inputs, others, place, runs, law)
    if study is None or scale is None or place is None:
        raise UsageError("a study's forecast needs --study, --scale and --at width=96")
    return require_project().ask_study(study, scale, place, law)


def _of_table(
    file: Path, inputs: dict[str, str | None], others: dict[str, str | None], at: str | None, count: int,
    law: str | None,
) -> Asked:  # fmt: skip
    from crossover.api.predict import predict as ask
    from crossover.runs.roles import POOLED

    columns = {key: text for key, text in (inputs | others).items() if text is not None}
    prediction = ask(
        file, at=at, x=inputs["x"], n=inputs["N"], d=inputs["D"], loss=str(others["loss"]), by=others["recipe"],
        pair=others["pair"], where=others["where"], runs=count, law=law,
    )  # fmt: skip
    if columns.get("recipe") == POOLED and list(prediction.recipes) == ["runs"]:
        del columns["recipe"]
    return Asked(prediction, f"{file.stem} {at}", file, columns)


def _forecast(asked: Asked, name: str | None, gate: str | None) -> "Forecast":
    from crossover.base.files import sha256_file
    from crossover.ledger.body import Forecast, Inputs
    from crossover.ledger.gate import read_gate
    from crossover.ledger.history import head

    found, evidence = asked.prediction, asked.prediction.evidence
    assert evidence is not None, "it has just been made from them"
    return Forecast(
        name=name or asked.name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=head(Path.cwd()),
        study=asked.study,
        columns=asked.columns,
        at=found.at,
        lever_arm_decades=found.lever_arm_decades,
        runs=found.runs,
        confidence=found.confidence,
        recipes=found.recipes,
        pairs=found.pairs,
        inputs=Inputs(
            source=str(asked.source), sha256=sha256_file(asked.source), rows=found.n_rows, digest=found.digest,
            places=evidence.places(), cells=asked.cells,
        ),
        nearest=evidence.nearest(found.at),
        gate=None if gate is None else read_gate(gate, found.recipes),
    )  # fmt: skip


def _lodge(forecast: "Forecast", asked: Asked) -> None:
    """Append to the ledger. Raises `UsageError` where it is no forecast, or there already."""
    from crossover.answers.predict import among
    from crossover.ledger.chain import LEDGER, append

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
    flaw = ledger.history.flaw
    if as_json:
        print_json({"ledger": str(LEDGER), "forecasts": forecasts, "outcomes": outcomes, "committed": witnessed,
                    "unproven": flaw})  # fmt: skip
        return
    print(f"{LEDGER}: {forecasts} forecast(s) and {outcomes} outcome(s)" + ("" if flaw else ", each as it was lodged"))
    if flaw:
        print(f"nothing is proven: {flaw}. The chain alone was checked, which lines cut off its end would not break")
    if witnessed is not None and witnessed < forecasts + outcomes:
        print(f"{forecasts + outcomes - witnessed} of them are not committed, so nothing witnesses them yet: "
              f"commit {LEDGER}")  # fmt: skip


def _score(file: Path | None, where: str | None, name: str | None, lodge: bool, as_json: bool) -> None:
    from crossover.base.hints import nearest
    from crossover.ledger.chain import LEDGER, append, read_ledger
    from crossover.ledger.outcomes import recorded
    from crossover.ledger.scoring import score_all

    ledger = read_ledger()
    names = [item.name for item in ledger.forecasts]
    if name is not None and name not in names:
        raise UsageError(f"{LEDGER}: no forecast is called '{name}'; {nearest(name, names)}")
    lookup = _own_losses if file is None else _table_losses(file, where, name)
    if file is not None and not any(lookup(item) for item in ledger.forecasts if item.study is None):
        raise UsageError(f"{file} has no finished run at the target of any lodged forecast, by that forecast's columns")
    if file is not None and lodge:
        append(LEDGER, lambda ledger: _outcomes(file, where, ledger, lookup))
        ledger = read_ledger()
    record = score_all(ledger.forecasts, recorded(ledger.outcomes, lookup), ledger)
    if as_json:
        print_json(record.to_json())
    else:
        _show_record(record)
        if lodge:
            print(f"lodged in {LEDGER}; commit it: the page keeps the record")


def _outcomes(file: Path, where: str | None, ledger: "Ledger", lookup: "Lookup") -> "list[Outcome]":
    """What came in a file and is not on record yet: what was lodged first stands, so that no rerun improves a score."""
    from crossover.base.files import sha256_file
    from crossover.ledger.body import Came, Outcome

    known = {(item.forecast, name) for item in ledger.outcomes for name in item.recipes}
    date, found = datetime.now(UTC).isoformat(timespec="seconds"), []
    for forecast in ledger.forecasts:
        came = {} if forecast.study else {
            name: Came(loss=one.loss, runs=one.runs)
            for name, one in lookup(forecast).items()
            if (forecast.name, name) not in known and one.runs >= forecast.runs
        }  # fmt: skip
        if came:
            found.append(
                Outcome(forecast=forecast.name, date=date, source=str(file), sha256=sha256_file(file), where=where,
                        recipes=came)
            )  # fmt: skip
    if not found:
        raise UsageError(f"what {file} holds at the targets of lodged forecasts is on record already; the first stands")
    return found


def _table_losses(file: Path, where: str | None, name: str | None) -> "Lookup":
    """Looks forecasts of tables up in this one, by their own columns, one by its name; own studies in their results."""
    from crossover.ledger.outcomes import first_seen, table_losses
    from crossover.runs.table import read_runs

    table = read_runs(file, where)

    def look(forecast: "Forecast") -> "Mapping[str, Realised]":
        if forecast.study:
            return _own_losses(forecast)
        if name is not None and forecast.name != name:
            return {}
        try:
            found = table_losses(forecast, table, where)
        except UsageError:  # another forecast's table, with other columns
            return {}
        commit = first_seen(forecast, file, where) if found else None
        return {recipe: replace(came, commit=commit) for recipe, came in found.items()}

    return look


def _own_losses(forecast: "Forecast") -> "Mapping[str, Realised]":
    """What a study of this project came to; nothing where no project is at hand."""
    project = find_project()
    return project.own_losses(forecast) if project and forecast.study else {}


def _show(prediction: "Prediction", forecast: "Forecast", lodged: bool) -> None:
    from crossover.ledger.chain import LEDGER
    from crossover.plots.blocks import show

    show(prediction.said(forecast.name))
    if gate := forecast.gate:
        show([f"gate: P({name} < {gate.below:g}) = {p:.3f}" for name, p in gate.p.items()])
    if lodged:
        show([f"lodged in {LEDGER}; commit it: from then on no change goes unseen"])


def _show_record(record: "Record") -> None:
    from crossover.ledger.words import score_rows, track_words
    from crossover.plots.blocks import show, table

    out = table("", "forecast", "recipe or pair", "forecast", "came", "error", "in s.d.", "", left=2)
    for row in score_rows(record.scores):
        out.add(*row)
    show([out, track_words(record.track)])
