"""The best learning rate (and batch) of every model size, how broad it is, and the law by which it moves.

    optimum(lr, loss, {"N": n, "D": d}, batch=batch)

Optima are broad, so a law is judged by its loss regret: what is lost, against the best run of the grid, by taking the
grid point nearest to where the law points (Step Law, arXiv 2503.04715). Learning rates that differ by float noise are
grouped in log space.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.laws.fit import Fitted, fit_law
from crossover.laws.objectives import squares
from crossover.laws.result import Fit
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import digest_arrays
from crossover.runs.grouping import centres, group_log
from crossover.runs.rows import require_positive, same_length
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.plots.house import Figure

BROAD = 0.0025
"""Broadness is the range of learning rates whose loss is within this share of the best."""
_NEAR = 0.02  # runs within this share of the best shape the surface, weighted down to zero there
_SAME = 0.01  # settings closer than this share are one setting


@dataclass(frozen=True)
class CellOptimum:
    """Loss against learning rate (and batch) at one size."""

    at: dict[str, float]
    lrs: list[float]
    losses: list[float]
    """Best loss at each learning rate, over batches; means over repeated runs."""
    diverged: list[float]
    """Learning rates at which a run diverged."""
    optimum: float | None
    """Vertex of the fitted surface; None where the best run is at the edge of the grid."""
    batch: float | None
    loss_at_optimum: float
    """At the vertex, or the best measured loss at the edge."""
    best_lr: float
    best_batch: float | None
    best_loss: float
    edge: bool
    broad: tuple[float, float]
    """Smallest and largest learning rate within 0.25% of the best loss."""
    largest_stable: float | None
    """Largest learning rate below every diverged one; None where no run diverged, so the limit was not met."""
    sensitivity: float | None
    """Mean over learning rates of min(loss, loss at initialisation) less the best loss (Wortsman et al. 2309.14322)."""
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Regret:
    """Loss at the grid point nearest to the law's optimum over the grid's best, less 1: over cells."""

    mean: float
    max: float


@dataclass(frozen=True)
class Optima(Answer):
    """All cells, and the laws across those whose optimum lies inside the grid."""

    cells: list[CellOptimum]
    law: Fit | None
    batch_law: Fit | None
    regret: Regret | None
    regret_left_out: Regret | None
    """The same with each cell's law fitted to the other cells."""
    n_rows: int
    left_out: list[LeftOut]
    flags: list[str]
    digest: str

    def said(self) -> Iterator[Block]:
        """Cells, laws and regret."""
        from crossover.laws.words import optima_said

        return optima_said(self)

    def draw(self) -> "Figure":
        """Loss above the cell's best against learning rate."""
        from crossover.plots.charts import draw_optima

        return draw_optima({"": self})


@dataclass(frozen=True)
class _Cell:
    """Runs of one size: grouped settings, log-spaced, with mean losses."""

    at: dict[str, float]
    log_lr: Floats
    log_batch: Floats
    loss: Floats
    diverged: list[float]
    initial: float | None

    def nearest(self, log_lr: float, log_batch: float | None) -> float:
        """Loss of the grid point nearest in log space."""
        apart = (self.log_lr - log_lr) ** 2
        if log_batch is not None:
            apart = apart + (self.log_batch - log_batch) ** 2
        return float(self.loss[apart.argmin()])


