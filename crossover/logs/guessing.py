"""Which column is what: guesses by name, each with its evidence, to be confirmed by whoever knows the runs.

A name is compared in lower case with anything but letters and digits as `_`: whole, by its last part
(`optimizer.lr`), or for some roles by its end (`c4_en_loss`). Held-out losses come before training losses, settings
before what was logged.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats
from crossover.logs.logged import APART, as_number
from crossover.logs.names import Role
from crossover.logs.picking import PEAK
from crossover.runs.text import number

_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}


@dataclass(frozen=True)
class Candidate:
    """A column that could have a role."""

    column: str
    why: str


def candidates(role: Role, table: pd.DataFrame) -> list[Candidate]:
    """The columns that could have a role, the likeliest first."""
    found = []
    for place, column in enumerate(map(str, table.columns)):
        name, factor = _without_unit(column) if role.name in ("n", "d", "flops") else (column, 1.0)
        match = _match(role, name)
        if match is None or f"{column}{PEAK}" in table.columns or not _fits(role, table[column]):
            continue
        alike = not role.numeric and table[column].nunique() < 2
        expression = column if factor == 1 else f"{f'{factor:.0e}'.replace('e+0', 'e').replace('e+', 'e')} * `{column}`"
        found.append((alike, column.startswith(APART), *match[0], place, Candidate(expression, match[1])))
    return [item[-1] for item in sorted(found, key=lambda item: item[:-1])]


def _without_unit(column: str) -> tuple[str, float]:
    """A name without the unit that it states, as `tokens (B)`, `params_millions` or `Gflops`, and its factor."""
    if match := re.fullmatch(r"(.*?)[\s_]*[(\[]\s*([kKMBGT])\w*\s*[)\]]", column):
        return match[1], _UNITS[match[2]]
    if match := re.fullmatch(r"(.*?)[\s_]+(?:in[\s_]+)?(million|billion|trillion)s?", column, re.IGNORECASE):
        return match[1], {"m": 1e6, "b": 1e9, "t": 1e12}[match[2][0].lower()]
    if match := re.fullmatch(r"(.*?[\s_/]|)([GTPEZ])[Ff][Ll][Oo][Pp][Ss]?", column):
        return f"{match[1]}flops", {"G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}[match[2]]
    return column, 1.0


def _match(role: Role, column: str) -> tuple[tuple[int, int], str] | None:
    """How well a name fits: its place among the likely names, how much of it had to be left out, and this in words."""
    whole = _plain(column.removeprefix(APART))
    last = _plain(re.split(r"[./]", column)[-1])
    if role.never and re.search(role.never, whole):
        return None
    if column.endswith(PEAK) and role.name == "lr":
        return (len(role.names), 0), "the largest value logged, which misses a peak between two loggings"
    for name in sorted(role.names, key=len, reverse=True):  # val/loss is a val_loss before it is a loss
        if whole == name:
            return (role.names.index(name), 0), f"called {name}"
        if last == name:
            return (role.names.index(name), 1), f"its last part is {name}"
        if role.ends and whole.endswith(f"_{name}"):
            return (role.names.index(name), 2), f"its name ends in {name}"
    return None


def _plain(name: str) -> str:
    """In lower case, words joined by `_`, without the `epoch` or `step` that some loggers add."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return re.sub(r"(?<=_)epoch_|^epoch_|_(epoch|step)$", "", plain)


def _fits(role: Role, values: "pd.Series[object]") -> bool:
    """Whether the values can be what the name says: numbers for numbers, positive for sizes, text for recipes.

    A loss may be text in some rows, or lack in all: what crashed has none.
    """
    known = values.dropna()
    if not role.numeric:
        return bool(len(known)) and not pd.api.types.is_float_dtype(known.dtype)
    if pd.api.types.is_bool_dtype(known.dtype):
        return False
    numbers = as_counts(known)
    if role.name == "loss":
        return 2 * int(np.isnan(numbers).sum()) <= len(known)
    if not len(known) or np.isnan(numbers).any():
        return False
    return role.name == "seed" or bool((numbers > 0).all())


def as_counts(values: "pd.Series[Any]") -> Floats:
    """Numbers, also where they are written with a unit as `1.2B` or `70M`; NaN for anything else."""
    return np.array([_count(value) for value in values], float)


def _count(value: Any) -> float:
    if not isinstance(value, str):
        found = as_number(value.item() if hasattr(value, "item") else value)
        return math.nan if found is None else found
    match = re.fullmatch(r"([\d.,]+(?:[eE][+-]?\d+)?)\s*([kKMBGT])(?:illion)?", value.strip())
    plain = number(match[1] if match else value)
    return math.nan if plain is None else plain * _UNITS[match[2] if match else ""]
