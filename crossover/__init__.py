"""Which training recipe wins at the scale you cannot afford: answers from anybody's runs.

    import crossover as xo

    runs = xo.read("runs.csv")
    print(xo.compare(runs, x="flops", by="recipe", pair="seed", at=1e22))

Each question takes a file's path, a DataFrame, or columns by name as arrays, and returns a typed answer with
`.to_json()`, `.plot()`, `.html()`, and a text that reads as the command line's.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossover.api.advise import advise
    from crossover.api.allocate import allocate
    from crossover.api.compare import compare
    from crossover.api.fit import fit
    from crossover.api.foresee import foresee
    from crossover.api.keep import keep
    from crossover.api.optimum import optimum
    from crossover.api.predict import predict
    from crossover.base.errors import CrossoverError, UsageError
    from crossover.runs.table import read_runs as read

__all__ = [
    "CrossoverError",
    "UsageError",
    "advise",
    "allocate",
    "compare",
    "fit",
    "foresee",
    "keep",
    "optimum",
    "predict",
    "read",
]

_WHERE = {
    "read": "crossover.runs.table:read_runs", "CrossoverError": "crossover.base.errors:CrossoverError",
    "UsageError": "crossover.base.errors:UsageError",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Names are imported when they are first used, so that a bare GPU host can import what trains (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'crossover' has no attribute '{name}'")
    module, _, attribute = _WHERE.get(name, f"crossover.api.{name}:{name}").partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return __all__
