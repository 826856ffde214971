"""What a study will cost before it is run: cells, FLOPs, hours and money, from params.yaml alone.

Whether a cell is already in the store needs the tokenized text; without it the count is unknown, not zero.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stages.cells.plan import fingerprints
from stages.shards.index import read_index
from stages.shards.manifest import INDEX
from stages.store.store import store_from_environment
from stages.study.cell import Cell
from stages.study.costs import count_flops, nonembedding, peak_memory
from stages.study.params import Params, Scale
from stages.study.plan import Row, hours, plan_rows

_EXA = 1e18


@dataclass(frozen=True)
class RungForecast:
    """All cells of one width. FLOPs and tokens are per cell, hours are of the distinct cells together."""

    width: int
    n_nonembedding: int
    tokens: int
    eflop_6n: float
    eflop_total: float
    rows: int
    cells: int
    cached: int | None
    hours: float
    peak_gb: float | None
    """What a cell asks of one GPU at most, in 10^9 bytes, where the machine says what it has."""


@dataclass(frozen=True)
class Forecast:
    """A study at a scale, priced."""

    study: str
    scale: str
    machine: str
    rungs: list[RungForecast]
    rows: int
    cells: int
    cached: int | None
    eflop_to_run: float
    hours_to_run: float
    usd_to_run: float
    hours_in_all: float
    hours_allowed: float
    """What the study may take; the plan stage refuses more."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Total:
    """Several studies at one scale, cells that they share counted once."""

    scale: str
    machine: str
    usd_per_hour: float
    studies: int
    cells: int
    eflop_to_run: float
    hours_to_run: float
    usd_to_run: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Planned:
    """The rows of a study at a scale, and the cells of them that are stored; None where that is unknown."""

    study: str
    scale: str
    rows: list[Row]
    stored: set[Cell] | None

    @property
    def to_run(self) -> set[Cell]:
        """Distinct cells that are not stored."""
        return {row.cell for row in self.rows} - (self.stored or set())


def look_up(params: Params, study: str, scale: str) -> Planned:
    """What a study at a scale consists of, and what of it is there."""
    rows = plan_rows(params.study(study), params.scale(scale))
    return Planned(study, scale, rows, stored_cells(rows, params, params.scale(scale)))


def total(params: Params, planned: Sequence[Planned]) -> Total:
    """Price studies at one scale together."""
    scale_name = planned[0].scale
    scale = params.scale(scale_name)
    cells = {row.cell for item in planned for row in item.rows}
    to_run = set[Cell]().union(*(item.to_run for item in planned))
    needed = hours(to_run, scale)
    return Total(
        scale=scale_name,
        machine=scale.machine.name,
        usd_per_hour=scale.machine.usd_per_hour,
        studies=len(planned),
        cells=len(cells),
        eflop_to_run=_eflop(to_run),
        hours_to_run=needed,
        usd_to_run=needed * scale.machine.usd_per_hour,
    )


def forecast(params: Params, planned: Planned) -> Forecast:
    """Price a study at a scale."""
    study, scale, rows = params.study(planned.study), params.scale(planned.scale), planned.rows
    by_width: dict[int, list[Cell]] = defaultdict(list)
    for row in rows:
        by_width[row.cell.width].append(row.cell)
    rungs = [_rung(width, cells, planned.stored, scale) for width, cells in by_width.items()]
    to_run = planned.to_run
    needed = hours(to_run, scale)
    return Forecast(
        study=planned.study,
        scale=planned.scale,
        machine=scale.machine.name,
        rungs=rungs,
        rows=len(rows),
        cells=sum(rung.cells for rung in rungs),
        cached=None if planned.stored is None else sum(rung.cached or 0 for rung in rungs),
        eflop_to_run=_eflop(to_run),
        hours_to_run=needed,
        usd_to_run=needed * scale.machine.usd_per_hour,
        hours_in_all=math.fsum(rung.hours for rung in rungs),
        hours_allowed=study.hours.get(planned.scale, scale.study_hours),
    )


def _rung(width: int, cells: list[Cell], stored: set[Cell] | None, scale: Scale) -> RungForecast:
    distinct, flops, room = set(cells), count_flops(cells[0]), scale.machine.memory_gb
    return RungForecast(
        width=width,
        n_nonembedding=nonembedding(cells[0].depth, width),
        tokens=cells[0].tokens,
        eflop_6n=flops.flops_6n / _EXA,
        eflop_total=flops.total / _EXA,
        rows=len(cells),
        cells=len(distinct),
        cached=None if stored is None else len(distinct & stored),
        hours=hours(distinct, scale),
        peak_gb=room and max(peak_memory(cell, 1e9 * room) for cell in distinct) / 1e9,
    )


def _eflop(cells: Iterable[Cell]) -> float:
    return math.fsum(count_flops(cell).total for cell in cells) / _EXA


def stored_cells(rows: list[Row], params: Params, scale: Scale) -> set[Cell] | None:
    """The rows' cells that the store holds, or None where their text is not tokenized (fingerprints need it)."""
    if not INDEX.exists() or scale.text not in (index := read_index()).texts:
        return None
    store = store_from_environment()
    known = zip(rows, fingerprints(rows, params, scale, index), strict=True)
    return {row.cell for row, fingerprint in known if fingerprint and store.status(fingerprint)}


def duration(hours: float) -> str:
    """Hours as people say them."""
    if hours >= 1:
        return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 2 else f"{hours * 3600:.0f} s"
