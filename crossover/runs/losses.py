"""The loss of a table of runs: that it falls as models get better, who has none, and which rows are of one run."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import some
from crossover.runs.table import LeftOut, Runs

NAMES = ("run", "run_name", "run_id", "name", "exp_name", "id")
"""Columns that name runs, the likeliest first."""
_LOST = re.compile(r"(?:(.*): )?(?:diverged|a value is)(?:,)? missing or infinite")
"""The reason for which runs without a value are left out, of a recipe or of all."""
_RISING = re.compile(
    r"(.*_)?(acc|accuracy|acc_norm|auc|auroc|f1|f1_score|bleu|rouge\w*|exact_match|mcc|r2|reward|core_metric)"
)


def rises(name: str) -> bool:
    """Whether a metric of that name grows as models get better, as accuracy does."""
    return _RISING.fullmatch(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")) is not None


def read_losses(runs: Runs, expression: str) -> Floats:
    """The losses [n]. Raises `UsageError` where they are a metric that rises, by its name, or no numbers."""
    name = expression.strip("`")
    if name in runs.table.columns and rises(name):
        column = name if name.isidentifier() else f"`{name}`"
        raise UsageError(
            f"{runs.path}: '{expression}' rises as models get better, and a loss falls; "
            f"say --loss '1 - {column}', or --loss '-{column}'"
        )
    return runs.numbers(expression)


def name_lost(left_out: Sequence[LeftOut], runs: Runs, by: str | None, *expressions: str) -> list[LeftOut]:
    """What was left out, naming the runs that lack a value of an expression, where a column names them."""
    column = next((name for name in NAMES if name in runs.table.columns), None)
    lost = ~np.isfinite([runs.numbers(text) for text in expressions]).all(0)
    if column is None or column == by or not lost.any():
        return list(left_out)
    found = list[LeftOut]()
    for item in left_out:
        match = _LOST.fullmatch(item.reason)
        rows = lost & (runs.labels(by) == match[1]) if match and by and match[1] is not None else lost
        who = f" ({some(runs.table[column][rows].astype(str).tolist())})" if match and rows.any() else ""
        found.append(replace(item, reason=item.reason + who))
    return found


def find_checkpoints(runs: Runs, size: str) -> list[str]:
    """What is to be said where rows are checkpoints of runs: a name that comes again, at other sizes each time."""
    column = next((name for name in NAMES if name in runs.table.columns), None)
    if column is None:
        return []
    names, sizes = runs.table[column].astype(str).to_numpy(), runs.numbers(size)
    count, apart = len(set(names)), len(set(zip(names, sizes, strict=True)))
    if 2 * count > len(names) or apart < len(names):
        return []
    return [
        f"{len(names)} rows are checkpoints of {count} runs, by '{column}', and the rows of one run err together: "
        f"intervals that take each as a run are too narrow; fit --bootstrap 1000 --cluster {column} draws whole runs"
    ]
