"""The whole grid of the default study: time in training steps over the cores' time, from an empty store.

Trains every cell of lr_crossover-pocket into a store of its own with the pool that `dvc repro` uses. The steps' time is
what each cell's record says: the loop from its first step to its last, without imports, evaluation or records. What
evaluation takes is told beside it: the same pool evaluates every cell once more, from its weights. The wall time is
also told as a multiple of what `crossover plan` predicts. Needs the tokens and the plan: `make study` first.
"""

import tempfile
import time
from pathlib import Path

from stages.cells.plan import Plan, read_plan
from stages.cells.pool import run_pool
from stages.store.store import Store
from stages.study.costs import seconds
from stages.study.params import load_params
from tests.bench.keeping import CORES, keep


def main() -> None:
    """Measure, print and keep."""
    plan = read_plan("lr_crossover", "pocket")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        wall = _seconds(plan, store)
        records = [record for name in plan.cells if (record := store.record(name))]
        for path in Path(folder).glob("*/evaluation-*.json"):
            path.unlink()
        evaluation = _seconds(plan, store)
    scale = load_params().scale("pocket")
    predicted = sum(seconds(cell, scale) for cell in plan.cells.values())
    steps, tokens = sum(r.provenance.seconds for r in records), sum(r.payload.cell.tokens for r in records)
    print(
        f"{len(records)} cells in {wall:.0f} s, {steps:.0f} core-seconds of steps: {steps / (CORES * wall):.1%} of "
        f"{CORES} cores, and {evaluation / wall:.1%} in evaluation; {tokens / wall:,.0f} tokens/s; "
        f"{wall / predicted:.2f} times what was predicted"
    )
    keep("grid", {
        "cells": len(records), "wall_seconds": wall, "step_seconds": steps, "efficiency": steps / (CORES * wall),
        "evaluation_seconds": evaluation, "with_evaluation": steps / (CORES * wall) + evaluation / wall,
        "tokens_per_second": tokens / wall, "wall_over_predicted": wall / predicted,
    })  # fmt: skip


def _seconds(plan: Plan, store: Store) -> float:
    started = time.monotonic()
    run_pool(plan, list(plan.cells), store)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
