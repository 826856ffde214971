"""Curves held back, of every study of a checkout that has them: `make foresee`, after `make study STUDY=all`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from crossover.plots.blocks import show, table
from tests.curves.scoring import CURVES, Case, Scored, beside, by_recipe, mixed, score, summary


def of_study(path: Path) -> pd.DataFrame:
    """A study's finished curves, with what names their runs."""
    key = path.parent.name
    losses = pd.read_csv(Path("data/results") / key / "losses.csv").drop_duplicates("fingerprint")
    losses = losses[losses["status"] == "done"]
    axes = losses["axes"].fillna("").astype(str) if "axes" in losses else ""
    named = losses.assign(study=key, recipe=losses["recipe"] + axes, N=losses["n_nonembedding"])
    curves = pd.read_parquet(path).drop(columns=["grad_norm"])
    whole = curves.merge(named[["fingerprint", "study", "recipe", "N"]], on="fingerprint")
    return whole.rename(columns={"fingerprint": "run"})


def cases() -> Iterator[tuple[str, list[Case]]]:
    """By study of the checkout; then those that the tests have: beside others of a size, and with all mixed."""
    for path in sorted(Path("data/studies").glob("*/curves.parquet")):
        found = list(by_recipe(of_study(path)))
        if found:
            yield path.parent.name, found
    courses = pd.read_parquet(CURVES)
    for others in (1, 2):
        yield f"beside {others} of its size", list(beside(courses, others))
    courses = courses[courses["study"] == "courses"]
    for variants in (1, 2):
        yield f"mixed, {variants} of each size", list(mixed(courses, np.random.default_rng(1), variants, 24))


def main() -> int:
    """Print how forecasts did."""
    out, every = None, list[Scored]()
    for name, found in cases():
        scored = [item for case in found for item in score(case)]
        every += [] if name.startswith(("beside", "mixed")) else scored
        told = summary(scored)
        out = out or table("curves held back", "study", *told)
        out.add(name, *(f"{value:.3g}" for value in told.values()))
        print(name, file=sys.stderr, flush=True)
    if out is not None and every:
        out.add("all studies", *(f"{value:.3g}" for value in summary(every).values()))
        show([out])
    return 0


if __name__ == "__main__":
    sys.exit(main())
