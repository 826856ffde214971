"""The command `verify`: finished cells are trained again beside the store, and compared; `accept` does so too."""

import random
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossover.base.errors import UsageError
from crossover.base.numerals import short
from crossover.cli.common import Json
from flows.commands.options import Scale, Studies, active_keys

if TYPE_CHECKING:
    from stages.cells.again import Again
    from stages.cells.plan import Plan
    from stages.store.store import Record, Store

Tolerance = Annotated[
    float | None, typer.Option(min=0.0, help="Nats by which held-out losses may differ; 0 asks for the same bits.")
]


def verify(
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="So many cells, drawn at random.")] = 1,
    study: Studies = None,
    scale: Scale = None,
    tolerance: Tolerance = None,
    seed: Annotated[int | None, typer.Option(help="Draw the same cells again.")] = None,
    as_json: Json = False,
) -> None:
    """Train finished cells again, beside the store, and compare.

    Bit by bit on the CPU and build that trained them, within 0.02 nats of held-out loss on a GPU or elsewhere, or
    within --tolerance. Exit code 1 where one does not. The store is left as it is.

    crossover verify -k 3 --study lr_crossover --scale pocket
    """
    from crossover.cli.common import print_json
    from stages.cells.again import compare_cells, require_reproduced
    from stages.cells.pool import run_pool
    from stages.store.store import Store, store_from_environment

    store, plans = store_from_environment(), plans_of(study, scale)
    finished = {
        fingerprint: (plan, record)
        for plan in plans
        for fingerprint in plan.cells
        if (record := store.record(fingerprint))
    }
    if not finished:
        raise UsageError("the store holds no finished cell of these studies; run `dvc repro`")
    drawn = random.Random(seed).sample(sorted(finished), min(count, len(finished)))  # noqa: S311 (no secret)
    found = []
    with tempfile.TemporaryDirectory(prefix="crossover-") as folder:
        beside = Store(Path(folder))
        for plan in plans:
            here = [name for name in drawn if finished[name][0] is plan]
            if here:
                plan.require_this_source()
                run_pool(plan, here, beside)
            found += [compare_cells(store, finished[name][1], beside, record_of(beside, name), plan) for name in here]
    if as_json:
        print_json(to_json(found, tolerance))
    else:
        show(found)
    require_reproduced(
        found, tolerance, "where another build or device explains it, `--tolerance` says what difference is allowed"
    )


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
