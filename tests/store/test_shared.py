"""A store that several users and clones share: what is closed to one of them is named and stops nobody."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Project

AS_OTHERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown", "--inh-caps=-all")
"""Root without the right to pass over permissions."""


def as_a_user(project: Project, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command for which permissions count."""
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root passes over permissions, and there is no setpriv to keep it from that")
    command = [*(AS_OTHERS if os.getuid() == 0 else ()), *words]
    return project.run(*command, check=False)


@pytest.fixture
def trained(project: Project) -> Project:
    project.run(sys.executable, "-m", "stages.tokens")
    for stage in ("plan", "train"):
        project.run(sys.executable, "-m", "stages.cells", stage, "tiny", "mini")
    return project


@pytest.mark.slow
def test_a_cell_that_is_closed_to_us_is_named_and_stops_nothing(trained: Project) -> None:
    store = trained.root / "data/store"
    closed, other = sorted(path for path in store.iterdir() if len(path.name) == 64)[:2]
    (closed / "record.json").chmod(0)
    shutil.rmtree(other)
    status = as_a_user(trained, "crossover", "status")
    assert status.returncode == 0
    assert "may not be read; ask" in " ".join(status.stdout.split())
    doctor = as_a_user(trained, "crossover", "doctor")
    assert "may not be read; ask" in " ".join(doctor.stdout.split())
    assert "Traceback" not in status.stderr + doctor.stderr
    closed.chmod(0o555)
    done = as_a_user(trained, sys.executable, "-m", "stages.cells", "train", "tiny", "mini")
    assert done.returncode == 0, done.stderr
    assert (other / "record.json").exists()
    assert "1 cell(s) failed, the others are kept" in done.stderr
    evaluated = as_a_user(trained, sys.executable, "-m", "stages.cells", "evaluate", "tiny", "mini")
    assert evaluated.returncode == 0, evaluated.stderr


@pytest.mark.slow
def test_a_folder_that_is_open_to_us_is_mended_by_training_again(trained: Project) -> None:
    closed = next(path for path in (trained.root / "data/store").iterdir() if len(path.name) == 64)
    (closed / "record.json").chmod(0)
    done = as_a_user(trained, sys.executable, "-m", "stages.cells", "train", "tiny", "mini")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((closed / "record.json").stat().st_mode) & 0o400


@pytest.mark.slow
def test_nothing_to_train_needs_no_right_to_write(trained: Project) -> None:
    store = trained.root / "data/store"
    for folder in (path for path in store.iterdir() if len(path.name) == 64):
        (folder / "failure.json").write_text("{}")  # as an attempt left it that another run made good
    for path in (*store.rglob("*"), store):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = as_a_user(trained, sys.executable, "-m", "stages.cells", "train", "tiny", "mini")
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.returncode == 0, done.stderr
    assert "0 to train" in done.stdout


@pytest.mark.slow
def test_what_a_cell_keeps_is_open_as_the_umask_says(project: Project) -> None:
    project.run(sys.executable, "-m", "stages.tokens")
    project.run(sys.executable, "-m", "stages.cells", "plan", "tiny", "mini")
    train = "import os, runpy, sys; os.umask(0o002); sys.argv[1:] = ['train', 'tiny', 'mini']; "
    project.run(sys.executable, "-c", f"{train}runpy.run_module('stages.cells', run_name='__main__')")
    kept = list((project.root / "data/store").glob("*/*"))
    assert {path.name for path in kept} >= {"record.json", "curve.parquet", "weights.safetensors"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o664}


@pytest.mark.slow
def test_a_store_on_another_file_system(project: Project) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == project.root.stat().st_dev:
        pytest.skip("there is one file system here")
    with tempfile.TemporaryDirectory(dir=memory) as place:
        project.environment["CROSSOVER_STORE"] = place
        project.run("dvc", "--wait-for-lock", "repro", "fit@tiny-mini")
        assert len([path for path in Path(place).iterdir() if len(path.name) == 64]) == 6
        shutil.rmtree(project.root / "data/studies/tiny-mini/cells")
        again = project.run("dvc", "--wait-for-lock", "repro", "fit@tiny-mini", "--force").stdout
        assert "6 of 6 cells are in the store, 0 to train" in again
