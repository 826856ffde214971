"""Types of arrays, and where rising functions pass a value."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
_PARTS = 16


def sections(before: Callable[[Floats], npt.NDArray[np.bool_]], low: Floats, high: Floats, rounds: int) -> Floats:
    """Where each of n brackets passes from `before` to after, to 1/16^rounds of the bracket.

    Args:
        before: says of places [15, n] whether they lie before.
        low: [n].
        high: [n].
        rounds: how often a bracket is cut into sixteen.
    """
    share, step = np.arange(1, _PARTS)[:, None], (high - low) / _PARTS
    for _ in range(rounds):
        low = low + step * before(low + step * share).sum(0)
        step = step / _PARTS
    middle: Floats = low + step * _PARTS / 2
    return middle
