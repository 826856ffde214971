"""Places to answer for: a number, a mapping of the law's inputs, or text such as x=1e22 or N=7e9,D=2e12."""

import math
from collections.abc import Mapping, Sequence

from crossover.base.errors import UsageError
from crossover.base.hints import nearest

Place = float | str | Mapping[str, float]


def read_place(place: Place, columns: Mapping[str, str], option: str = "--at") -> dict[str, float]:
    """A place as input -> value; an input may be called by its column.

    Args:
        place: as above; a number alone where there is one input.
        columns: inputs of the law, each with its column or expression.
        option: what the place is called in errors.

    Raises:
        UsageError: naming the part that is no input, no positive number, or missing.

    >>> read_place("flops=1e22", {"x": "flops"})
    {'x': 1e+22}
    """
    given = _given(place, columns, option)
    known = {text.lower(): name for name, text in columns.items()} | {name.lower(): name for name in columns}
    found = {}
    for name, value in given.items():
        if name.strip().lower() not in known:
            raise UsageError(
                f"{option} '{place}': '{name.strip()}' is no input; {nearest(name.strip(), list(columns))}"
            )
        found[known[name.strip().lower()]] = _positive(value, name.strip(), place, option)
    if missing := [name for name in columns if name not in found]:
        raise UsageError(f"{option} '{place}' lacks {' and '.join(missing)}; write {example(columns)}")
    return found


def read_places(places: "Place | Sequence[Place] | None", columns: Mapping[str, str]) -> list[dict[str, float]]:
    """One place or several."""
    if places is None:
        return []
    if isinstance(places, (str, float, int, Mapping)):
        return [read_place(places, columns)]
    return [read_place(place, columns) for place in places]


def example(columns: Mapping[str, str]) -> str:
    """How a place is written."""
    return ",".join(
        f"{name}={value}"
        for name, value in zip(columns, ("1e22",) if len(columns) < 2 else ("7e9", "2e12", "1e11"), strict=False)
    )


def _given(place: Place, columns: Mapping[str, str], option: str) -> Mapping[str, float | str]:
    if isinstance(place, Mapping):
        return place
    if not isinstance(place, str):
        if len(columns) > 1:
            raise UsageError(f"{option} {place} needs its names; write {example(columns)}")
        return {next(iter(columns)): float(place)}
    parts = [part.partition("=") for part in place.split(",")]
    if any(not equals for _, equals, _ in parts):
        raise UsageError(f"{option} '{place}': write {example(columns)}")
    return {name: number for name, _, number in parts}


def _positive(value: float | str, name: str, place: Place, option: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"{option} '{place}': '{value}' is no number; write {name}=1e9") from None
    if not 0 < number < math.inf:
        raise UsageError(f"{option} '{place}' needs a positive, finite {name}")
    return number
