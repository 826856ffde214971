"""What is said of a question, by whom: the answer of `compare` at the target."""

import warnings
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import special

from crossover.answers.compare import Settings, compare
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
    settings = Settings(target=question.target, far=True, sensitivity=False)
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
    return {(item.a, item.b): said for item in found.pairs if (said := _said(item, runs[item.a, item.b])) is not None}


def _positive(shown: pd.DataFrame) -> np.ndarray:
    """Losses; where some are not positive all are raised, as the user would have to."""
    loss = shown["loss"].to_numpy(float)
    return loss if loss.min() > 0 else loss - loss.min() + np.ptp(loss) + 1e-9


def _said(item: object, runs: int) -> Said | None:
    """The gap, with the noise of the observed means where the comparison knows it."""
    gap, difference = item.gap, item.difference  # type: ignore[attr-defined]
    if gap is None or gap.difference.se is None or difference is None:
        return None
    dof = max(float(difference.at(np.array([np.log(gap.x)]))[2][0]), 1.0)
    noise = (item.noise_sd or 0.0) / np.sqrt(runs)  # type: ignore[attr-defined]
    total, mean = float(np.hypot(gap.difference.se, noise)), gap.difference.value
    ends = mean + total * special.stdtrit(dof, QUANTILES)
    regret = gap.decision.expected_regret if gap.decision and gap.decision.expected_regret is not None else np.nan
    return Said(float(gap.p_b_beats_a), mean, *map(float, ends), float(regret))


def columns(question: Question) -> list[dict[str, object]]:
    """The rows of a question, each with what was said of it."""
    said = ask(question)
    nothing = dict.fromkeys(Said.__dataclass_fields__, np.nan)
    return [asdict(row) | (asdict(said[row.a, row.b]) if (row.a, row.b) in said else nothing) for row in question.rows]
