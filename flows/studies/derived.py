"""Whether the committed losses are those of the trained cells: derived once more from whatever of these is at hand.

python -m flows.studies.derived     exit code 1 where a row says something else, each study named

After `dvc pull`, cells without losses are evaluated first, from their weights. That DVC holds a table fresh proves only
that nobody changed it since DVC was last told to take it.
"""

import sys
from pathlib import Path

from crossover.base.entry import guarded
from crossover.base.errors import GateError
from stages.cells.assemble import Derivation, derive_again, evaluate_all
from stages.cells.plan import folder, read_plan
from stages.store.store import store_from_environment
from stages.study.params import load_params

RESULTS = Path("data/results")


def derivations() -> dict[str, Derivation]:
    """By study-scale, for the active ones that are planned and have results here."""
    store, found = store_from_environment(), {}
    for key, item in load_params().active.items():
        path = RESULTS / key / "losses.csv"
        if path.exists() and (folder(item.study, item.scale) / "plan.json").exists():
            found[key] = derive_again(read_plan(item.study, item.scale), store, path)
    return found


def main() -> None:
    """Evaluate what lacks losses, derive every row that can be, say what differs."""
    store, params = store_from_environment(), load_params()
    for item in params.active.values():
        if (folder(item.study, item.scale) / "plan.json").exists():
            evaluate_all(read_plan(item.study, item.scale), store)
    found = derivations()
    wrong = {key: list(item.altered.values()) for key, item in found.items() if item.altered}
    if wrong:
        words = "; ".join(f"{key}: {len(rows)} row(s), such as {rows[0]}" for key, rows in wrong.items())
        raise GateError(f"losses.csv is not what its cells say: {words}; `dvc repro --force` makes it from them")
    print(f"{sum(item.rows for item in found.values())} rows of losses follow from their cells")


if __name__ == "__main__":
    sys.exit(guarded(main))
