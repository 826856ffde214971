"""The Slurm runner: on submitit's local executor, and as one array job through a fake `sbatch`."""

import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FlowProject, copy_of
from tests.patience import patience

FAKE = Path(__file__).with_name("fake_slurm.py")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def with_slurm(project: FlowProject, home: Path) -> None:
    """Put the fake commands on the project's path."""
    tools = home / "bin"
    tools.mkdir(parents=True)
    for name in ("sbatch", "srun", "sacct", "scancel"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} {name} "$@"\n')
        tool.chmod(0o755)
    project.environment.update(FAKE_SLURM=str(home), PATH=f"{tools}:{project.environment['PATH']}")


def test_an_array_job_trains_the_missing_cells(short: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(short, tmp_path / "project", server)
    with_slurm(project, tmp_path / "slurm")
    summary = project.crossover_run("--runner", "slurm", "--workers", "4", "--slurm", "partition=gpu")
    assert {cell["status"] for cell in summary["cells"].values()} == {"done"}
    assert "Slurm array job 1234: 6 cells" in summary["stderr"]
    script = (tmp_path / "slurm/script").read_text()
    assert "#SBATCH --array=0-5%4" in script
    assert "#SBATCH --partition=gpu" in script
    assert summary["stages"]["report"] == "Ran"


@pytest.mark.long
def test_submitits_own_executor_does_the_same(short: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(short, tmp_path / "project", server)
    done = project.cells_only(runner="slurm", slurm={"cluster": "local"})
    assert [cell["status"] for cell in done] == ["done"] * 6


def test_without_slurm_one_line_says_so(short: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(short, tmp_path / "project", server)
    process = project.start("--runner", "slurm")
    _, errors = process.communicate(timeout=patience(100))
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("error: sbatch and srun are not on this machine")