def optimum(
    lr: Floats,
    loss: Floats,
    scale: Mapping[str, Floats],
    *,
    batch: Floats | None = None,
    initial: Floats | None = None,
) -> Optima:
    """Optimum of every cell, the laws across cells and their regret.

    Args:
        lr: n positive learning rates.
        loss: n losses; NaN or infinity marks a diverged run.
        scale: what names a cell: {"N": parameters, "D": tokens} or {"x": width}, n positive values each.
        batch: n positive batch sizes, in any unit.
        initial: n losses at initialisation, for the sensitivity.

    Raises:
        UsageError: no column that names a cell, a non-positive value, or no cell with three learning rates.
    """
    if not scale:
        raise UsageError("name what makes a cell: N, D or a width")
    columns = {"lr": lr, **scale, **({"batch": batch} if batch is not None else {})}
    same_length({**columns, "loss": loss, **({"initial": initial} if initial is not None else {})})
    for name, values in columns.items():
        if not ((np.asarray(values, float) > 0) & np.isfinite(np.asarray(values, float))).all():
            raise UsageError(f"{name} must be positive in every row; filter the others out")
    lr, loss = np.asarray(lr, float), np.asarray(loss, float)
    require_positive({"loss": loss})
    if batch is not None and np.ptp(np.log(np.asarray(batch, float))) < _SAME:
        batch = None  # one batch size is no axis
    settings = np.zeros(len(lr)) if batch is None else np.log(_grouped(np.asarray(batch, float)))
    cells = _cells(np.log(_grouped(lr)), loss, scale, settings, initial)
    if not cells:
        raise UsageError("no cell has three learning rates with finished runs; an optimum needs at least three")
    found = [_optimum(cell, batch is not None) for cell in cells]
    law, batch_law, flags = _laws(found)
    flags += _cell_flags(scale, found)
    flags += [f"{sum(cell.edge for cell in found)} cell(s) are best at the edge of their grid"] * any(
        c.edge for c in found
    )
    lost = int((~np.isfinite(loss)).sum())
    return Optima(
        cells=found,
        law=law.fit if law else None,
        batch_law=batch_law.fit if batch_law else None,
        regret=_regret(cells, law, batch_law),
        regret_left_out=_regret_left_out(cells, found) if law else None,
        n_rows=int(np.isfinite(loss).sum()),
        left_out=[LeftOut("diverged, missing or infinite", lost)] if lost else [],
        flags=flags,
        digest=digest_arrays(lr, loss, *(np.asarray(values, float) for values in scale.values())),
    )


def _cell_flags(scale: Mapping[str, Floats], found: list[CellOptimum]) -> list[str]:
    """Cells that were not looked at."""
    cells = len(
        np.unique(np.array([group_log(np.asarray(values, float), 1e-6) for values in scale.values()]), axis=1).T
    )
    lost = cells - len(found)
    return [f"{lost} cell(s) have fewer than three learning rates with finished runs, and are left out"] * (lost > 0)


def _grouped(values: Floats) -> Floats:
    """Each value replaced by the geometric mean of its group."""
    groups = group_log(values, _SAME)
    return centres(values, groups)[groups]


def _cells(
    log_lr: Floats, loss: Floats, scale: Mapping[str, Floats], log_batch: Floats, initial: Floats | None
) -> list[_Cell]:
    keys = np.array([group_log(np.asarray(values, float), 1e-6) for values in scale.values()])
    names, member = np.unique(keys, axis=1, return_inverse=True)
    cells = []
    for index in range(names.shape[1]):
        rows = np.flatnonzero(member.ravel() == index)
        at = {name: float(np.asarray(values, float)[rows[0]]) for name, values in scale.items()}
        start = None if initial is None else _mean_of_finite(np.asarray(initial, float)[rows])
        cell = _cell(at, log_lr[rows], log_batch[rows], loss[rows], start)
        if len(np.unique(cell.log_lr)) >= 3:
            cells.append(cell)
    return cells


