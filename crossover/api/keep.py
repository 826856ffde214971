"""May a change be kept, discarded, or must more be run: for people, and for programs that try one after the other."""

import math
from dataclasses import replace
from pathlib import Path

from crossover.answers.keeping import series
from crossover.answers.keeping.change import KEEP, Asked
from crossover.answers.keeping.keep import Keep
from crossover.answers.keeping.keep import keep as keep_arrays
from crossover.api.places import Place, read_place
from crossover.runs.losses import find_checkpoints, name_lost, read_losses
from crossover.runs.table import Tabular, read_runs

OF = 50
"""Changes in a series."""


def keep(
    table: Tabular,
    a: str,
    b: str,
    *,
    at: Place | None = None,
    x: str = "flops",
    loss: str = "loss",
    by: str = "recipe",
    pair: str | None = None,
    cost: str | None = None,
    worth: float | None = None,
    noise: float | None = None,
    level: float = Asked.level,
    miss: float = Asked.miss,
    log: str | Path | None = None,
    of: int = OF,
    where: str | None = None,
) -> Keep:
    """Whether recipe B, a change of A, may be kept: `keep`, `discard`, or `run more` and which run. Ask after each run.

    Args:
        table: one row per run: a file's path, a DataFrame, or columns by name as arrays of one length n.
        a: the recipe as it is.
        b: the recipe with the change.
        at: the size that the gain must hold at, in the unit of x; the largest that either was run at where absent.
        x: column, or expression of columns, of n positive sizes; "1" where all runs are of one size.
        loss: column or expression of n losses; missing or infinite ones are diverged runs.
        by: column that names the recipe. Runs of other recipes tell of the noise.
        pair: column that pairs runs of one size: the seed.
        cost: column or expression of a run's cost; x where absent.
        worth: the least gain in loss that is worth keeping; one s.d. of the difference of two runs where absent.
        noise: standard deviation of a run's loss, where it is known from elsewhere; measured where absent.
        level: probability of a false keep of a change that is no better at any size, however often it is asked.
        miss: probability that a change which is worth keeping is discarded, at most, where runs have one size.
        log: a file of JSON lines that answers are added to. Of all changes that are kept at most a tenth is false, in
            each `of` changes.
        of: changes in a series.
        where: keep rows that satisfy this, as `flops > 1e18`.

    Raises:
        UsageError: a column or a recipe that is not there, a value that is not positive.
        DamageError: a log that holds something else.

    Source: e-values and e-processes, Ramdas et al. 2023; for t, Perez-Ortiz et al. 2024; series, Xu and Ramdas 2024.

    >>> runs = {"recipe": ["a", "b"] * 4, "seed": [0, 0, 1, 1, 2, 2, 3, 3],
    ...         "loss": [3.0, 2.9, 3.02, 2.91, 3.01, 2.92, 2.99, 2.88]}
    >>> found = keep(runs, "a", "b", x="1", pair="seed")
    >>> found.verdict, f"{found.evidence:.0f} of {found.needed:.0f}"
    ('keep', '81 of 20')
    """
    runs = read_runs(table, where)
    place = None if log is None else series.find_place(Path(log), a, b, of)
    asked = Asked(
        None if at is None else read_place(at, {"x": x})["x"], worth, noise,
        level if place is None else min(level, place.level), miss,
    )  # fmt: skip
    labels = None if pair is None else runs.labels(pair)
    price = None if cost is None else runs.numbers(cost)
    found = keep_arrays(
        runs.numbers(x), read_losses(runs, loss), runs.labels(by), a, b, pair=labels, cost=price, asked=asked,
        names=(x, loss),
    )  # fmt: skip
    found = replace(
        found,
        series=place,
        pair=pair,
        flags=[*found.flags, *find_checkpoints(runs, x)],
        left_out=[*runs.left_out, *name_lost(found.left_out, runs, by, x, loss)],
    )
    if place is not None and place.target and math.isclose(place.target, found.target, rel_tol=1e-6):
        why = f"it was kept for {x} = {place.target:.4g} on {place.kept}, and a keep stands"
        found = replace(found, verdict=KEEP, why=why, next=None)
    elif log is not None:
        series.append(Path(log), {name: getattr(found, name) for name in series.Logged.model_fields if name != "date"})
    return found
