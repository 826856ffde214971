"""The command `verify`: finished cells are trained again beside the store, and compared."""

import random
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from crossover.base.errors import UsageError
from crossover.cli.common import Json
from flows.commands.options import Scale, Studies
from flows.studies.again import Tolerance, plans_of, record_of, show, to_json


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
