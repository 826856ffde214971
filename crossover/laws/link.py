"""From a loss to a metric that people care about: accuracy, error, a score. The second step of a ladder.

A law says the loss of a model that nobody has trained; a metric that is noisy at every size follows the loss by a curve
that all models share (Gadre et al. 2024, arXiv 2403.08540, eq. 5; the OLMo ladder, Bhagia et al. 2024,
arXiv 2412.04403, eq. 2). What is not known of the loss, of the curve, and of a run about it, adds up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from scipy import optimize

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.base.numerals import short
from crossover.laws.result import Metric, Predicted, score
from crossover.runs.estimates import Estimate, interval, t_factor

Form = Literal["sigmoid", "exponential"]
FORMULAS = {
    "sigmoid": "chance + (best - chance) / (1 + exp(k (L - c)))",
    "exponential": "chance - scale exp(-k L)",
}
_NAMES = {"sigmoid": ("chance", "best", "k", "c"), "exponential": ("chance", "scale", "k")}
_STEEP = (0.3, 1.0, 3.0, 10.0)
_FLAT = 1e-12
_SLACK = 0.1  # of the span between the ends, by which a noisy metric may lie beyond one


@dataclass(frozen=True)
class Link:
    """A fitted curve from loss to metric."""

    form: str
    theta: Floats
    """By the names of the form."""
    cov: Floats
    """Of theta; of a held one zero."""
    dof: int
    sd: float
    """Of a run's metric about the curve."""
    ends: tuple[float, float]
    """Between which the metric must lie; infinite where nobody said so."""

    def at(self, loss: float, sd: float, noise: float) -> tuple[Estimate, tuple[float, float] | None]:
        """The metric where the loss is expected at `loss` with `sd`, and where a run whose loss has `noise` may lie."""
        value, slope, gradient = self._derivatives(loss)
        known = math.sqrt(max(float(gradient @ self.cov @ gradient), 0.0) + (slope * sd) ** 2)
        found = interval(value, known, self.dof)
        if found.ci is None:
            return found, None
        half = (t_factor(self.dof) or math.inf) * math.hypot(known, slope * noise, self.sd)
        low, high = self._within(*found.ci)
        return Estimate(value, known, (low, high)), self._within(value - half, value + half)

    def _within(self, *ends: float | None) -> tuple[float, float]:
        low, high = (float(np.clip(end if end is not None else np.nan, *self.ends)) for end in ends)
        return low, high

    def _derivatives(self, loss: float) -> tuple[float, float, Floats]:
        """The metric, its derivative by the loss, and those by theta, by central differences."""
        move = 1e-5
        ahead, behind = (float(curve(self.form, self.theta, np.array([loss + s]))[0]) for s in (move, -move))
        gradient = np.zeros(len(self.theta))
        for j, value in enumerate(self.theta):
            step = 1e-6 * max(1.0, abs(float(value)))
            up, down = (self.theta + sign * step * np.eye(len(self.theta))[j] for sign in (1, -1))
            gradient[j] = float((curve(self.form, up, loss) - curve(self.form, down, loss)) / (2 * step))
        return float(curve(self.form, self.theta, np.array([loss]))[0]), (ahead - behind) / (2 * move), gradient


def curve(form: str, theta: Floats, loss: Floats | float) -> Floats:
    """The metric at losses [n]."""
    return _basis(form, theta[-2:] if form == "sigmoid" else theta[-1:], np.asarray(loss, float)) @ theta[:2]


def _basis(form: str, shape: Floats, loss: Floats) -> Floats:
    """What the two levels of a form are multiplied with, [n, 2]."""
    if form == "sigmoid":
        share = 0.5 * (1 - np.tanh(0.5 * shape[0] * (loss - shape[1])))
        return np.stack([1 - share, share], -1)
    return np.stack([np.ones_like(loss), -np.exp(np.clip(-shape[0] * loss, -700, 700))], -1)


