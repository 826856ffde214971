"""One cell in two processes of a real process group, against the same cell in one."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from stages.cells.plan import Plan, plan_from_json, read_plan
from stages.cells.pool import run_pool
from stages.study.store import Store
from tests.conftest import Project, make_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("together") / "project")
    project.run(sys.executable, "-m", "stages.tokens")
    project.run(sys.executable, "-m", "stages.cells", "plan", "tiny", "mini")
    return project


def torchrun(project: Project, count: int, cell: str) -> subprocess.CompletedProcess[str]:
    together = ["-m", "stages.cells.together", "tiny", "mini", cell]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--standalone"]
    return project.run(*launch, *together, check=False)


def test_two_processes_train_what_one_does(planned: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(planned.root)
    plan: Plan = read_plan("tiny", "mini")
    cell = next(row.fingerprint for row in plan.rows if row.cell.width == 16)
    alone, shared = Store(tmp_path / "alone"), Store(planned.root / "data/store")
    run_pool(plan, [cell], alone)
    done = torchrun(planned, 2, cell[:12])
    assert done.returncode == 0, done.stderr
    assert f"{cell[:12]}: done" in done.stdout
    curves = [
        pyarrow.parquet.read_table(store.verified(store.record(cell), "curve.parquet"))["loss"].to_numpy()
        for store in (alone, shared)
    ]
    assert abs(curves[0] - curves[1]).max() < 1e-3
    assert abs(curves[0][:5] - curves[1][:5]).max() < 1e-5
    losses = [store.evaluation(cell, plan.evaluation(plan.cells[cell]))["loss_validation"] for store in (alone, shared)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert "is in the store" in torchrun(planned, 2, cell[:12]).stdout


def test_a_batch_that_cannot_be_shared_is_refused(planned: Project) -> None:
    cell = read_plan_in(planned).rows[0].fingerprint
    done = torchrun(planned, 3, cell)
    assert done.returncode != 0
    assert "a batch of 8 cannot be shared by 3 processes evenly" in done.stderr


def read_plan_in(project: Project) -> Plan:
    return plan_from_json(json.loads((project.root / "data/studies/tiny-mini/plan.json").read_bytes()))
