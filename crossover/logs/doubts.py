"""What cannot be what it is taken for: counts that are millions of something, losses in other units, rates above ten.

A wrong unit fits as well as a right one, and moves every answer: so it is said, with the expression that would mend it,
and nothing is derived from it.
"""

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats

_LEAST = {"n": (1e3, "parameters"), "d": (1e5, "training tokens"), "flops": (1e9, "training FLOPs")}
_UNITS = {"n": (1e6, 1e9), "d": (1e9, 1e12), "flops": (1e18, 1e21)}
_MOST_LOSS = 15.0
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
    return (
        f"{_LEAST[role][1]} of {known.min():g} to {known.max():g} ({expression}) cannot be counts; "
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
