"""By how much every loss shifted between two commits, told by the noise of its own width, and all of them together.

Cells that both commits ran with the same seeds are differenced seed by seed, so that what their runs share cancels;
others are compared by their means. Small widths are often many times as noisy as large ones, so a standard deviation is
pooled over the recipes of one width, never over widths. One test asks whether all losses moved together, which a small
change of every one shows long before it shows in any.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats
from crossover.runs.estimates import Estimate, interval

_GROUP = ["recipe", "axes", "width"]


@dataclass(frozen=True)
class Shifts:
    """New loss less old one."""

    each: dict[tuple[str, str, int], Estimate]
    """In nats, by recipe, axes and width."""
    together: Estimate | None
    """Mean over all, in standard deviations of a shift of one seed; None where none has noise to tell it by."""


@dataclass(frozen=True)
class _Group:
    """One recipe at one width, in both commits."""

    key: tuple[str, str, int]
    value: float
    share: float
    """Variance of the value over that of one difference (paired), or of one run."""
    residuals: list[Floats]
    paired: bool
    runs: tuple[str, ...]
    """Which runs of the new commit these are."""

    @property
    def kind(self) -> tuple[int, bool]:
        """Groups of one kind scatter alike."""
        return self.key[2], self.paired


def shifts(old: pd.DataFrame, new: pd.DataFrame) -> Shifts:
    """Of the losses of finished cells; a group that is the same in both is none."""
    groups = list(_groups(old[old["status"] == "done"], new[new["status"] == "done"]))
    own = list({group.runs: group for group in groups}.values())  # recipes that meet share their runs
    noise = {kind: _pooled([g for g in own if g.kind == kind]) for kind in dict.fromkeys(g.kind for g in own)}
    each = {}
    for group in groups:
        sd, dof = noise[group.kind]
        each[group.key] = interval(group.value, sd * math.sqrt(group.share), dof)
    return Shifts(each, _together(own, noise))


def _groups(old: pd.DataFrame, new: pd.DataFrame) -> Iterator[_Group]:
    before = dict(tuple(old.groupby(_GROUP, sort=False)))
    for key, rows in new.groupby(_GROUP, sort=False):
        if key not in before:
            continue
        a, b = (side.set_index("seed")["loss_validation"].sort_index() for side in (before[key], rows))
        if a.equals(b):
            continue
        paired = a.index.equals(b.index)
        parts = [(b - a).to_numpy(float)] if paired else [a.to_numpy(float), b.to_numpy(float)]
        share = 1 / len(b) if paired else 1 / len(a) + 1 / len(b)
        residuals = [part - part.mean() for part in parts]
        value = float(b.mean() - a.mean())
        yield _Group(key, value, share, residuals, paired, tuple(sorted(rows["fingerprint"])))


def _pooled(groups: list[_Group]) -> tuple[float, int]:
    """Standard deviation and degrees of freedom; nan without repeats."""
    parts = [part for group in groups for part in group.residuals]
    dof = sum(len(part) - 1 for part in parts)
    return (math.sqrt(sum(float(part @ part) for part in parts) / dof), dof) if dof else (math.nan, 0)


def _together(groups: list[_Group], noise: dict[tuple[int, bool], tuple[float, int]]) -> Estimate | None:
    """Weighted by how well each is known; a value in estimated s.d. scatters by nu / (nu - 2), as Student's t does."""
    told = [group for group in groups if noise[group.kind][1] > 2 and noise[group.kind][0] > 0]
    if not told:
        return None
    weight = np.array([1 / group.share for group in told])
    value = np.array([group.value / noise[group.kind][0] for group in told])
    heavy = np.array([noise[group.kind][1] / (noise[group.kind][1] - 2) for group in told])
    total = float(weight.sum())
    dof = sum(noise[kind][1] for kind in {group.kind for group in told})
    return interval(float(weight @ value) / total, math.sqrt(float(weight @ heavy)) / total, dof)
