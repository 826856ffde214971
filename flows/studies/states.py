"""Where every active study stands: the plan that params.yaml, the tokens and the source imply now, minus the store.

A cell is *stale* when the recorded plan had it, under another fingerprint, in the store: something that decides it
has changed since, and the payloads say which field. It is *missing* when it was never trained.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from stages.cells.plan import fingerprints, payload, place, planned_before
from stages.shards.index import read_index
from stages.shards.manifest import INDEX, Index
from stages.store.store import Payload, store_from_environment
from stages.study.cell import Cell
from stages.study.collector import no_collection
from stages.study.params import Params
from stages.study.plan import plan_rows


@dataclass(frozen=True)
class StudyStatus:
    """Counts of distinct cells; `notes` explain in words."""

    study: str
    scale: str
    rows: int
    expected: int
    done: int
    diverged: int
    failed: int
    stale: int
    missing: int
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@no_collection()
def study_status(params: Params, study: str, scale: str, changed: Mapping[str, str] | None = None) -> StudyStatus:
    """Where one study stands. Needs no torch; cells beyond the tokenized text are missing.

    `changed` says of texts why they are no longer what they would be.
    """
    store, before = store_from_environment(), cache(lambda: planned_before(study, scale))  # often nobody asks
    index = read_index() if INDEX.exists() else Index(texts={})
    states: dict[str | Cell, str] = {}  # by fingerprint where there is one: a text has its hash at hand
    reasons: Counter[str] = Counter()
    notes = []
    size = params.scale(scale)
    rows = plan_rows(params.study(study), size)
    known = list(zip(rows, fingerprints(rows, params, size, index), strict=True))
    for row, fingerprint in known:
        distinct = fingerprint or row.cell
        if distinct in states:
            continue
        found = fingerprint and (store.status(fingerprint) or ("failed" if store.failure(fingerprint) else None))
        former = None if found or fingerprint is None else before().get(place(row))
        moved = former is not None and former != fingerprint and store.status(former)
        state = states[distinct] = found or ("stale" if moved else "missing")
        if moved and former and (record := store.record(former)):
            reasons.update(changed_fields(record.payload, payload(row.cell, params, size, index)))
        if state == "failed" and fingerprint:
            notes.append(f"{fingerprint[:12]} (width {row.cell.width}) failed: {store.failure(fingerprint)}")
    if why := (changed or {}).get(size.text):
        notes.append(f"text {size.text} is not what it would be now: {why}")
    notes += [f"{count} stale: {reason}" for reason, count in reasons.most_common()]
    if "the training source changed" in reasons:
        notes.append(
            "if that change should alter no result, `crossover accept` trains a sample again and keeps the rest"
        )
    if beyond := len({row.cell for row, fingerprint in known if fingerprint is None}):
        notes.append(f"{beyond} missing need more text than is tokenized; `dvc repro` tokenizes it")
    counts = Counter(states.values())
    return StudyStatus(
        study=study,
        scale=scale,
        rows=len(known),
        expected=len(states),
        **{name: counts[name] for name in ("done", "diverged", "failed", "stale", "missing")},
        notes=notes,
    )


def changed_fields(old: Payload, new: Payload) -> list[str]:
    """What differs between two payloads, field by field."""
    parts = {"tokenizer": "the tokenizer", "data": "the training tokens", "source": "the training source"}
    changed = [f"{text} changed" for name, text in parts.items() if getattr(old, name) != getattr(new, name)]
    a, b = old.cell.model_dump(), new.cell.model_dump()
    fields = dict.fromkeys((*a, *b))
    return changed + [f"{name}: {a.get(name)} -> {b.get(name)}" for name in fields if a.get(name) != b.get(name)]
