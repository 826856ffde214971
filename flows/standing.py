"""Where every active study stands: the plan that params.yaml, the tokens and the source imply now, minus the store.

A cell is *stale* when the recorded plan had it, under another fingerprint, in the store: something that decides it
has changed since, and the payloads say which field. It is *missing* when it was never trained.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from stages.cells.plan import Plan, PlannedRow, folder, make_plan, read_plan
from stages.shards.manifest import read_index
from stages.study.errors import CrossoverError
from stages.study.params import Params
from stages.study.plan import plan_rows
from stages.study.store import Payload, Store, store_from_environment


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


def study_status(params: Params, study: str, scale: str) -> StudyStatus:
    """Where one study stands. Needs no torch; without tokens every cell is missing."""
    store = store_from_environment()
    try:
        plan = make_plan(params, study, scale, read_index())
    except CrossoverError as error:
        rows = plan_rows(params.study(study), params.scale(scale))
        cells = len({row.cell for row in rows})
        return StudyStatus(study, scale, len(rows), cells, 0, 0, 0, 0, cells, [f"no tokens yet: {error}"])
    return _compare(plan, _recorded(study, scale), store)


def _recorded(study: str, scale: str) -> Plan | None:
    return read_plan(study, scale) if (folder(study, scale) / "plan.json").exists() else None


def _compare(plan: Plan, recorded: Plan | None, store: Store) -> StudyStatus:
    before = {_place(row): row for row in recorded.rows} if recorded else {}
    states: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    notes = []
    for row in plan.rows:
        if row.fingerprint in states:
            continue
        state = states[row.fingerprint] = _state(row, before.get(_place(row)), store)
        if state == "stale" and recorded:
            old = recorded.payload(before[_place(row)].cell)
            reasons.update(changed_fields(old, plan.payload(row.cell)))
        if state == "failed":
            notes.append(f"{row.fingerprint[:12]} (width {row.cell.width}) failed: {store.failure(row.fingerprint)}")
    notes += [f"{count} stale: {reason}" for reason, count in reasons.most_common()]
    counts = Counter(states.values())
    return StudyStatus(
        study=plan.study,
        scale=plan.scale,
        rows=len(plan.rows),
        expected=len(states),
        **{name: counts[name] for name in ("done", "diverged", "failed", "stale", "missing")},
        notes=notes,
    )


def _place(row: PlannedRow) -> tuple[str, int, str, int]:
    """Where a row stands in its study, whatever its cell is."""
    return row.recipe, row.cell.width, repr(sorted(row.axes.items())), row.cell.seed


def _state(row: PlannedRow, before: PlannedRow | None, store: Store) -> str:
    if record := store.record(row.fingerprint):
        return record.status
    if store.failure(row.fingerprint):
        return "failed"
    moved = before is not None and before.fingerprint != row.fingerprint and store.record(before.fingerprint)
    return "stale" if moved else "missing"


def changed_fields(old: Payload, new: Payload) -> list[str]:
    """What differs between two payloads, field by field."""
    names = {"tokenizer": "the tokenizer", "data": "the training tokens", "source": "the training source"}
    changed = [f"{text} changed" for name, text in names.items() if getattr(old, name) != getattr(new, name)]
    a, b = old.cell.model_dump(), new.cell.model_dump()
    return changed + [f"{name}: {a[name]} -> {b[name]}" for name in a if a[name] != b[name]]
