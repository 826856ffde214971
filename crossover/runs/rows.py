"""What every command asks of its columns before it fits them."""

from collections.abc import Mapping

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError


def same_length(columns: Mapping[str, Floats]) -> Floats:
    """Columns as one array [columns, n]. Raises `UsageError` where they differ in length or are not one-dimensional."""
    arrays = {name: np.asarray(values, float) for name, values in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise UsageError(f"the columns must be one-dimensional and equally long; got {shapes}")
    return np.array(list(arrays.values()))


def require_positive(columns: Mapping[str, Floats]) -> None:
    """Raise `UsageError` that names the first column with a value of zero or less; nan is no such value."""
    for name, values in columns.items():
        if count := int((values <= 0).sum()):
            raise UsageError(f"{name} has {count} value(s) that are not positive; filter them out")
