"""Learning-rate schedules by name, for curves that were logged without their rate."""

from collections.abc import Callable

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest

_KINDS: dict[str, tuple[float, Callable[[Floats, float], Floats]]] = {
    "constant": (0.0, lambda done, _: np.ones_like(done)),
    "cosine": (0.0, lambda done, end: end + (1 - end) * 0.5 * (1 + np.cos(np.pi * done))),
    "linear": (0.0, lambda done, end: 1 - (1 - end) * done),
    "wsd": (0.2, lambda done, last: np.minimum(1.0, (1 - done) / last)),
}
"""Each with the number that may follow it: the share of the peak at the end, or the share of the run that decays."""
_LEAST = 1e-6  # of the peak: a rate of nothing would stop the clock


def read_schedule(text: str, warmup: float = 0.0) -> Callable[[Floats], Floats]:
    """The rate as a share of its peak, by the share of the run that is done [p].

    Args:
        text: `constant`, `cosine`, `linear`, each of the latter with the share of the peak at the end as `cosine:0.1`,
            or `wsd` with the share of the run that decays, as `wsd:0.2`.
        warmup: share of the run in which the rate rises to its peak.

    Raises:
        UsageError: for another name or number.
    """
    name, colon, number = text.partition(":")
    if name not in _KINDS:
        raise UsageError(f"no schedule is called '{name}'; {nearest(name, list(_KINDS))}")
    default, shape = _KINDS[name]
    try:
        value = float(number) if colon else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1 or (name == "wsd" and value == 0):
        raise UsageError(f"schedule '{text}': its number is a share between 0 and 1")
    if not 0 <= warmup < 1:
        raise UsageError(f"the warmup is a share between 0 and 1; got {warmup:g}")

    def share(progress: Floats) -> Floats:
        done = np.clip((progress - warmup) / (1 - warmup), 0.0, 1.0)
        rising = progress / warmup if warmup else np.ones_like(progress)
        return np.maximum(np.where(progress < warmup, rising, shape(done, value)), _LEAST)

    return share
