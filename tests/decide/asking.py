"""What is said of a question, by whom: the belief of `compare`, `predict` and `advise`, asked at the target.

On a set that the belief's constants were learned from, what counts is said with constants learned from the others
(`tests/decide/learned.json`); what the shipped ones say stands beside it, in columns that end in `_in`.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crossover.answers.ladders import follow, make_ladders
from crossover.belief.difference import PRIOR, Outlook, Prior, Track
from tests.decide.ladders import Question

TRIED = {
    "a walk alone: no trend lasts": replace(PRIOR, shares=(1.0, 1e-9, 1e-9, 1e-9, 1e-9)),
    "laws alone: every trend lasts": replace(PRIOR, shares=(1e-9, 1e-9, 1e-9, 1e-9, 1.0)),
    "evidence at its whole word": replace(PRIOR, rungs=99.0),
}
"""Other models, with the shipped constants."""
QUANTILES = (0.05, 0.25, 0.75, 0.95)
LEARNED = Path(__file__).with_name("learned.json")


@dataclass(frozen=True)
class Said:
    """Of the difference that will be observed at the target."""

    p: float
    """P(B has the lower loss)."""
    mean: float
    """Their difference: the median; the code of 2026-11-25 said a mean."""
    q05: float
    q25: float
    q75: float
    q95: float
    regret: float
    """Expected, of choosing the likelier one."""


@cache
def learned() -> dict[str, Prior]:
    """Constants by the set that they were learned without."""
    sets = json.loads(LEARNED.read_text())["without"].items()
    return {name: Prior(**{key: _frozen(value) for key, value in constants.items()}) for name, constants in sets}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def tracks(question: Question) -> list[Track | None]:
    """What the runs shown say of each pair, as the answers read it; None where the two share fewer than two sizes."""
    shown = question.shown
    wanted = {name for row in question.rows for name in (row.a, row.b)}
    rows = shown[shown["recipe"].isin(wanted)]
    seeds = rows["seed"].to_numpy() if "seed" in rows else None
    parts = (rows["x"].to_numpy(float), rows["loss"].to_numpy(float), rows["recipe"].to_numpy(object))
    ladders = make_ladders(*parts, seeds, None, np.zeros(len(rows), bool))
    return [follow(ladders[row.a], ladders[row.b]) for row in question.rows]


def say(track: Track, prior: Prior, target: float, runs: int) -> Said:
    """What is believed of the means of as many runs as were observed at the target."""
    spread = Outlook(track, prior).at(math.log(target), runs)
    quantiles = map(float, spread.quantiles(np.array(QUANTILES)))
    return Said(spread.p_b_wins, spread.median, *quantiles, min(spread.gains))


def columns(question: Question, tried: bool = False) -> list[dict[str, object]]:
    """The rows of a question, each with what was said of it, and if wanted with what other models say."""
    out = []
    for row, track in zip(question.rows, tracks(question), strict=True):
        fields: dict[str, object] = asdict(row)
        for end, prior in {
            "": learned().get(row.set, PRIOR), "_in": PRIOR, **(TRIED if tried else {})
        }.items():  # fmt: skip
            said = dict.fromkeys(Said.__dataclass_fields__, np.nan)
            if track is not None:
                said = asdict(say(track, prior, row.target, row.runs))
            fields |= {f"{key}{end}": value for key, value in said.items()}
        out.append(fields)
    return out


def instead(rows: pd.DataFrame, end: str) -> pd.DataFrame:
    """The rows with what is said in columns of this end in place of what was said without the set."""
    said = list(Said.__dataclass_fields__)
    return rows.drop(columns=said).rename(columns={f"{key}{end}": key for key in said})
