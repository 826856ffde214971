"""The tables that advice is made from: finished runs and candidate cells, checked, with who is whose partner."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.belief.posterior import Ints, Rows
from crossover.laws.law import Law
from crossover.runs.rows import require_positive, same_length
from crossover.runs.table import LeftOut

SURE = 0.95
"""Probability from which on an answer is taken as settled."""
MOST = 3000
"""Finished runs: time grows with their third power, minutes here."""


@dataclass(frozen=True)
class Candidates:
    """m cells that could be run: inputs by the law's names, cost in the budget's unit, recipe and pair label."""

    inputs: Mapping[str, Floats]
    cost: Floats
    recipe: Sequence[str] | None = None
    pair: Sequence[Any] | None = None


@dataclass(frozen=True)
class Table:
    """Rows by log inputs [inputs, n], recipe, pair label and cost."""

    log_x: Floats
    recipe: npt.NDArray[np.object_]
    label: npt.NDArray[np.object_]
    """Pair labels; empty text where a row has none."""
    cost: Floats


def check_budget(budget: float, sure: float) -> None:
    """Raises `UsageError` where one of them cannot be."""
    if not 0 < budget < math.inf:
        raise UsageError(f"the budget must be positive and finite; got {budget:g}")
    if not 0.5 < sure < 1:
        raise UsageError(f"sure must be over 0.5 and under 1; got {sure:g}")


def _texts(values: Sequence[Any] | npt.NDArray[Any] | None, count: int, what: str) -> npt.NDArray[np.object_]:
    if values is None:
        return np.full(count, "", object)
    if len(values) != count:
        raise UsageError(f"{what} has {len(values)} entries for {count} rows")
    return np.array([str(value) for value in values], object)


def read_finished(
    law: Law,
    inputs: Mapping[str, Floats],
    loss: Floats,
    recipe: Sequence[str] | None,
    pair: Sequence[Any] | npt.NDArray[Any] | None,
) -> tuple[Table, Floats, list[LeftOut]]:
    """Runs with a loss, their losses, and what was left out.

    Raises `UsageError` for too few or too many runs, and for three recipes.
    """
    columns = same_length({**{name: inputs[name] for name in law.inputs}, "loss": loss})
    used = np.asarray(np.isfinite(columns).all(0))
    left_out = [LeftOut("a value is missing or infinite", int((~used).sum()))] if not used.all() else []
    named = _texts(recipe, len(used), "recipe")
    if recipe is not None and len(found := list(dict.fromkeys(named.tolist()))) > 2:
        raise UsageError(f"advice is for one recipe or two; found {', '.join(found[:6])}; filter the others out")
    columns = columns[:, used]
    require_positive(dict(zip((*law.inputs, "loss"), columns, strict=True)))
    for name in dict.fromkeys(named[used].tolist()) or [""]:
        if (count := int((named[used] == name).sum())) < 2:
            raise UsageError(f"{count} finished run(s){f' of {name}' * bool(name)}; run two cells first, small ones")
    if columns.shape[1] > MOST:
        raise UsageError(
            f"{columns.shape[1]} finished runs; advice is made from at most {MOST}: keep the best run of every place"
        )
    logs = np.log(columns)
    table = Table(logs[:-1], named[used], _texts(pair, len(used), "pair")[used], np.zeros(int(used.sum())))
    return table, columns[-1], left_out


def read_candidates(law: Law, candidates: Candidates, names: list[str]) -> Table:
    """Candidates, checked. Raises `UsageError` for none, a value that is no positive number or an unknown recipe."""
    columns = same_length({**{name: candidates.inputs[name] for name in law.inputs}, "cost": candidates.cost})
    if not columns.shape[1]:
        raise UsageError("there is no candidate; give rows of cells that could be run")
    if not np.isfinite(columns).all():
        raise UsageError("a candidate has a missing or infinite input or cost; fill it in")
    require_positive(
        {f"the candidates' {name}": column for name, column in zip((*law.inputs, "cost"), columns, strict=True)}
    )
    named = _texts(candidates.recipe, columns.shape[1], "recipe")
    for unknown in dict.fromkeys(name for name in named.tolist() if name not in names):
        raise UsageError(f"candidates of recipe '{unknown}', and finished runs of {', '.join(names)} alone")
    return Table(np.log(columns[:-1]), named, _texts(candidates.pair, columns.shape[1], "pair"), columns[-1])


def order_runs(runs: Table, names: list[str]) -> tuple[Rows, npt.NDArray[np.int_]]:
    """Runs with those of the first recipe first, each of the second with its partner."""
    code = np.array([names.index(name) for name in runs.recipe])
    order = np.argsort(code, kind="stable")
    keys = [_key(runs, i) for i in order]
    first: dict[Any, int] = {}
    partner = np.full(len(order), -1)
    for at, i in enumerate(order):
        if code[i] == 0 and runs.label[i]:
            first.setdefault(keys[at], at)
        elif keys[at] in first:
            partner[at] = first.pop(keys[at])
    return Rows(runs.log_x[:, order], code[order], partner), order


def _key(table: Table, row: int) -> tuple[Any, ...]:
    """What two runs of a pair have in common: place and label."""
    return (*table.log_x[:, row].round(6).tolist(), table.label[row])


def find_partners(cells: Table, code: Ints, rows: Rows, labels: npt.NDArray[np.object_]) -> tuple[Ints, Ints]:
    """Of every candidate the other one of its pair, and the quantity that a finished partner measured; -1 for none."""
    runs = Table(rows.log_x, labels, labels, np.zeros(len(labels)))
    taken = set(rows.partner[rows.partner >= 0].tolist()) | set(np.flatnonzero(rows.partner >= 0).tolist())
    done = {(int(rows.recipe[i]), *_key(runs, i)): i for i in range(len(labels)) if labels[i] and i not in taken}
    waiting: dict[Any, int] = {}
    partner, known = np.full(len(code), -1), np.full(len(code), -1)
    for i in range(len(code)):
        if not cells.label[i]:
            continue
        key = _key(cells, i)
        other = (1 - int(code[i]), *key)
        if other in done:
            known[i] = len(code) + done.pop(other)
        elif other in waiting:
            partner[i] = waiting.pop(other)
            partner[partner[i]] = i
        else:
            waiting[(int(code[i]), *key)] = i
    return partner, known
