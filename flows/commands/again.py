"""What `verify` and `accept` share: whose cells, and what came of training them again."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from crossover.base.errors import UsageError

if TYPE_CHECKING:
    from stages.cells.again import Again
    from stages.cells.plan import Plan
    from stages.study.store import Record, Store

Keys = Annotated[list[str] | None, typer.Option("--study", help="A study-scale; all active ones where absent.")]
Tolerance = Annotated[
    float | None, typer.Option(min=0.0, help="Nats by which held-out losses may differ; 0 asks for the same bits.")
]


def record_of(store: "Store", fingerprint: str) -> "Record":
    """Of a cell that is known to be finished."""
    record = store.record(fingerprint)
    assert record is not None, "it has just been finished, or listed"
    return record


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
            how = f"held-out loss differs by {item.difference:+.2g} nats, {where}"
        print(f"{item.fingerprint[:12]} (width {item.width}, seed {item.seed}): {how}")


def plans_of(keys: list[str] | None) -> "list[Plan]":
    """Recorded plans of the studies named, else of all active ones. Raises `UsageError` for one that is not."""
    from crossover.base.hints import nearest
    from stages.cells.plan import folder, read_plan
    from stages.study.params import PARAMS, load_params

    active = load_params().active
    for key in keys or []:
        if key not in active:
            raise UsageError(f"--study {key} is not active in {PARAMS}; {nearest(key, list(active))}")
    planned = [key for key, item in active.items() if (folder(item.study, item.scale) / "plan.json").exists()]
    return [read_plan(active[key].study, active[key].scale) for key in keys or planned or active]
