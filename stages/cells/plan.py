"""The plan as an artifact: every row of a study at a scale with the fingerprint of its cell.

Whoever trains, evaluates or checks reads this file and nothing else of params.yaml; nobody globs a folder.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from crossover.base.canonical import canonical_json, digest
from crossover.base.errors import DamageError, UsageError
from crossover.base.files import read_json, sha256_text
from stages.shards.index import strange_name
from stages.shards.manifest import Index, Text
from stages.store.store import Payload
from stages.study.cell import Cell
from stages.study.collector import no_collection
from stages.study.identity import ROOT, source_digest
from stages.study.params import Params, Scale
from stages.study.plan import Row, hours, plan_rows, require_budget, require_memory
from stages.study.trainers import Command

STUDIES = Path("data/studies")
TRAINING = ("stages.train.loop",)
EVALUATION = ("stages.evaluate.losses",)


class PlannedCommand(Command):
    """A command that trains cells, with the digest of its sources."""

    source: str


class PlannedRow(Row):
    """A row with the identity of its cell."""

    fingerprint: str


class Plan(BaseModel):
    """A study at a scale, ready to be run by somebody who has only this file, the shards and the source."""

    model_config = ConfigDict(extra="forbid")

    study: str
    scale: str
    text_name: str
    text: Text
    """Cut to the shards that the plan reads."""
    source: str
    validation_tokens: int
    seen_tokens: int
    evaluation_digest: str
    """Of the held-out data, the settings and the code of the evaluation."""
    keep: Literal["none", "final"]
    trainers: dict[str, PlannedCommand] = {}
    """Commands that train cells instead of our loop, by the name that a cell has for them."""
    rows: list[PlannedRow]

    @model_validator(mode="after")
    def _names_shards_alone(self) -> Self:
        if (strange := strange_name(self.text_name, self.text)) is not None:
            raise ValueError(f"{strange[:200]!r} is no shard of a text")
        return self

    def payload(self, cell: Cell) -> Payload:
        """What the fingerprint of one of the plan's cells hashes."""
        return _payload(cell, self.text, self.source, self.trainers)

    def evaluation(self, cell: Cell) -> str:
        """Digest of what decides the losses of a trained cell: `evaluation_digest`, and the windows it never saw.

        Where a program trains and evaluates it, our code of the evaluation has no part in that.
        """
        stream = self.text.digests("train", cell.reach(self.seen_tokens))
        if cell.trainer:
            held_out = self.text.digests("validation", self.validation_tokens + 1)
            return digest([self.validation_tokens, self.seen_tokens, held_out, stream])
        return digest([self.evaluation_digest, stream])

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Every distinct cell by fingerprint, in the order of the rows."""
        return {row.fingerprint: row.cell for row in self.rows}

    @cached_property
    def _row_of(self) -> dict[str, PlannedRow]:
        return {row.fingerprint: row for row in reversed(self.rows)}  # the first of those that share a cell

    @no_collection()
    def to_json(self) -> dict[str, Any]:
        """Plain values for `plan_from_json`; what all cells have in common is said once, under `cell`."""
        cells = [_told(row.cell) for row in self.rows]
        common = {name: value for name, value in cells[0].items() if all(cell.get(name) == value for cell in cells)}
        rows = [
            {**row.model_dump(exclude={"cell"}), "cell": {k: v for k, v in cell.items() if k not in common}}
            for row, cell in zip(self.rows, cells, strict=True)
        ]
        plan = self.model_dump(exclude={"rows"} if self.trainers else {"rows", "trainers"})
        return {**plan, "cell": common, "rows": rows}

    def only(self, fingerprint: str) -> "Plan":
        """The plan of one cell, small enough to travel with it."""
        fields = {name: getattr(self, name) for name in Plan.model_fields}
        return Plan.model_construct(**{**fields, "rows": [self._row_of[fingerprint]]})

    def require_this_source(self) -> None:
        """Refuse to train under a fingerprint that speaks of other source. Raises `UsageError`."""
        evaluation = _evaluation_digest(self.text, self.validation_tokens, self.seen_tokens)
        ours = (source_digest(*TRAINING), evaluation) == (self.source, self.evaluation_digest)
        if not ours or any(item.digest() != item.source for item in self.trainers.values()):
            raise UsageError(
                f"the source in {ROOT} is not the one that {self.study}-{self.scale} was planned with; "
                f"bring it to the same commit, or run `dvc repro plan@{self.study}-{self.scale}`"
            )


def _payload(cell: Cell, text: Text, source: str, trainers: Mapping[str, PlannedCommand]) -> Payload:
    return Payload(
        cell=cell,
        tokenizer=text.tokenizer_digest,
        data=text.digests("train", cell.unique_tokens + 1),
        source=trainers[cell.trainer].source if cell.trainer else source,
    )


def _told(cell: Cell) -> dict[str, Any]:
    """`cell.model_dump()` in a tenth of its time."""
    return {name: value for name, value in cell.__dict__.items() if value or name not in ("trainer", "options")}


def _fingerprinter(text: Text, source: str, trainers: Mapping[str, PlannedCommand]) -> Callable[[Cell], str]:
    """For many cells: `Payload.fingerprint` of a cell, with what some have in common written once."""

    @cache
    def rest(tokens: int, trained_by: str) -> str:
        data = text.digests("train", tokens)
        return canonical_json({"data": data, "source": trained_by, "tokenizer": text.tokenizer_digest})[1:]

    around_seed: dict[tuple[Any, ...], tuple[str, str]] = {}

    def make(cell: Cell) -> str:
        told = _told(cell)
        seed = told.pop("seed")
        key = tuple(told.values())
        around = around_seed.get(key) if not cell.options else None  # True equals 1 there, and is written otherwise
        if around is None:
            trained_by = trainers[cell.trainer].source if cell.trainer else source
            whole = f'{{"cell":{canonical_json({**told, "seed": 0})},{rest(cell.unique_tokens + 1, trained_by)}'
            before, after = whole.split('"seed":0', 1)
            around = around_seed[key] = f'{before}"seed":', after
        return sha256_text(f"{around[0]}{seed}{around[1]}")

    return make


def _commands(cells: Iterable[Cell], trainers: Mapping[str, Command]) -> dict[str, PlannedCommand]:
    """The commands that the cells name, with what their sources are now."""
    named = {name: trainers[name] for name in sorted({cell.trainer for cell in cells if cell.trainer})}
    return {name: PlannedCommand(**dict(item), source=item.digest()) for name, item in named.items()}


@no_collection()
def make_plan(params: Params, study_name: str, scale_name: str, index: Index) -> Plan:
    """The plan of a study at a scale over the tokenized text in `index`."""
    study, scale = params.study(study_name), params.scale(scale_name)
    if scale.text not in index.texts:
        raise UsageError(f"text {scale.text} is not tokenized; activate {study_name}-{scale_name} and run `dvc repro`")
    rows = plan_rows(study, scale)
    require_budget(params, study_name, scale_name, hours({row.cell for row in rows}, scale))
    require_memory(scale_name, scale, (row.cell for row in rows))
    most = max(row.cell.reach(scale.seen_tokens) for row in rows)
    text = _cut(index.texts[scale.text], most, scale.validation_tokens + 1)
    source, trainers = source_digest(*TRAINING), _commands((row.cell for row in rows), params.trainers)
    fingerprint = _fingerprinter(text, source, trainers)
    return Plan(
        study=study_name,
        scale=scale_name,
        text_name=scale.text,
        text=text,
        source=source,
        validation_tokens=scale.validation_tokens,
        seen_tokens=scale.seen_tokens,
        evaluation_digest=_evaluation_digest(text, scale.validation_tokens, scale.seen_tokens),
        keep=scale.keep,
        trainers=trainers,
        rows=[PlannedRow.model_construct(**row.__dict__, fingerprint=fingerprint(row.cell)) for row in rows],
    )


def _evaluation_digest(text: Text, validation_tokens: int, seen_tokens: int) -> str:
    settings = {"validation_tokens": validation_tokens, "seen_tokens": seen_tokens}
    held_out = text.digests("validation", validation_tokens + 1)
    return digest({**settings, "data": held_out, "source": source_digest(*EVALUATION)})


def payload(cell: Cell, params: Params, scale: Scale, index: Index) -> Payload:
    """What the fingerprint of a cell hashes today. Its text must be tokenized."""
    return _payload(cell, index.texts[scale.text], source_digest(*TRAINING), _commands([cell], params.trainers))


@no_collection()
def fingerprints(rows: list[Row], params: Params, scale: Scale, index: Index) -> list[str | None]:
    """Of every row's cell; None where the text is not tokenized that far yet."""
    text = index.texts.get(scale.text)
    if text is None:
        return [None] * len(rows)
    fingerprint = _fingerprinter(text, source_digest(*TRAINING), _commands((row.cell for row in rows), params.trainers))
    tokens = text.train.tokens
    return [fingerprint(row.cell) if tokens > row.cell.unique_tokens else None for row in rows]


