"""The stages `check_tokens` and `check_losses`.

python -m stages.check tokens
python -m stages.check losses lr_crossover pocket
"""

import argparse
import sys
from pathlib import Path

from crossover.base.entry import guarded
from stages.cells.assemble import derive_again, read_curves
from stages.cells.plan import read_plan
from stages.cells.runs import read_runs
from stages.check.gate import conclude
from stages.check.losses import check_losses, loss_table
from stages.check.tokens import (
    check_documents,
    check_shards,
    check_splits,
    document_table,
    shard_table,
    split_table,
)
from stages.shards.index import read_index
from stages.store.store import store_from_environment
from stages.study.params import load_params
from stages.study.plan import texts_needed
from stages.study.processes import die_with_this_parent
from stages.study.tables import LOSSES, read_csv

RESULTS = Path("data/results")


def tokens() -> None:
    """Check every text that the active studies need."""
    index = read_index()
    needs = texts_needed(load_params())
    findings = [
        *check_shards(shard_table(index)), *check_splits(split_table(index, needs)),
        *check_documents(document_table(index)),
    ]  # fmt: skip
    conclude(findings, RESULTS / "tokens.check.json", "tokens")


def losses(study: str, scale: str) -> None:
    """Check the losses of one study at one scale against its plan."""
    plan, folder = read_plan(study, scale), RESULTS / f"{study}-{scale}"
    table, store = read_csv(folder / "losses.csv", LOSSES).to_pandas(), store_from_environment()
    runs, curves = read_runs(store, plan.cells).to_pandas(), read_curves(study, scale).to_pandas()
    altered = derive_again(plan, store, folder / "losses.csv").altered
    findings = check_losses(loss_table(table, runs, curves, plan, altered), plan)
    conclude(findings, folder / "losses.check.json", f"losses of {study}-{scale}")


def main() -> None:
    """Run one gate."""
    parser = argparse.ArgumentParser(prog="python -m stages.check", description=__doc__)
    gates = parser.add_subparsers(dest="gate", required=True)
    gates.add_parser("tokens")
    gate = gates.add_parser("losses")
    gate.add_argument("study")
    gate.add_argument("scale")
    arguments = parser.parse_args()
    if arguments.gate == "tokens":
        tokens()
    else:
        losses(arguments.study, arguments.scale)


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
