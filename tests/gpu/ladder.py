"""Cells of the packed plan into a store of their own, by the code of a pool's worker, until the time is up."""

import os
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.gpu.phases import Context

if TYPE_CHECKING:  # only after the packed wheels are installed
    from stages.cells.plan import Plan, PlannedRow

STORE = Path(os.environ.get("CROSSOVER_GPU_STORE", tempfile.gettempdir() + "/crossover-gpu-store"))
ARCHIVE = "cells.tgz"


def ladder(context: Context) -> None:
    """Study after study: whole seeds of the first pair of recipes, narrow cells first, then of the next pair."""
    import torch

    from crossover.base.errors import Interrupted
    from stages.cells.one import Worker
    from stages.store.store import Store
    from tests.gpu.shapes import device
    from tests.gpu.warming import packed_plans

    torch.set_num_threads(1 if context.miniature else 4)
    torch.set_flush_denormal(True)
    plans = packed_plans()
    total = len({name for plan in plans for name in plan.cells})
    done: dict[str, list[object]] = {}
    failed = {}
    for plan, row in ((each, row) for each in plans for row in _in_order(each)):
        fingerprint = row.fingerprint
        if fingerprint in done:
            continue
        started = time.time()
        try:
            record = Worker(plan, Store(STORE), device()).complete(fingerprint, lambda _: None, context.over)
        except Interrupted:
            break
        except Exception as error:  # the others go on
            failed[fingerprint[:12]] = f"{type(error).__name__}: {error}"
        else:
            took = round(time.time() - started, 1)
            where = [plan.study, row.recipe, row.axes, row.cell.width, row.cell.seed]
            done[fingerprint] = [*where, record.status, record.loss_online, took]
            print(f"{len(done)} of {total}: {done[fingerprint]}", flush=True)
        found = {"done": len(done), "of": total, "failed": failed, "cells": list(done.values())}
        context.keep("ladder", found)
        if context.over():
            break
    if failed:
        raise SystemExit(1)


def _in_order(plan: "Plan") -> "list[PlannedRow]":
    """A row of every cell, the most telling first."""
    first = {row.fingerprint: row for row in reversed(plan.rows)}
    place = {name: number for number, name in enumerate(dict.fromkeys(row.recipe for row in plan.rows))}

    def telling(row: "PlannedRow") -> tuple[int, int, int, int]:
        return place[row.recipe] // 2, row.cell.seed, row.cell.width, place[row.recipe]

    return sorted(first.values(), key=telling)


def pack_store(out: Path) -> None:
    """Whole cells only, into one archive."""
    with tarfile.open(out / ARCHIVE, "w:gz") as archive:
        for record in sorted(STORE.glob("*/record.json")):
            for path in sorted(record.parent.iterdir()):
                archive.add(path, f"{record.parent.name}/{path.name}")
