"""Two recipes of our own studies: is their difference at the largest width what the smaller widths made one believe?"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from crossover.answers.advising.advise import advise
from crossover.answers.advising.choices import Candidates

RESULTS = Path("data/results")
_WIDTHS = 4  # that both recipes must have


def studies() -> Iterator[tuple[str, pd.DataFrame]]:
    """Cells that were trained to the end, of studies without axes."""
    for path in sorted(RESULTS.glob("*/losses.csv")):
        cells = pd.read_csv(path)
        cells = cells[(cells["status"] == "done") & (cells["axes"] == "{}") & np.isfinite(cells["loss_validation"])]
        if len(cells):
            yield path.parent.name, cells


def differences(cells: pd.DataFrame) -> Iterator[tuple[float, float]]:
    """Of every two recipes with the same widths: the error of their difference at the largest, and the s.d. said.

    What is said includes the standard error of the measured difference, a mean over seeds.
    """
    for a, b in combinations(cells["recipe"].unique(), 2):
        both = cells[cells["recipe"].isin([a, b])]
        widths = [set(rows["width"]) for _, rows in both.groupby("recipe")]
        if widths[0] == widths[1] and len(widths[0]) >= _WIDTHS:
            yield _difference(both, a, b)


def _difference(cells: pd.DataFrame, a: str, b: str) -> tuple[float, float]:
    largest = cells["width"] == cells["width"].max()
    known, held = cells[~largest], cells[largest]
    losses = held.pivot(index="seed", columns="recipe", values="loss_validation")
    measured = losses[b] - losses[a]
    x = float(held["flops_6n"].iloc[0])
    now = advise(
        {"x": known["flops_6n"].to_numpy(float)}, known["loss_validation"].to_numpy(float),
        Candidates({"x": np.array([x, x])}, np.ones(2), [a, b]), [{"x": x}], 1.0,
        law="power_floor", recipe=known["recipe"].tolist(), pair=known["seed"].tolist(),
    )  # fmt: skip
    value = now.now.value if now.recipes[0] == a else -now.now.value
    return value - float(measured.mean()), float(np.hypot(now.now.sd, measured.sem()))