def fit_link(
    loss: Floats, metric: Floats, form: str = "sigmoid", chance: float | None = None, best: float | None = None
) -> Link:
    """The curve through finished runs, by least squares.

    Args:
        loss: n losses.
        metric: n values of the metric, rising or falling as the loss falls.
        form: `sigmoid`, or `exponential`, which is a sigmoid's end far from its other one.
        chance: the metric of a model that knows nothing, where it is known; the end of the curve at high loss.
        best: the metric that no model exceeds, where it is known; the end at low loss.

    Raises:
        UsageError: another form, too few runs, a metric that is the same in all of them.
    """
    if form not in FORMULAS:
        raise UsageError(f"no link is called '{form}'; {nearest(form, list(FORMULAS))}")
    known = np.array([np.nan if end is None else end for end in (chance, best)])
    if form == "exponential":
        if best is not None:
            raise UsageError("an exponential link has no best value; leave it out, or take the sigmoid")
        known = np.array([known[0], np.nan])
    free = np.concatenate([np.isnan(known), np.ones(len(_NAMES[form]) - 2, bool)])
    used = np.isfinite(loss) & np.isfinite(metric)
    loss, metric = loss[used], metric[used]
    if len(loss) <= free.sum():
        raise UsageError(f"{len(loss)} runs have a metric, and the link has {free.sum()} parameters; ask for fewer")
    if np.ptp(metric) < _FLAT or np.ptp(loss) < _FLAT:
        raise UsageError("the metric or the loss is the same in every run, so no curve joins them")

    _require_between(metric, chance, best)

    def away(theta: Floats) -> Floats:
        return curve(form, _whole(theta, free, known), loss) - metric

    starts = [_start(form, np.array(shape), loss, metric, known)[free] for shape in _shapes(form, loss)]
    found = [optimize.least_squares(away, start, x_scale="jac") for start in starts if np.isfinite(start).all()]
    chosen = min(found, key=lambda item: float(item.cost))
    dof = len(loss) - int(free.sum())
    variance = 2 * float(chosen.cost) / dof
    cov = np.zeros((len(free), len(free)))
    cov[np.ix_(free, free)] = variance * np.linalg.pinv(chosen.jac.T @ chosen.jac)
    given = [end for end in (chance, best) if end is not None]
    ends = (min(given), max(given)) if len(given) == 2 else _one_end(given, metric)
    return Link(form, _whole(chosen.x, free, known), cov, dof, math.sqrt(variance), ends)


def _require_between(metric: Floats, chance: float | None, best: float | None) -> None:
    """Raise `UsageError` where runs lie farther beyond both held ends than noise could take them."""
    if chance is None or best is None:
        return
    low, high = sorted((chance, best))
    slack = _SLACK * (high - low)
    if beyond := int(((metric < low - slack) | (metric > high + slack)).sum()):
        raise UsageError(
            f"{beyond} of {len(metric)} runs have a metric beyond {low:g} and {high:g}, the ends that are held; "
            f"it goes from {short(metric.min(), 4)} to {short(metric.max(), 4)}"
        )


def _one_end(given: Sequence[float], metric: Floats) -> tuple[float, float]:
    """Between one known end and none, on the side where the runs are."""
    if not given:
        return -math.inf, math.inf
    return (given[0], math.inf) if float(np.median(metric)) >= given[0] else (-math.inf, given[0])


def _whole(theta: Floats, free: Floats, known: Floats) -> Floats:
    whole = np.concatenate([known, np.zeros(len(free) - 2)])
    whole[free.astype(bool)] = theta
    return whole


def _shapes(form: str, loss: Floats) -> list[tuple[float, ...]]:
    span = max(float(np.ptp(loss)), 1e-6)
    steep = [value / span for value in _STEEP]
    return list(product(steep, np.quantile(loss, [0.1, 0.5, 0.9]))) if form == "sigmoid" else [(k,) for k in steep]


def _start(form: str, shape: Floats, loss: Floats, metric: Floats, known: Floats) -> Floats:
    """Levels by linear least squares at a shape."""
    basis, levels = _basis(form, shape, loss), known.copy()
    open_ = np.isnan(known)
    rest = metric - basis[:, ~open_] @ known[~open_]
    if open_.any():
        levels[open_] = np.linalg.lstsq(basis[:, open_], rest, rcond=None)[0]
    return np.concatenate([levels, shape])


def metric_of(
    link: Link, name: str, losses: Sequence[Predicted], noise: float, n_rows: int,
    heldout: tuple[Sequence[Predicted], Floats] | None = None,
) -> Metric:  # fmt: skip
    """What is said of a metric at places where the loss is predicted.

    Args:
        link: the curve.
        name: of the metric.
        losses: predicted losses.
        noise: standard deviation of a run's loss, relative to the loss.
        n_rows: how many runs the curve was fitted to.
        heldout: predicted losses of runs that were held out, and their m measured metrics.
    """
    errors = np.sqrt(np.diag(link.cov))
    params = {
        key: interval(float(value), float(error), link.dof) if error > 0 else Estimate(float(value))
        for key, value, error in zip(_NAMES[link.form], link.theta, errors, strict=True)
    }
    told = None
    if heldout is not None:
        known = [pair for pair in zip(*heldout, strict=True) if np.isfinite(pair[1])]
        told = score([_predict(link, row, noise, float(m)) for row, m in known]) if known else None
    rows_ahead = [_predict(link, row, noise) for row in losses]
    return Metric(name, link.form, FORMULAS[link.form], params, link.sd, n_rows, rows_ahead, told)


def _predict(link: Link, row: Predicted, noise: float, measured: float | None = None) -> Predicted:
    found, run = link.at(row.loss.value, row.loss.se or 0.0, noise * row.loss.value)
    if row.loss.se is None:
        found, run = Estimate(found.value), None
    error = found.value / measured - 1 if measured else None
    return Predicted(row.at, found, run, measured, error)
