"""A training run as the forecast of curves sees it: losses averaged over blocks, with what had been learned by then.

What had been learned is told by three numbers at each block: effective tokens, the integral of the learning rate over
its peak; the size; and how far the rate's decline has paid off so far. Each fall of the rate by dh, as a share of its
peak, pays dh x t/(t + c T) after another t tokens, with T the effective tokens until then: a form of the sum over past
falls in the multi-power law (Luo et al. 2025, arXiv 2503.12811, eq. 1), at two time scales c.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError

FIRST = 0.05
"""Share of a run that is not looked at: warmup, and the fall from the loss at initialisation."""
PAYS = (0.02, 0.3)
"""Time scales of a falling rate, as shares of the effective tokens until then."""
_FALLS = 120
_FEWEST = 8
_OUTLIER = 6.0  # scaled median deviations of a second difference, beyond which it is cut


@dataclass(frozen=True)
class Course:
    """One run in M blocks, [M] each; blocks that have not come yet have a loss of nan."""

    name: str
    log_n: float
    x: Floats
    """Tokens (or steps) in the middle of each block."""
    end: Floats
    """The same at its end."""
    total: float
    """At the end of the run as it is planned."""
    loss: Floats
    noise: Floats
    """Standard deviation of the mean of a block's losses."""
    log_s: Floats
    """Log effective tokens."""
    paid: Floats
    """What the falls of the rate have paid so far, by time scale, [M, 2]; 0 under a constant rate."""

    @property
    def come(self) -> npt.NDArray[np.bool_]:
        """The blocks that have a loss, [M]."""
        return np.isfinite(self.loss)

    def seen(self) -> "Course":
        """These alone."""
        return self.only(self.come)

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Course":
        """Some blocks."""
        parts = (self.x, self.end, self.loss, self.noise, self.log_s, self.paid)
        x, end, loss, noise, log_s, paid = (part[chosen] for part in parts)
        return Course(self.name, self.log_n, x, end, self.total, loss, noise, log_s, paid)


def make_course(name: str, n: float, x: Floats, loss: Floats, lr: Floats | None, blocks: int) -> Course:
    """A run's logged points as blocks of equal length.

    Args:
        name: of the run.
        n: its size, positive.
        x: p tokens (or steps), ascending; the last one is where the run ends by plan.
        loss: p training losses; nan where none was logged, and where the run has not come yet.
        lr: p learning rates; None for a constant one.
        blocks: how many blocks at most; each has a point or more.

    Raises:
        UsageError: naming the run, for too few points, a rate that is nowhere positive, or x that does not ascend.
    """
    rate = np.ones(len(x)) if lr is None else lr
    _require(name, x, rate)
    share = rate / rate.max()
    before = np.concatenate([share[:1], share[:-1]])
    effective = np.cumsum(0.5 * (share + before) * np.diff(x, prepend=0.0))
    first = max(int(np.searchsorted(x, FIRST * x[-1])), int(np.searchsorted(effective, 0.0, side="right")))
    marks = np.linspace(first, len(x), min(blocks, len(x) - first) + 1).round().astype(int)
    edges = np.unique(marks)
    middle, last = (edges[:-1] + edges[1:] - 1) // 2, edges[1:] - 1
    there = np.flatnonzero(np.isfinite(loss))
    means, counts = _means(loss, edges, there)
    one = _point_noise(loss[there[there >= first]])
    return Course(
        name=name,
        log_n=float(np.log(n)),
        x=x[middle],
        end=x[last],
        total=float(x[-1]),
        loss=means,
        noise=one / np.sqrt(counts),
        log_s=np.log(effective[middle]),
        paid=_paid(share, x, effective, middle),
    )


def _means(loss: Floats, edges: npt.NDArray[np.int_], there: npt.NDArray[np.int_]) -> tuple[Floats, Floats]:
    """Mean loss of each block whose last points have come, and of how many it is, or would be."""
    counts = np.histogram(there, edges)[0].astype(float)
    reach = there[-1] + np.median(np.diff(there)) if len(there) > 1 else -1.0
    sums = np.add.reduceat(np.where(np.isfinite(loss), loss, 0.0), edges[:-1])
    come = (counts > 0) & (edges[1:] - 1 < reach)
    usual = np.median(counts[come]) / np.median(np.diff(edges)[come]) if come.any() else 1.0
    means = np.where(come, sums / np.maximum(counts, 1.0), np.nan)
    return means, np.where(come, counts, np.maximum(usual * np.diff(edges), 1.0))


def _require(name: str, x: Floats, rate: Floats) -> None:
    if len(x) < _FEWEST:
        raise UsageError(f"run '{name}' has {len(x)} points, and a curve needs {_FEWEST} or more")
    if not (x[0] >= 0 and (np.diff(x) > 0).all()):
        raise UsageError(f"run '{name}': tokens must ascend from point to point, each once, and none be below zero")
    if not (np.isfinite(rate).all() and (rate >= 0).all() and rate.max() > 0):
        raise UsageError(f"run '{name}': a learning rate is missing, or below zero, or all of them are zero")


def _point_noise(loss: Floats) -> float:
    """Standard deviation of a point about a smooth curve: second differences, whose variance is six times its."""
    if len(loss) < 4:
        return 0.0
    second = np.diff(loss, 2)
    limit = _OUTLIER * 1.4826 * float(np.median(np.abs(second)))
    return float(np.sqrt(np.mean(np.minimum(second**2, limit**2)) / 6))


def _paid(share: Floats, x: Floats, effective: Floats, middle: Floats) -> Floats:
    """[M, 2]; the falls are summed up over at most `_FALLS` stretches."""
    marks = np.unique(np.linspace(int(np.argmax(share)), len(x) - 1, _FALLS).round().astype(int))
    fall, since = -np.diff(share[marks]), marks[1:]
    after = np.maximum(x[middle, None] - x[since], 0.0)
    came = middle[:, None] >= since
    scales = (after / (after + c * effective[middle, None]) for c in PAYS)
    return np.stack([(fall * came * scale).sum(1) for scale in scales], 1)
