"""Cells trained again: does one come out as it did, to the bit, or how far off? Behind `verify` and `accept`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet

from crossover.base.errors import CrossoverError
from stages.cells.plan import Plan
from stages.store.store import Provenance, Record, Store
from stages.study.devices import is_gpu


@dataclass(frozen=True)
class Again:
    """One cell, before and now."""

    fingerprint: str
    width: int
    seed: int
    identical: bool
    """Every step's loss and gradient norm, and the final weights where both were kept, are the same to the bit."""
    difference: float | None
    """Of the held-out loss (of the last training losses where it was not evaluated), in nats; None: one diverged."""
    same_build: bool
    """Both ran on the same device and build of torch."""
    on_gpu: bool = False
    """Attention and the embedding add gradients up in no fixed order there, so the same bits cannot be asked for."""

    def reproduces(self, tolerance: float | None) -> bool:
        """To the bit, or within `tolerance` nats where that is given, the builds differ or it was a GPU (then 0.02)."""
        to_the_bit = self.same_build and not self.on_gpu
        allowed = tolerance if tolerance is not None else 0.0 if to_the_bit else OTHER_BUILD
        return self.identical or (allowed > 0 and self.difference is not None and abs(self.difference) <= allowed)


OTHER_BUILD = 0.02
"""Nats by which a held-out loss may differ on a GPU, or on another device or build, where no tolerance is stated:
rounding that training amplifies, below the seed-to-seed standard deviation of a small model."""


def compare_cells(before: Store, old: Record, now: Store, new: Record, plan: Plan) -> Again:
    """A cell in one store against the same cell, trained again, in another."""
    a, b = old.provenance, new.provenance
    cell = new.payload.cell
    losses = _losses(plan, (before, old), (now, new))
    return Again(
        fingerprint=new.fingerprint,
        width=cell.width,
        seed=cell.seed,
        identical=(old.status, old.steps_done) == (new.status, new.steps_done)
        and _curve(before, old).equals(_curve(now, new))
        and _weights(old, new),
        difference=losses[1] - losses[0] if len(losses) == 2 else None,
        same_build=_build(a) == _build(b),
        on_gpu=is_gpu(a.device) or is_gpu(b.device),
    )


def _build(where: Provenance) -> tuple[str, ...]:
    return where.torch, where.numpy, where.device, where.python


def _curve(store: Store, record: Record) -> Any:
    """As a frame, to which a loss that is no number equals itself."""
    return pyarrow.parquet.read_table(store.verified(record, "curve.parquet")).to_pandas()


def _weights(old: Record, new: Record) -> bool:
    name = "weights.safetensors"
    return not (name in old.files and name in new.files) or old.files[name] == new.files[name]


def _losses(plan: Plan, *cells: tuple[Store, Record]) -> list[float]:
    """Held-out losses of those that did not diverge, or their last training losses where one was not evaluated so."""
    whole = [(store, record) for store, record in cells if record.status != "diverged"]
    found = [store.evaluation(record.fingerprint, plan.evaluation(record.payload.cell)) for store, record in whole]
    if all(found):
        return [float(losses["loss_validation"]) for losses in found if losses]
    return [record.loss_online for _, record in whole if record.loss_online is not None]


def require_reproduced(found: Iterable[Again], tolerance: float | None, remedy: str) -> None:
    """Raises `CrossoverError` that names the cells that came out otherwise and says what to do."""
    wrong = [item for item in found if not item.reproduces(tolerance)]
    if wrong:
        names = ", ".join(f"{item.fingerprint[:12]} (width {item.width}, seed {item.seed})" for item in wrong)
        raise CrossoverError(f"{len(wrong)} cell(s) did not come out as they did before: {names}; {remedy}")
