"""What is said of a question, by whom: the answer of `compare` at the target."""

import math
import warnings
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from crossover.answers.compare import Settings, compare
from crossover.answers.comparison import Comparison
from crossover.base.errors import UsageError
from tests.decide.ladders import Question

QUANTILES = (0.05, 0.25, 0.75, 0.95)


@dataclass(frozen=True)
class Said:
    """Of the difference that will be observed at the target."""

    p: float
    """P(B has the lower loss)."""
    mean: float
    q05: float
    q25: float
    q75: float
    q95: float
    regret: float
    """Expected, of choosing the likelier one."""


def ask(question: Question) -> dict[tuple[str, str], Said]:
    """The answers to the pairs of a question; a pair that is refused has none."""
    shown = question.shown
    pairs = [(row.a, row.b) for row in question.rows]
    seeds = shown["seed"].to_numpy() if "seed" in shown else None
    settings = Settings(target=question.target, sensitivity=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = compare(
                shown["x"].to_numpy(float), _positive(shown), shown["recipe"].to_numpy(object), pair=seeds, pairs=pairs,
                settings=settings,
            )  # fmt: skip
    except UsageError:
        return {}
    runs = {(row.a, row.b): row.runs for row in question.rows}
    return {
        (item.a, item.b): said
        for item in found.pairs
        if (said := _said(item, question.target, runs[item.a, item.b])) is not None
    }


def _positive(shown: pd.DataFrame) -> np.ndarray:
    """Losses; where some are not positive all are raised, as the user would have to."""
    loss = shown["loss"].to_numpy(float)
    return loss if loss.min() > 0 else loss - loss.min() + np.ptp(loss) + 1e-9


def _said(item: Comparison, target: float, runs: int) -> Said | None:
    """What is believed of the means of as many runs as were observed there."""
    if item.outlook is None:
        return None
    spread = item.outlook.at(math.log(target), runs)
    quantiles = map(float, spread.quantiles(np.array(QUANTILES)))
    return Said(spread.p_b_wins, spread.expected, *quantiles, min(spread.gains))


def columns(question: Question) -> list[dict[str, object]]:
    """The rows of a question, each with what was said of it."""
    said = ask(question)
    nothing = dict.fromkeys(Said.__dataclass_fields__, np.nan)
    return [asdict(row) | (asdict(said[row.a, row.b]) if (row.a, row.b) in said else nothing) for row in question.rows]
