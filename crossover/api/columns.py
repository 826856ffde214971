"""Which columns are the inputs of which law."""

from crossover.base.errors import UsageError
from crossover.laws.laws import get_law


def law_and_columns(
    law: str | None,
    x: str | None,
    n: str | None,
    d: str | None,
    one: str = "power_floor",
    u: str | None = None,
    z: str | None = None,
) -> tuple[str, dict[str, str]]:
    """The law asked for, else that whose inputs N, D and a third are, or `one` where x is; and its inputs' columns.

    Raises `UsageError` where an input of the law has no column, or a column is no input of it.
    """
    given = {name: text for name, text in (("x", x), ("N", n), ("D", d), ("U", u), ("Z", z)) if text is not None}
    of_size = "epochs" if u else "chinchilla_z" if z else "chinchilla"
    chosen = get_law(law or (of_size if n and d else one))
    missing = [f"--{name.lower()}" for name in chosen.inputs if name not in given]
    if missing:
        raise UsageError(f"law '{chosen.name}' needs {' and '.join(missing)}: a column, or an expression of columns")
    extra = [f"--{name.lower()}" for name in given if name not in chosen.inputs]
    if extra:
        inputs = ", ".join(chosen.inputs)
        raise UsageError(f"law '{chosen.name}' has no use for {' and '.join(extra)}; its inputs are {inputs}")
    return chosen.name, {name: given[name] for name in chosen.inputs}
