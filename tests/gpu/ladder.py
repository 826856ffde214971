"""Cells of the packed plan into a store of their own, by the code of a pool's worker, until the time is up."""

import os
import tarfile
import tempfile
import time
from pathlib import Path

from tests.gpu.phases import Context

STORE = Path(os.environ.get("CROSSOVER_GPU_STORE", tempfile.gettempdir() + "/crossover-gpu-store"))
ARCHIVE = "cells.tgz"


def ladder(context: Context) -> None:
    """Whole seeds of the first pair of recipes, narrow cells first, then of the next pair."""
    import torch

    from crossover.base.errors import Interrupted
    from stages.cells.one import Worker
    from stages.cells.plan import read_plan
    from stages.store.store import Store
    from tests.gpu.shapes import device
    from tests.gpu.warming import SCALE, STUDY

    torch.set_num_threads(1 if context.miniature else 4)
    torch.set_flush_denormal(True)
    plan = read_plan(STUDY, SCALE)
    first = {row.fingerprint: row for row in reversed(plan.rows)}
    place = {name: number for number, name in enumerate(dict.fromkeys(row.recipe for row in plan.rows))}

    def telling(fingerprint: str) -> tuple[int, int, int, int]:
        row = first[fingerprint]
        return place[row.recipe] // 2, row.cell.seed, row.cell.width, place[row.recipe]

    worker, done, failed = Worker(plan, Store(STORE), device()), [], {}
    for fingerprint in sorted(first, key=telling):
        started, row = time.time(), first[fingerprint]
        try:
            record = worker.complete(fingerprint, lambda _: None, context.over)
        except Interrupted:
            break
        except Exception as error:  # the others go on
            failed[fingerprint[:12]] = f"{type(error).__name__}: {error}"
        else:
            took = round(time.time() - started, 1)
            done.append([row.recipe, row.cell.width, row.cell.seed, record.status, record.loss_online, took])
            print(f"{len(done)} of {len(first)}: {done[-1]}", flush=True)
        context.keep("ladder", {"done": len(done), "of": len(first), "failed": failed, "cells": done})
        if context.over():
            break
    if failed:
        raise SystemExit(1)


def pack_store(out: Path) -> None:
    """Whole cells only, into one archive."""
    with tarfile.open(out / ARCHIVE, "w:gz") as archive:
        for record in sorted(STORE.glob("*/record.json")):
            for path in sorted(record.parent.iterdir()):
                archive.add(path, f"{record.parent.name}/{path.name}")
