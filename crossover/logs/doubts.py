"""What cannot be what it is taken for: counts that are millions of something, losses in other units, rates above ten.

A wrong unit fits as well as a right one, and moves every answer: so it is said, with the expression that would mend it,
and nothing is derived from it.
"""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats
from crossover.base.hints import some
from crossover.base.numerals import short

_LEAST = {"n": (1e3, "parameters"), "d": (1e5, "training tokens"), "flops": (1e9, "training FLOPs")}
_UNITS = {"n": (1e6, 1e9), "d": (1e9, 1e12), "flops": (1e18, 1e21)}
_MOST_LOSS = 15.0
_VOCABULARY = re.compile(r"(.*[._/])?(padded_)?(vocab(ulary)?_size|vocab|n_vocab|num_tokens_in_vocab)")
_SIZES = {"n": "parameters", "flops": "FLOPs", "d": "tokens"}
_OTHER = (
    (("bpb", "bits_per_byte"), "bits per byte", "{x} * 0.6931 * BYTES_PER_TOKEN"),
    (("bpc", "bits_per_character"), "bits per character", "{x} * 0.6931 * CHARACTERS_PER_TOKEN"),
    (("ppl", "perplexity"), "perplexity", "log({x})"),
)


def doubt(role: str, expression: str, values: "pd.Series[float]") -> str:
    """Why the values of a role cannot be counts, a rate or a loss in nats; empty where they can."""
    if role not in (*_LEAST, "lr", "loss"):
        return ""
    numbers = values.to_numpy(float, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return ""
    column = expression if expression.isidentifier() else f"`{expression.strip('`')}`"
    if role in _LEAST and np.median(known) < _LEAST[role][0]:
        return _too_small(role, column, expression, known)
    if role == "lr" and known.max() > 10:
        return (
            f"learning rates of up to {known.max():g} ({expression}) are none; is another column meant? --lr states it"
        )
    return _unit(column, expression, known) if role == "loss" else ""


def _too_small(role: str, column: str, expression: str, known: Floats) -> str:
    units = ", or ".join(
        f"--{role} '{column} * {factor:.0e}'".replace("e+0", "e").replace("e+", "e") for factor in _UNITS[role]
    )
    low, high = known.min(), known.max()
    return (
        f"{_LEAST[role][1]} of {low:g}{f' to {high:g}' if high > low else ''} ({expression}) cannot be counts; "
        f"if they are multiples, say so: {units}"
    )


def _unit(column: str, expression: str, known: Floats) -> str:
    plain = expression.lower().replace("-", "_").strip("`")
    for names, what, mended in _OTHER:
        if any(plain.endswith(name) for name in names):
            return f"'{expression}' is in {what}, taken as it is; in nats per token it is {mended.format(x=column)}"
    if known.max() > _MOST_LOSS:
        return f"losses of up to {known.max():g} ({expression}) are none in nats; perplexities? --loss 'log({column})'"
    return ""


def odd_losses(columns: "dict[str, pd.Series[float]]", table: pd.DataFrame) -> Iterator[str]:
    """Losses that a model without training has, and losses that grow with size: each run may be so, but seldom is."""
    loss = pd.Series(columns["loss"], dtype=float)
    for name in table.columns:
        if _VOCABULARY.fullmatch(str(name)) and pd.api.types.is_numeric_dtype(table[name].dtype):
            above = loss > np.log(table[name].astype(float).where(table[name] > 1))
            if above.any():
                runs = some(table["run"][above].astype(str).tolist())
                yield f"{runs}: a loss above ln({name}), that of guessing; is it in nats, and did training diverge?"
            break
    size = next((name for name in _SIZES if name in columns), None)
    if size is None:
        return
    middle = loss.groupby(columns[size]).median().dropna().sort_index()
    if len(middle) > 2 and (np.diff(middle) > 0).all():
        yield (
            f"the loss grows with {_SIZES[size]}, from {short(middle.iloc[0], 5)} to {short(middle.iloc[-1], 5)}; "
            "if it is a metric that rises as models get better, say --higher-is-better"
        )
