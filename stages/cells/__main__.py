"""The stages `plan`, `train` and `evaluate` of one study at one scale.

python -m stages.cells plan lr_crossover pocket      params.yaml and token index -> plan.json
python -m stages.cells train lr_crossover pocket     plan.json -> cells/ (only what the store lacks is trained)
python -m stages.cells evaluate lr_crossover pocket  plan.json and the store -> losses, runs, curves, blocks
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from crossover.base.entry import guarded
from crossover.base.errors import CrossoverError
from crossover.base.files import write_json
from stages.cells.assemble import evaluate_all, write_tables
from stages.cells.locking import alone
from stages.cells.plan import Plan, folder, make_plan, read_plan
from stages.cells.pool import TRIED, in_words, try_pool, worker_count
from stages.shards.index import read_index
from stages.store.clones import register
from stages.store.store import Store, store_from_environment
from stages.study.collector import no_collection
from stages.study.params import load_params
from stages.study.processes import die_with_this_parent

RESULTS = Path("data/results")


@no_collection()
def plan(study: str, scale: str) -> None:
    """Write the plan, and take into the store the finished cells that `dvc pull` may have brought."""
    store, home = store_from_environment(), folder(study, scale)
    made = make_plan(load_params(), study, scale, read_index())
    adopted = store.adopt(home / "cells", made.cells)
    write_json(home / "plan.json", made.to_json())
    register(store, home.name, made.cells)
    print(f"{len(made.rows)} rows, {len(made.cells)} cells" + (f", {adopted} adopted" if adopted else ""))


def train(study: str, scale: str) -> None:
    """Train the planned cells that the store lacks, then lay out all that are finished as this stage's output.

    Where some fail the study goes on without them: they are rows `failed` of its losses. Raises `CrossoverError` where
    nothing is there. A store with a remote gets what the remote lacks too: cells trained before there was one, uploads
    that broke off.
    """
    made, store, home = read_plan(study, scale), store_from_environment(), folder(study, scale)
    cells = made.cells
    register(store, home.name, cells)  # a plan may have come from elsewhere
    missing = [fingerprint for fingerprint in cells if store.record(fingerprint) is None]
    print(
        f"{len(cells) - len(missing)} of {len(cells)} cells are in the store, {len(missing)} to train",
        flush=True,
    )
    tried = {name: why for name in missing if TRIED in os.environ and (why := store.failure(name))}
    fresh = [name for name in missing if name not in tried]
    failures = tried | try_pool(made, fresh, store, _workers(scale), attempts=2)  # a worker may have died by chance
    if failures:
        _go_on_without(made, failures, store, home.name)
    with alone(home):
        shutil.rmtree(home / "cells", ignore_errors=True)
        for fingerprint in cells:
            if record := store.record(fingerprint):
                store.materialise(record, home / "cells")
                store.settle(record)


def _go_on_without(plan: Plan, failures: dict[str, str], store: Store, key: str) -> None:
    """Say what lacks and how to try it again. Raises `CrossoverError` where nothing is there to go on with."""
    words = f"{len(failures)} cell(s) failed, the others are kept: {in_words(plan, failures)}"
    if not any(store.record(name) for name in plan.cells):
        raise CrossoverError(words)
    again = f"`dvc repro --force --single-item train@{key}`, then `dvc repro`, try them again"
    print(f"{words}\nwhat is there goes on; {again}", file=sys.stderr, flush=True)


def _workers(scale: str) -> int:
    return worker_count(load_params().scale(scale).machine.cells_at_once)


def evaluate(study: str, scale: str) -> None:
    """Evaluate the trained cells whose losses are stale, then write the study's tables."""
    made, store, home = read_plan(study, scale), store_from_environment(), folder(study, scale)
    register(store, home.name, made.cells)
    evaluate_all(made, store, _workers(scale))
    write_tables(made, store, RESULTS / home.name, home)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="python -m stages.cells", description=__doc__)
    stages = {stage.__name__: stage for stage in (plan, train, evaluate)}
    parser.add_argument("stage", choices=stages)
    parser.add_argument("study")
    parser.add_argument("scale")
    arguments = parser.parse_args()
    stages[arguments.stage](arguments.study, arguments.scale)


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
