"""Parameters of a law that are held: E=1.6, or E=1.6±0.05 with a standard deviation of its own."""

from collections.abc import Mapping, Sequence

from crossover.base.errors import UsageError

Fixed = Mapping[str, float | tuple[float, float]]


def read_fixed(fix: "Fixed | str | Sequence[str] | None", option: str = "--fix") -> Fixed:
    """Name -> value, or (value, standard deviation).

    Raises `UsageError` naming the part that cannot be read.

    >>> read_fixed("E=1.6±0.05,a=0.35")
    {'E': (1.6, 0.05), 'a': 0.35}
    """
    if fix is None:
        return {}
    if isinstance(fix, Mapping):
        return fix
    parts = [part for text in ([fix] if isinstance(fix, str) else fix) for part in text.split(",")]
    parts_of = [part.partition("=")[0].strip() for part in parts]
    found: dict[str, float | tuple[float, float]] = {}
    for part in parts:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        middle, spread, sd = value.replace("+-", "±").replace("+/-", "±").partition("±")
        try:
            found[name] = (float(middle), float(sd)) if spread else float(middle)
        except ValueError:
            equals = ""
        if parts_of.count(name) > 1:
            raise UsageError(f"{option} holds {name} twice")
        if not (name and equals):
            raise UsageError(f"{option} '{part}': write E=1.6, or E=1.6±0.05 with a standard deviation")
    return found
