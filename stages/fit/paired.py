"""Which of two recipes wins along the ladder: paired differences with an honest interval from few seeds.

Runs of the same seed share initialisation, data order and held-out text, so their difference is far less noisy than
either. Its variance is pooled over the rungs and every interval is a t interval; a percentile bootstrap over three
seeds would cover about 62% where it claims 90%.

Rungs where the two recipes are the same run by construction (structural meeting points) have difference zero and no
variance. They are left out of every estimate; what is asked instead is the sign on each side of them.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from stages.fit.laws import Estimate, interval, t_factor

_POWER = 0.8
_UNEQUAL = 0.05  # Bartlett's test below this flags that rungs differ in noise


@dataclass(frozen=True)
class Rung:
    """The paired difference at one width, in nats per token; negative: B is better."""

    width: int
    pairs: int
    structural: bool
    difference: Estimate
    sd: float | None
    """Standard deviation over this rung's own pairs."""
    detectable: float | None
    """Smallest true difference that these pairs would show with 80% power."""


@dataclass(frozen=True)
class Side:
    """All rungs on one side of the structural meeting point."""

    name: str
    widths: list[int]
    difference: Estimate
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Recipe B against recipe A along the ladder."""

    a: str
    b: str
    pooled_sd: float | None
    dof: int
    rungs: list[Rung]
    sides: list[Side]
    trend: Estimate | None
    """Change of the difference per doubling of width above the meeting point (over all rungs where there is none)."""
    verdict: str
    """crosses, no crossing in range, or undecided."""
    bracket: list[int] | None
    """Neighbouring rungs between which the sign changes, where both signs are certain."""
    flags: list[str] = field(default_factory=list)


def compare(losses: pd.DataFrame, a: str, b: str) -> Comparison:
    """Compare two recipes of a losses table (`status`, `recipe`, `width`, `axes`, `seed`, `loss_validation`)."""
    pairs, lost = _pairs(losses, a, b)
    groups = {int(width): group for width, group in pairs.groupby("width")}
    free = {width: group["d"].to_numpy() for width, group in groups.items() if not group["structural_pair"].all()}
    dof = sum(len(d) - 1 for d in free.values())
    sd = math.sqrt(sum(float(np.var(d)) * len(d) for d in free.values()) / dof) if dof else None
    rungs = [_rung(width, group, sd, dof) for width, group in groups.items()]
    meeting = [rung.width for rung in rungs if rung.structural]
    sides = _sides(free, meeting, sd, dof, a, b)
    certain = [(rung.width, _sign(rung.difference)) for rung in rungs if not rung.structural]
    verdict, bracket = _verdict(certain)
    return Comparison(
        a=a,
        b=b,
        pooled_sd=sd,
        dof=dof,
        rungs=rungs,
        sides=sides,
        trend=_trend({w: d for w, d in free.items() if not meeting or w > max(meeting)}, sd, dof),
        verdict=verdict,
        bracket=bracket,
        flags=_flags(free, meeting, lost, dof),
    )


def _pairs(losses: pd.DataFrame, a: str, b: str) -> tuple[pd.DataFrame, int]:
    """One row per pair with d = loss(B) - loss(A), and the number of pairs lost to divergence."""
    key = ["width", "axes", "seed"]
    columns = [*key, "loss_validation", "status", "structural_pair"]
    left, right = (losses.loc[losses["recipe"] == name, columns] for name in (a, b))
    both = left.merge(right, on=[*key, "structural_pair"], suffixes=("_a", "_b"), validate="one_to_one")
    done = (both["status_a"] == "done") & (both["status_b"] == "done")
    kept = both[done].copy()
    kept["d"] = kept["loss_validation_b"] - kept["loss_validation_a"]
    return kept, int((~done).sum())


def _rung(width: int, group: pd.DataFrame, sd: float | None, dof: int) -> Rung:
    d, structural = group["d"].to_numpy(), bool(group["structural_pair"].all())
    if structural:
        return Rung(width, len(d), True, Estimate(0.0), None, None)
    return Rung(
        width=width,
        pairs=len(d),
        structural=False,
        difference=interval(float(d.mean()), (sd or math.nan) / math.sqrt(len(d)), dof),
        sd=float(np.std(d, ddof=1)) if len(d) > 1 else None,
        detectable=None if sd is None else detectable(sd, len(d), dof),
    )


def detectable(sd: float, pairs: int, dof: int) -> float:
    """Minimum detectable difference of a mean of pairs: (t of the interval + t of the power) x standard error."""
    return float(((t_factor(dof) or math.nan) + stats.t.ppf(_POWER, dof)) * sd / math.sqrt(pairs))


def _sides(free: dict[int, np.ndarray], meeting: list[int], sd: float | None, dof: int, a: str, b: str) -> list[Side]:
    if not meeting:
        return []
    below = {width: d for width, d in free.items() if width < min(meeting)}
    above = {width: d for width, d in free.items() if width > max(meeting)}
    return [_side(name, rungs, sd, dof, a, b) for name, rungs in (("below", below), ("above", above)) if rungs]


def _side(name: str, rungs: dict[int, np.ndarray], sd: float | None, dof: int, a: str, b: str) -> Side:
    """Unweighted mean over the rungs of a side."""
    mean = float(np.mean([d.mean() for d in rungs.values()]))
    error = (sd or math.nan) * math.sqrt(sum(1 / len(d) for d in rungs.values())) / len(rungs)
    difference = interval(mean, error, dof)
    verdict = {-1: f"{b} better", 1: f"{a} better", 0: "undecided"}[_sign(difference)]
    return Side(name, sorted(rungs), difference, verdict)


def _sign(difference: Estimate) -> int:
    """-1 or 1 where the interval excludes zero, else 0."""
    if difference.low is None or difference.high is None:
        return 0
    return int(difference.low > 0) - int(difference.high < 0)


def _verdict(certain: list[tuple[int, int]]) -> tuple[str, list[int] | None]:
    signed = [(width, sign) for width, sign in certain if sign]
    for (left, before), (right, after) in pairwise(signed):
        if before != after:
            return "crosses", [left, right]
    if signed and len(signed) == len(certain):
        return "no crossing in range", None
    return "undecided", None


def _trend(rungs: dict[int, np.ndarray], sd: float | None, dof: int) -> Estimate | None:
    """Weighted least squares of the difference on log2 width, with the pooled variance."""
    if len(rungs) < 2:
        return None
    x = np.log2(list(rungs))
    weights = np.array([len(d) for d in rungs.values()], float)
    means = np.array([d.mean() for d in rungs.values()])
    centred = x - np.average(x, weights=weights)
    spread = float(weights @ centred**2)
    return interval(float(weights @ (centred * means)) / spread, (sd or math.nan) / math.sqrt(spread), dof)


def _flags(free: dict[int, np.ndarray], meeting: list[int], lost: int, dof: int) -> list[str]:
    flags = []
    if meeting:
        flags.append(f"the recipes are the same run at width {', '.join(map(str, meeting))}: left out of estimates")
    if not dof:
        flags.append("no rung has two seeds: no interval")
    if lost:
        flags.append(f"{lost} pair(s) left out because a cell diverged")
    repeated = [d for d in free.values() if len(d) > 1 and np.ptp(d) > 0]
    if len(repeated) > 1 and stats.bartlett(*repeated).pvalue < _UNEQUAL:
        spreads = [float(np.std(d, ddof=1)) for d in repeated]
        span = f"SD {min(spreads):.3f} to {max(spreads):.3f} nats"
        flags.append(f"noise differs between rungs ({span}); the pooled interval averages it")
    return flags
