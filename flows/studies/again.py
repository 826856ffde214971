"""What `verify` and `accept` share: whose cells, and what came of training them again."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossover.base.numerals import short
from flows.commands.options import active_keys

if TYPE_CHECKING:
    from stages.cells.again import Again
    from stages.cells.plan import Plan
    from stages.store.store import Record, Store

Tolerance = Annotated[
    float | None, typer.Option(min=0.0, help="Nats by which held-out losses may differ; 0 asks for the same bits.")
]


def record_of(store: "Store", fingerprint: str) -> "Record":
    """Of a cell that is known to be finished."""
    record = store.record(fingerprint)
    assert record is not None, "it has just been finished, or listed"
    return record


def to_json(found: "Iterable[Again]", tolerance: float | None) -> list[dict[str, Any]]:
    """What came of each cell, and whether that reproduces it."""
    return [asdict(item) | {"reproduces": item.reproduces(tolerance)} for item in found]


def show(found: "Iterable[Again]") -> None:
    """A line per cell that was trained again."""
    for item in found:
        how = "the same bits" if item.identical else "one of the two diverged"
        if not item.identical and item.difference is not None:
            where = (
                ("on a GPU" if item.on_gpu else "on the same build")
                if item.same_build
                else "on another device or build"
            )
            how = f"held-out loss differs by {short(item.difference, 2, sign='+')} nats, {where}"
        print(f"{item.fingerprint[:12]} (width {item.width}, seed {item.seed}): {how}")


def plans_of(studies: list[str] | None, scale: str | None) -> "list[Plan]":
    """Recorded plans of the studies chosen; of all active ones those that have been planned."""
    from stages.cells.plan import folder, read_plan
    from stages.study.params import load_params

    active, keys = load_params().active, active_keys(studies, scale)
    planned = [key for key in keys if (folder(active[key].study, active[key].scale) / "plan.json").exists()]
    return [read_plan(active[key].study, active[key].scale) for key in (keys if studies else planned or keys)]
