"""One metric's values by step, steps rising, in two arrays: a dict would take six times their room."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from crossover.base.arrays import Floats


class Points(Mapping[float, float]):
    """Values by step, read as a mapping is, and added to at the end."""

    __slots__ = ("_numbers", "_steps")

    def __init__(self, steps: Iterable[float] = (), numbers: Iterable[float] = ()) -> None:
        """Of steps that rise and as many values."""
        self._steps, self._numbers = array("d", steps), array("d", numbers)

    @classmethod
    def sort(cls, steps: Floats, numbers: Floats) -> "Points":
        """Of steps `(n,)` in any order and their values; of one step the last value counts."""
        order = np.argsort(steps, kind="stable")
        ends = np.append(np.diff(steps[order]) != 0, True)[: len(order)]
        return cls(steps[order][ends].tolist(), numbers[order][ends].tolist())

    def put(self, step: float, value: float) -> bool:
        """Add a value after the last step, or in the place of its value; whether that was another one."""
        if not self._steps or step > self._steps[-1]:
            self._steps.append(step)
            self._numbers.append(value)
            return False
        replaced, self._numbers[-1] = self._numbers[-1] != value, value
        return replaced

    def before(self, step: float) -> "Points":
        """Those before a step."""
        count = bisect_left(self._steps, step)
        return Points(self._steps[:count], self._numbers[:count])

    def __add__(self, later: "Points") -> "Points":
        """These, and points that all come after them."""
        return Points(self._steps + later._steps, self._numbers + later._numbers)

    def at(self, step: float) -> float | None:
        """The value there, or the last one before; None where there is none."""
        count = bisect_right(self._steps, step)
        return self._numbers[count - 1] if count else None

    @property
    def first(self) -> float:
        """The first step."""
        return self._steps[0]

    @property
    def last(self) -> float:
        """The last step."""
        return self._steps[-1]

    @property
    def steps(self) -> Floats:
        """All steps `(n,)`."""
        return np.array(self._steps)

    @property
    def numbers(self) -> Floats:
        """All values `(n,)`, in the order of the steps."""
        return np.array(self._numbers)

    def __getitem__(self, step: float) -> float:
        place = bisect_left(self._steps, step)
        if place == len(self._steps) or self._steps[place] != step:
            raise KeyError(step)
        return self._numbers[place]

    def __iter__(self) -> Iterator[float]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return f"Points({dict(self)})"
