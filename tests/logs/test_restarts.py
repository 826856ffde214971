"""Trainings that were resumed, forked or restarted, logged by the real libraries: each is the run that it was."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from crossover.logs import Take, find_runs, propose
from tests.conftest import REPOSITORY

MLFLOW = (
    sys.executable,
    "-m",
    "uv",
    "run",
    "--no-project",
    "--isolated",
    "--quiet",
    "--with",
    "mlflow-skinny==3.17.2",
    "python",
)
"""In an environment of its own: it asks for older libraries than Dask does."""
CASES = {
    "wandb_resume": ("wandb", "resumed at step 20; 6 points"),
    "wandb_fork": ("wandb", ""),
    "events_purge": ("tensorboard", "resumed at step 12; 8 points"),
    "events_restart": ("tensorboard", "launch 3 of 3"),
    "trainer_restart": ("transformers", "learning rate 0.003"),
    "trainer_resume": ("transformers", ""),
    "lightning_csv": ("pytorch_lightning", ""),
    "lightning_events": ("pytorch_lightning", ""),
    "keras_appended": ("keras", "launch 2 of 2"),
    "keras_once": ("keras", ""),
    "mlflow_resume": ("uv", "resumed at step 20; 3 points"),
    "mlflow_nested": ("uv", "bad: its status is failed"),
    "dvclive_resume": ("dvclive", ""),
    "dvclive_two": ("dvclive", ""),
}


def written(case: str, folder: Path) -> dict[str, Any]:
    """What the writer says of its runs: by name the last step, the loss there, its points, and the rate."""
    mlflow = case.startswith("mlflow")
    if find_spec(CASES[case][0]) is None:
        pytest.skip(f"needs {CASES[case][0]}, of the dependency group dev")
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "MLFLOW_ALLOW_FILE_STORE": "true",
        "UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", "")),
    }  # fmt: skip
    python = MLFLOW if mlflow else (sys.executable, "-W", "ignore")
    if mlflow:
        there = subprocess.run([*python, "-c", "import mlflow"], env=environment, capture_output=True, check=False)
        if there.returncode:
            pytest.skip("mlflow-skinny cannot be installed here")
    command = [*python, "-m", "tests.logs.restarts", case, str(folder)]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads((folder.parent / "told.json").read_text())
    return told


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_is_the_run_that_it_was(case: str, tmp_path: Path) -> None:
    told = written(case, tmp_path / "logs")
    rate = told.pop("lr", None)
    found = find_runs([tmp_path / "logs"])
    proposal = propose(found, {}, Take())
    rows = {row["run"]: row for row in proposal.table.to_dict("records") if row["run"] != "sweep"}
    curves = {run.name: run.curves.get(proposal.choices[0].expression, {}) for run in found}
    assert set(rows) == set(told)
    for name, (step, loss, points, *own) in told.items():
        assert (rows[name]["step"], len(curves[name])) == (step, points)
        assert rows[name]["loss"] == pytest.approx(loss, rel=1e-6)
        for lr in [*own, *([] if rate is None else [rate])]:
            assert rows[name]["lr"] == pytest.approx(lr)
    assert CASES[case][1] in "\n".join(proposal.notes)


@pytest.mark.slow
def test_a_copy_of_a_folder_beside_it_changes_nothing(tmp_path: Path) -> None:
    """As W&B's `latest-run` where links were followed, or a second download."""
    told = written("wandb_resume", tmp_path / "logs")
    (first, *_) = sorted((tmp_path / "logs" / "wandb").glob("offline-run-*"))
    shutil.copytree(first, tmp_path / "logs" / "wandb" / "copy")
    (run,) = runs = find_runs([tmp_path / "logs"])
    assert len(run.curves["val/loss"]) == told["one"][2]
    assert "is a copy of" in runs.notes[0]
