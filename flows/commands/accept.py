"""The command `accept`: keep cells over a change of source that alters nothing."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossover.base.errors import DamageError
from crossover.cli.common import Json, print_json
from flows.commands.options import Scale, Studies
from flows.commands.verify import Tolerance, plans_of, record_of, show, to_json

if TYPE_CHECKING:
    from stages.cells.plan import Plan
    from stages.store.store import Payload, Record, Store


@dataclass(frozen=True)
class _Candidate:
    """A cell in the store under other source than today's, and the plan of today that wants it."""

    plan: "Plan"
    payload: "Payload"
    old: "Record"


def accept(
    verify: Annotated[int, typer.Option(min=1, help="So many cells are trained again first, drawn at random.")] = 5,
    study: Studies = None,
    scale: Scale = None,
    tolerance: Tolerance = None,
    seed: Annotated[int | None, typer.Option(help="Draw the same cells again.")] = None,
    source: Annotated[str | None, typer.Option(help="Of the earlier source whose digest begins so.")] = None,
    as_json: Json = False,
) -> None:
    """Keep finished cells after a change of source that is neutral.

    So that `dvc repro` need not train all of them again, it trains a sample. Where every sampled cell comes out as it
    did (see `crossover verify`), and so did all that were trained since the change, the other finished cells are kept
    under their new fingerprints, with both digests of the source in their records. Otherwise nothing is kept. Run
    `dvc repro` next.

    crossover accept --verify 6 --study lr_crossover --scale pocket
    """
    from stages.cells.again import compare_cells, require_reproduced
    from stages.cells.pool import run_pool
    from stages.store.store import Acceptance, store_from_environment

    store = store_from_environment()
    listed, others = _candidates(store, plans_of(study, scale), source)
    candidates = {item.payload.fingerprint: item for item in listed}
    rest = sorted(name for name in candidates if store.record(name) is None)
    if not rest:
        where = f"the store, of source {source}," if source else "the store"
        why = f"nothing to accept: no finished cell in {where} differs from one planned today in its source alone"
        _tell(as_json, [why], again=[], kept=[], others=[])
        return
    before = {name: candidates[name].old for name in rest}
    if not as_json:
        print(f"cells of source {before[rest[0]].payload.source[:12]}, the last of {_last(before)}")
    sample = random.Random(seed).sample(rest, min(verify, len(rest)))  # noqa: S311 (no secret)
    # Whoever asks again after a refusal is not given another draw alone: what was trained before still counts.
    drawn = sorted({*sample, *(name for name in candidates if name not in rest)})
    for plan in {id(item.plan): item.plan for item in candidates.values()}.values():
        run_pool(plan, [name for name in drawn if candidates[name].plan is plan], store)
    found = [
        compare_cells(store, candidates[name].old, store, record_of(store, name), candidates[name].plan)
        for name in drawn
    ]
    if not as_json:
        show(found)
    require_reproduced(found, tolerance, "nothing is kept: undo the change, or let `dvc repro` train the others again")
    allowed = max((abs(item.difference or 0.0) for item in found if not item.identical), default=0.0)
    for name, item in candidates.items():
        if name not in drawn:
            old = item.old
            grounds = Acceptance(
                fingerprint=old.fingerprint, source=old.payload.source, verified=sorted(drawn), tolerance=allowed
            )
            store.accept(old, item.payload, grounds, item.plan.evaluation(item.payload.cell))
    kept = sorted(set(candidates) - set(drawn))
    lines = [f"{len(drawn)} cells trained again came out as before; {len(kept)} others are kept"]
    if others:
        options = " or ".join(f"--source {name[:12]}" for name in others)
        lines.append(f"for cells that this source lacks ask again, {options}")
    _tell(as_json, lines, again=to_json(found, tolerance), kept=kept, others=others)


def _tell(as_json: bool, lines: list[str], **body: Any) -> None:
    if as_json:
        print_json(body)
    else:
        print("\n".join(lines))


def _candidates(store: "Store", recorded: "list[Plan]", of: str | None) -> "tuple[list[_Candidate], list[str]]":
    """Cells in the store of one earlier source, wanted today with nothing else changed; and what other sources have.

    Of the sources that have cells still missing under today's: the one whose digest begins with `of`, else one that the
    recorded plans name, else the latest. Some of its cells may have been trained by today's source too.
    """
    from stages.cells.plan import make_plan
    from stages.shards.index import read_index
    from stages.study.params import load_params

    params, index = load_params(), read_index()
    plans = [make_plan(params, plan.study, plan.scale, index) for plan in recorded]
    wanted = {name: (plan, plan.payload(cell)) for plan in plans for name, cell in plan.cells.items()}
    planned = {name for plan in recorded for name in plan.cells}
    found = _earlier(store, planned, {name: payload for name, (_, payload) in wanted.items()})
    missing = {source: [name for name in cells if store.record(name) is None] for source, cells in found.items()}
    waiting = [source for source, names in missing.items() if names and source.startswith(of or "")]
    if not waiting:
        return [], []
    recent = {name for name in waiting if any(old.fingerprint in planned for old in found[name].values())}
    chosen = max(waiting, key=lambda name: (name in recent, _last(found[name])))
    candidates = [
        _Candidate(*wanted[name], old)
        for name, old in found[chosen].items()
        if (new := store.record(name)) is None or not new.accepted
    ]
    return candidates, [name for name in missing if set(missing[name]) - set(missing[chosen])]


def _earlier(store: "Store", planned: set[str], wanted: "dict[str, Payload]") -> "dict[str, dict[str, Record]]":
    """Records of wanted cells under other source, by that and by the cell's fingerprint today.

    Of what lies in the store here, and of what recorded plans name, which may lie in a remote one.
    """
    from stages.store.names import is_fingerprint

    today = {_but_source(payload): name for name, payload in wanted.items()}
    found: dict[str, dict[str, Record]] = {}
    here = {path.parent.name for path in store.root.glob("*/record.json") if is_fingerprint(path.parent.name)}
    for name in sorted((planned | here) - set(wanted)):
        try:
            record = store.record(name)
        except DamageError as error:
            print(f"left out: {error}")
            continue
        if record and (target := today.get(_but_source(record.payload))):
            found.setdefault(record.payload.source, {})[target] = record
    return found


def _last(records: "dict[str, Record]") -> str:
    return max(record.provenance.started for record in records.values())


def _but_source(payload: "Payload") -> str:
    return payload.model_copy(update={"source": ""}).fingerprint
