"""Values that differ by float noise are one value: grouping in log space, without rounding anything."""

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats


def group_log(values: Floats, tolerance: float) -> npt.NDArray[np.int_]:
    """Group numbers, ascending; neighbours in sorted order within a relative `tolerance` share a group."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(np.log(values[order])) > tolerance
    groups = np.empty(len(values), int)
    groups[order] = np.concatenate([[0], np.cumsum(steps)]) if len(values) else []
    return groups


def centres(values: Floats, groups: npt.NDArray[np.int_]) -> Floats:
    """Geometric mean of each group; exactly the value where all of a group are equal."""
    order = np.argsort(groups, kind="stable")
    first = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    low, high = (edge.reduceat(values[order], first) for edge in (np.minimum, np.maximum))
    mean = np.exp(np.bincount(groups, np.log(values)) / np.bincount(groups))
    return np.where(low == high, low, mean)
