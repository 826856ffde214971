"""Which column is what: guesses by name, each with its evidence, to be confirmed by whoever knows the runs.

A name is compared in lower case with anything but letters and digits as `_`: whole, by its last part
(`optimizer.lr`), or for some roles by its end (`c4_en_loss`). Held-out losses come before training losses, settings
before what was logged.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crossover.logs.picking import APART, PEAK
from crossover.runs.roles import RECIPES


@dataclass(frozen=True)
class Role:
    """What a column can be to the fits."""

    name: str
    meaning: str
    names: tuple[str, ...]
    """Likely names, the likeliest first."""
    numeric: bool = True
    ends: bool = False
    """Whether a name may also end in one of them."""
    never: str = ""
    """A pattern of names that only look like it."""


ROLES = (
    Role("loss", "the loss", (
        "loss_validation", "validation_loss", "val_loss", "valid_loss", "eval_loss", "loss_val", "loss_eval",
        "test_loss", "final_loss", "loss", "train_loss", "training_loss", "loss_train", "nll", "cross_entropy",
    ), ends=True, never="(^|_)(aux|auxiliary|z|router|balance|balancing|l2|reg|scale)_"),
    Role("n", "parameters", (
        "n_nonembedding", "n_params", "num_params", "n_parameters", "num_parameters", "parameters", "params",
        "total_params", "total_parameters", "model_params", "param_count", "model_size", "n_total", "n",
    )),
    Role("d", "training tokens", (
        "tokens", "train_tokens", "training_tokens", "n_tokens", "num_tokens", "total_tokens", "tokens_seen",
        "num_input_tokens_seen", "consumed_tokens", "train_tokens_seen", "d",
    )),
    Role("flops", "training FLOPs", (
        "flops", "total_flops", "total_flos", "train_flops", "training_flops", "compute",
    ), ends=True),
    Role("lr", "peak learning rate", (
        "lr", "learning_rate", "peak_lr", "max_lr", "peak_learning_rate", "max_learning_rate", "base_lr",
    ), ends=True, never=r"(^|_)(min|final|end)_"),
    Role("batch", "batch size", (
        "global_batch_size", "total_batch_size", "batch_tokens", "batch_size", "train_batch_size", "bs", "batch",
        "per_device_train_batch_size",
    ), never="(^|_)(eval|val|test)_"),
    Role("recipe", "what differs between runs", RECIPES, numeric=False),
    Role("seed", "seed", ("seed", "random_seed", "train_seed", "data_seed")),
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A column that could have a role."""

    column: str
    why: str


def candidates(role: Role, table: pd.DataFrame) -> list[Candidate]:
    """The columns that could have a role, the likeliest first."""
    found = []
    for place, column in enumerate(map(str, table.columns)):
        match = _match(role, column)
        if match is None or f"{column}{PEAK}" in table.columns or not _fits(role, table[column]):
            continue
        alike = not role.numeric and table[column].nunique() < 2
        found.append((alike, column.startswith(APART), *match[0], place, Candidate(column, match[1])))
    return [item[-1] for item in sorted(found, key=lambda item: item[:-1])]


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
    """Whether the values can be what the name says: numbers for numbers, positive for sizes, text for recipes."""
    known = values.dropna()
    if not role.numeric:
        return bool(len(known)) and not pd.api.types.is_float_dtype(known.dtype)
    if not len(known) or pd.api.types.is_bool_dtype(known.dtype):
        return False
    try:
        numbers = pd.to_numeric(known, errors="coerce").to_numpy(float, na_value=np.nan)
    except OverflowError:
        return False
    if np.isnan(numbers).any():
        return False
    return role.name in ("loss", "seed") or bool((numbers > 0).all())
