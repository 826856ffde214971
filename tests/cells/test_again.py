"""A cell trained again against what it was: the same only to the bit, or within what is asked for, on either side."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from crossover.base.errors import CrossoverError
from crossover.base.files import sha256_file
from stages.cells.again import Again, compare_cells, require_reproduced
from stages.cells.plan import Plan
from stages.store.store import Provenance, Record, Store
from tests.cells.test_plan import plan

LOSSES = np.linspace(5, 4, 10)


def finished(
    plan: Plan, store: Store, losses: np.ndarray = LOSSES, loss: float | None = 4.0, weights: bytes | None = None,
    online: float = 4.0, status: Any = "done", torch: str = "2.13", numpy: str = "2.4",
    device: str = "cpu",
) -> Record:  # fmt: skip
    """The first cell of a plan, finished with this curve and held-out loss."""
    cell = plan.rows[0].cell
    payload = plan.payload(cell)
    folder = store.folder(payload.fingerprint)
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pa.table({"loss": losses}), folder / "curve.parquet")
    if weights is not None:
        (folder / "weights.safetensors").write_bytes(weights)
    record = Record(
        fingerprint=payload.fingerprint, payload=payload, status=status, steps_done=len(losses), n_spikes=0,
        loss_init=5.0, loss_online=online, files={path.name: sha256_file(path) for path in folder.iterdir()},
        provenance=Provenance(
            commit="c", host="h", device=device, torch=torch, numpy=numpy, python="3.11", started="s", seconds=1,
            tokens_per_second=1,
        ),
    )  # fmt: skip
    store.finish(record)
    if loss is not None:
        store.put_evaluation(payload.fingerprint, plan.evaluation(cell), {"loss_validation": loss})
    return record


def again(tmp_path: Path, before: dict[str, Any], now: dict[str, Any]) -> Again:
    made = plan(tmp_path, 8192)
    stores = Store(tmp_path / "before"), Store(tmp_path / "now")
    old, new = (finished(made, store, **what) for store, what in zip(stores, (before, now), strict=True))
    return compare_cells(stores[0], old, stores[1], new, made)


def test_the_same_bits_are_the_same_cell(tmp_path: Path) -> None:
    found = again(tmp_path, {"weights": b"w"}, {"weights": b"w"})
    assert found.identical
    assert found.difference == 0
    assert found.reproduces(None)


def test_a_cell_that_diverged_to_nan_is_itself(tmp_path: Path) -> None:
    wild = {"losses": np.append(LOSSES, np.nan), "status": "diverged", "loss": None}
    assert again(tmp_path, wild, wild).identical


@pytest.mark.parametrize(
    "now",
    [{"losses": np.nextafter(LOSSES, 0)}, {"losses": LOSSES[:-1]}, {"weights": b"v"}, {"status": "diverged"}],
    ids=["the last bit of the curve", "a step less", "weights", "diverged"],
)
def test_on_one_build_anything_else_is_another_cell(tmp_path: Path, now: dict[str, Any]) -> None:
    found = again(tmp_path, {"weights": b"w"}, {"weights": b"w", **now})
    assert not found.identical
    assert not found.reproduces(None)
    with pytest.raises(CrossoverError, match=r"1 cell\(s\) did not come out .* \(width 8, seed 0\); undo it"):
        require_reproduced([found], None, "undo it")


@pytest.mark.parametrize("build", [{"torch": "2.14"}, {"numpy": "2.4 Haswell"}], ids=["torch", "the kernels of numpy"])
@pytest.mark.parametrize(("loss", "same"), [(4.019, True), (3.981, True), (4.021, False), (3.0, False)])
def test_on_another_build_the_held_out_loss_decides_on_both_sides(
    tmp_path: Path, loss: float, same: bool, build: dict[str, str]
) -> None:
    found = again(tmp_path, {}, {"losses": LOSSES + 1e-3, "loss": loss, **build})
    assert not found.same_build
    assert found.difference == pytest.approx(loss - 4)
    assert found.reproduces(None) == same


@pytest.mark.parametrize(("loss", "same"), [(4.019, True), (4.021, False)])
def test_on_a_gpu_the_held_out_loss_decides_on_one_build_too(tmp_path: Path, loss: float, same: bool) -> None:
    gpu = {"device": "NVIDIA H200"}
    found = again(tmp_path, gpu, {"losses": LOSSES + 1e-3, "loss": loss, **gpu})
    assert found.same_build
    assert found.reproduces(None) == same
    assert not found.reproduces(0.0)


def test_a_stated_tolerance_counts_on_one_build_too(tmp_path: Path) -> None:
    found = again(tmp_path, {}, {"losses": LOSSES + 1e-3, "loss": 4.1})
    assert found.reproduces(0.11)
    assert not found.reproduces(0.09)


def test_both_are_compared_by_their_last_training_losses_where_one_was_not_evaluated(tmp_path: Path) -> None:
    found = again(tmp_path, {"loss": 4.5, "online": 4.25}, {"loss": None, "online": 4.5})
    assert found.difference == pytest.approx(0.25)