def _mean_of_finite(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _cell(at: dict[str, float], log_lr: Floats, log_batch: Floats, loss: Floats, initial: float | None) -> _Cell:
    """Means over repeated runs; a setting of which any run diverged is not an optimum."""
    settings, member = np.unique(np.array([log_lr, log_batch]), axis=1, return_inverse=True)
    member = member.ravel()
    counts = np.bincount(member)
    with np.errstate(invalid="ignore"):
        means = np.bincount(member, np.where(np.isfinite(loss), loss, np.nan)) / counts
    fine = np.isfinite(means)
    lost = sorted(set(np.exp(settings[0][~fine]).tolist()))
    return _Cell(at, settings[0][fine], settings[1][fine], means[fine], lost, initial)


def _optimum(cell: _Cell, batched: bool) -> CellOptimum:
    best = int(cell.loss.argmin())
    rates = np.unique(cell.log_lr)
    lowest = np.array([cell.loss[cell.log_lr == rate].min() for rate in rates])
    edges = [_at_edge(cell.log_lr, best)] + ([_at_edge(cell.log_batch, best)] if batched else [])
    flags = []
    if any(edges):
        flags.append("best at the edge of the grid: " + " and ".join(np.array(["lr", "batch"])[: len(edges)][edges]))
    place, lowest_fit = (None, float(cell.loss[best])) if any(edges) else _vertex(cell, best, batched)
    broad = np.exp(rates[lowest <= lowest.min() * (1 + BROAD)])
    stable = None
    if cell.diverged:
        below = rates[np.exp(rates) < min(cell.diverged)]
        stable = float(np.exp(below[-1])) if len(below) else None
    return CellOptimum(
        at=cell.at,
        lrs=np.exp(rates).tolist(),
        losses=lowest.tolist(),
        diverged=cell.diverged,
        optimum=None if place is None else float(np.exp(place[0])),
        batch=None if place is None or not batched else float(np.exp(place[1])),
        loss_at_optimum=lowest_fit,
        best_lr=float(np.exp(cell.log_lr[best])),
        best_batch=float(np.exp(cell.log_batch[best])) if batched else None,
        best_loss=float(cell.loss[best]),
        edge=any(edges),
        broad=(float(broad.min()), float(broad.max())),
        largest_stable=stable,
        sensitivity=_sensitivity(lowest, len(cell.diverged), cell.initial),
        flags=flags,
    )


def _at_edge(values: Floats, best: int) -> bool:
    return bool(values[best] in (values.min(), values.max()))


def _sensitivity(lowest: Floats, diverged: int, initial: float | None) -> float | None:
    if initial is None or not np.isfinite(initial):
        return None
    capped = np.append(np.minimum(lowest, initial), np.full(diverged, initial))
    return float(capped.mean() - lowest.min())


def _vertex(cell: _Cell, best: int, batched: bool) -> tuple[Floats, float]:
    """Minimum of a quadratic surface in log settings through the runs near the best, or of the nearest runs.

    A run's weight falls linearly from 1 at the best loss to 0 at 2% above it. Where that leaves too few runs, the best
    run and its neighbours along the learning rate decide.
    """
    points = np.array([cell.log_lr, cell.log_batch] if batched else [cell.log_lr])
    weight = np.clip(1 - (cell.loss / cell.loss[best] - 1) / _NEAR, 0, 1)
    place = _surface_minimum(points, cell.loss, weight, best)
    if place is None:
        row = np.flatnonzero(cell.log_batch == cell.log_batch[best])
        order = row[np.argsort(cell.log_lr[row])]
        middle = int(np.flatnonzero(order == best)[0])
        near = order[max(0, middle - 1) : middle + 2]
        chosen = np.zeros(len(cell.loss))
        chosen[near] = 1.0
        line = _surface_minimum(points[:1], cell.loss, chosen, best, spare=0)
        shift = points[:, best].copy()
        if line is None:
            return shift, float(cell.loss[best])
        shift[0] = line[0][0]
        return shift, line[1]
    return place


def _surface_minimum(
    points: Floats, loss: Floats, weight: Floats, best: int, spare: int = 1
) -> tuple[Floats, float] | None:
    """Vertex and value of the weighted quadratic surface, or None where it is not a bowl within the grid."""
    used = weight > 0
    count = len(points)
    apart = points[:, used] - points[:, best, None]
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    design = np.column_stack([np.ones(used.sum()), *apart, *(apart[i] * apart[j] for i, j in pairs)])
    if len(design) < design.shape[1] + spare or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    root = np.sqrt(weight[used])
    solved = np.linalg.lstsq(design * root[:, None], loss[used] * root, rcond=None)[0]
    bend = np.zeros((count, count))
    for value, (i, j) in zip(solved[1 + count :], pairs, strict=True):
        bend[i, j] += value
        bend[j, i] += value
    if np.linalg.eigvalsh(bend).min() <= 0:
        return None
    shift = np.linalg.solve(bend, -solved[1 : 1 + count])
    place = points[:, best] + shift
    if ((place < points.min(1)) | (place > points.max(1))).any():
        return None
    return place, float(solved[0] + 0.5 * shift @ solved[1 : 1 + count])


_BEYOND = 3
"""Sizes that a law with intervals needs beyond its inputs: a line through two or three points fits whatever is so."""


def _laws(found: list[CellOptimum], intervals: bool = True) -> tuple[Fitted | None, Fitted | None, list[str]]:
    """Laws of the learning rate in all of the scale, and of the batch in D (or in what there is)."""
    inside = [cell for cell in found if cell.optimum is not None]
    law, flag = _law(inside, [cell.optimum or np.nan for cell in inside], list(found[0].at), intervals)
    if law is None:
        return None, None, [flag]
    batches = [cell.batch for cell in inside if cell.batch is not None]
    if len(batches) < len(inside):
        return law, None, []
    names = ["D"] if "D" in found[0].at else list(found[0].at)
    batch_law, more = _law(inside, batches, names, intervals)
    return law, batch_law, [more] if more else []


def _law(
    inside: list[CellOptimum], values: list[float], names: list[str], intervals: bool
) -> tuple[Fitted | None, str]:
    varying = {name: np.array([cell.at[name] for cell in inside]) for name in names}
    varying = {name: place for name, place in varying.items() if len(place) and np.ptp(np.log(place)) > 1e-6}
    if len(varying) == 2 and abs(float(np.corrcoef(*np.log(list(varying.values())))[0][1])) > 0.999:
        return None, f"no law: {' and '.join(varying)} move together; name one of them"
    least = len(varying) + (_BEYOND if intervals else 1)
    if len(inside) < least or not varying:
        return None, f"no law: {len(inside)} cell(s) have an optimum inside their grid, {max(least, 4)} are needed"
    if set(varying) == {"N", "D"}:
        return fit_law("optimum_nd", varying, np.array(values), objective=squares(True), intervals=intervals), ""
    if len(varying) > 1:
        raise UsageError(f"a law of {' and '.join(varying)} is not known; name N and D, or one scale")
    ((name, place),) = varying.items()
    fitted = fit_law("optimum", {"x": place}, np.array(values), objective=squares(True), intervals=intervals)
    return replace(fitted, fit=replace(fitted.fit, inputs={"x": name})), ""


def _place(law: Fitted, at: dict[str, float]) -> float:
    names = law.fit.inputs
    log_x = np.log([[at[names[name]]] for name in law.problem.law.inputs])
    return float(law.problem.law.log_loss(log_x, law.theta[None])[0, 0])


def _regrets(cell: _Cell, law: Fitted, batch_law: Fitted | None) -> float:
    batch = None if batch_law is None else _place(batch_law, cell.at)
    return cell.nearest(_place(law, cell.at), batch) / float(cell.loss.min()) - 1


def _regret(cells: list[_Cell], law: Fitted | None, batch_law: Fitted | None) -> Regret | None:
    if law is None:
        return None
    values = [_regrets(cell, law, batch_law) for cell in cells]
    return Regret(float(np.mean(values)), float(np.max(values)))


def _regret_left_out(cells: list[_Cell], found: list[CellOptimum]) -> Regret | None:
    values = []
    for i, cell in enumerate(cells):
        law, batch_law, _ = (
            _laws([*found[:i], *found[i + 1 :]], intervals=False) if len(found) > 1 else (None, None, [])
        )
        if law is None or not set(law.fit.inputs.values()) <= set(cell.at):
            return None
        values.append(_regrets(cell, law, batch_law))
    return Regret(float(np.mean(values)), float(np.max(values)))