def _cut(text: Text, train_tokens: int, validation_tokens: int) -> Text:
    """The text without the shards that a plan does not read, so that other studies' needs do not change the plan."""
    cut = text.model_copy(deep=True)
    for split, tokens in ((cut.train, train_tokens), (cut.validation, validation_tokens)):
        count = -(-tokens // text.shard_tokens)
        split.exhausted = split.exhausted and count >= len(split.shards)
        split.shards = split.shards[:count]
    cut.identity = ""  # decides whether tokens are made again, not what they are
    return cut


def folder(study: str, scale: str) -> Path:
    """Where the larger artifacts of a study at a scale live."""
    return STUDIES / f"{study}-{scale}"


@no_collection()
def plan_from_json(body: Any) -> Plan:
    """The plan that `Plan.to_json` told, or an older one, whose rows say all of their cells.

    Raises `KeyError`, `TypeError`, `AttributeError` or `ValidationError` for anything else.
    """
    return Plan.model_validate({**{k: v for k, v in body.items() if k != "cell"}, "rows": _whole_rows(body)})


def _whole_rows(body: Any) -> list[dict[str, Any]]:
    """The rows of a plan's JSON with what their cells have in common."""
    common = body.get("cell", {})
    return [{**row, "cell": {**common, **row["cell"]}} for row in body["rows"]]


Place = tuple[str, int, str, int]


def place(row: Row) -> Place:
    """Where a row stands in its study, whatever its cell is: recipe, width, axes, seed."""
    return row.recipe, row.cell.width, repr(sorted(row.axes.items())), row.cell.seed


def planned_before(study: str, scale: str) -> dict[Place, str]:
    """Fingerprints of the recorded plan by place, not checked against their cells; none where there is no plan."""
    path = folder(study, scale) / "plan.json"
    if not path.exists():
        return {}
    remedy = f"run `dvc repro plan@{study}-{scale}`"
    body = read_json(path, remedy)
    try:
        return {
            (row["recipe"], row["cell"]["width"], repr(sorted(row["axes"].items())), row["cell"]["seed"]): row[
                "fingerprint"
            ]
            for row in _whole_rows(body)
        }
    except (KeyError, TypeError, AttributeError):
        raise DamageError(f"{path} is no plan of this version; {remedy}") from None


def read_plan(study: str, scale: str) -> Plan:
    """The recorded plan. Raises `DamageError` where it is missing or broken."""
    path = folder(study, scale) / "plan.json"
    remedy = f"run `dvc repro plan@{study}-{scale}`"
    try:
        plan = plan_from_json(read_json(path, remedy))
    except ValidationError as error:
        raise DamageError(f"{path}: {error.errors()[0]['msg']}; {remedy}") from None
    except (KeyError, TypeError, AttributeError):
        raise DamageError(f"{path} is no plan of this version; {remedy}") from None
    fingerprint = _fingerprinter(plan.text, plan.source, plan.trainers)
    for row in plan.rows:
        if row.fingerprint != fingerprint(row.cell):
            raise DamageError(
                f"{path}: {row.recipe}, width {row.cell.width}, is not what its fingerprint says; {remedy}"
            )
    return plan
