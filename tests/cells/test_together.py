"""One cell in two processes of a real process group, whole or sharded (FSDP2), against the same cell in one."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet
import pytest
from safetensors.torch import load_file

from stages.cells.plan import Plan, read_plan
from stages.cells.pool import run_pool
from stages.store.store import Store
from tests.conftest import Project, make_project
from tests.processes import descendants, kill_all

pytestmark = pytest.mark.slow
RECIPES = {
    "clipped": {"lr": {"exponent": -1}},
    "normalised": {"lr": {"exponent": -1}, "optimizer": "lion", "normalise": True, "l2": 0.001},
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("together") / "project")
    project.params(lambda values: values["studies"]["tiny"].update(recipes=RECIPES, seeds=1))
    project.run(sys.executable, "-m", "stages.tokens")
    project.run(sys.executable, "-m", "stages.cells", "plan", "tiny", "mini")
    return project


@pytest.fixture
def plan(planned: Project, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(planned.root)
    return read_plan("tiny", "mini")


def widest(plan: Plan, recipe: str) -> str:
    return next(row.fingerprint for row in plan.rows if row.cell.width == 16 and row.recipe == recipe)


def torchrun(count: int, cell: str, *options: str) -> list[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--standalone"]
    return [*launch, "-m", "stages.cells.together", "tiny", "mini", cell, *options]


def results(store: Store, plan: Plan, cell: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any], float]:
    """Losses and norms of the steps, final weights, held-out loss."""
    record = store.record(cell)
    curve = pyarrow.parquet.read_table(store.verified(record, "curve.parquet"))
    weights = load_file(store.verified(record, "weights.safetensors"))
    held_out = store.evaluation(cell, plan.evaluation(plan.cells[cell]))["loss_validation"]
    return curve["loss"].to_numpy(), curve["grad_norm"].to_numpy(), weights, held_out


@pytest.mark.parametrize("options", [(), ("--shard",)], ids=["whole", "sharded"])
@pytest.mark.parametrize("recipe", list(RECIPES))
def test_two_processes_train_what_one_does(
    planned: Project, plan: Plan, recipe: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, alone, shared = widest(plan, recipe), Store(tmp_path / "alone"), Store(tmp_path / "shared")
    run_pool(plan, [cell], alone)
    monkeypatch.setitem(planned.environment, "CROSSOVER_STORE", str(tmp_path / "shared"))
    assert f"{cell[:12]}: done" in planned.run(*torchrun(2, cell[:12], *options)).stdout
    one, two = results(alone, plan, cell), results(shared, plan, cell)
    assert abs(one[0] - two[0]).max() < 1e-3
    assert abs(one[0][:5] - two[0][:5]).max() < 1e-5
    assert one[1][:5] == pytest.approx(two[1][:5], rel=1e-4)
    assert {name: weight.shape for name, weight in one[2].items()} == {name: w.shape for name, w in two[2].items()}
    assert one[3] == pytest.approx(two[3], abs=1e-4)
    assert "is in the store" in planned.run(*torchrun(2, cell[:12])).stdout


def test_a_killed_sharded_run_is_continued_sharded_or_by_one_process(
    planned: Project, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, stores = widest(plan, "clipped"), {name: tmp_path / name for name in ("through", "killed", "alone")}
    monkeypatch.setitem(planned.environment, "CROSSOVER_STORE", str(stores["through"]))
    planned.run(*torchrun(2, cell, "--shard"))
    monkeypatch.setitem(planned.environment, "CROSSOVER_STORE", str(stores["killed"]))
    kill_after_checkpoint(planned, torchrun(2, cell, "--shard"), stores["killed"] / cell)
    shutil.copytree(stores["killed"], stores["alone"])
    planned.run(*torchrun(2, cell, "--shard"))
    run_pool(plan, [cell], Store(stores["alone"]))
    through, killed, alone = (results(Store(path), plan, cell) for path in stores.values())
    assert killed[0].tobytes() == through[0].tobytes()
    assert killed[3] == through[3]
    assert abs(alone[0] - through[0]).max() < 1e-3
    assert alone[3] == pytest.approx(through[3], abs=1e-4)


def kill_after_checkpoint(project: Project, command: list[str], folder: Path) -> None:
    """Start the command and kill it, and what it started, once the cell has a checkpoint."""
    process = subprocess.Popen(
        command, cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (folder / "checkpoint.safetensors").exists():
            assert process.poll() is None, "ended before its first checkpoint"
            time.sleep(0.002)
    finally:
        kill_all([*descendants(process.pid), psutil.Process(process.pid)])
        process.wait()
    assert not (folder / "record.json").exists()


def test_a_batch_that_cannot_be_shared_is_refused(planned: Project, plan: Plan) -> None:
    done = planned.run(*torchrun(3, plan.rows[0].fingerprint), check=False)
    assert done.returncode != 0
    assert "a batch of 8 cannot be shared by 3 processes evenly" in done.stderr
