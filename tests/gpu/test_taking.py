"""What comes back from a GPU machine: cells and nothing else, and no training of what is missing."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from stages.cells.plan import Plan
from stages.store.store import Store
from tests.cells.test_again import finished
from tests.cells.test_plan import plan
from tests.conftest import REPOSITORY
from tests.gpu.taking import unpack


def packed(made: Plan, home: Path, extra: dict[str, bytes]) -> Path:
    """An archive of one finished cell, and of what else is named."""
    there = Store(home / "there")
    record = finished(made, there)
    archive = home / "cells.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(there.folder(record.fingerprint), record.fingerprint)
        for name, content in extra.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def test_cells_come_home_and_nothing_else(tmp_path: Path) -> None:
    made = plan(tmp_path, 8192)
    name = next(iter(made.cells))
    bad = [
        f"{name}/../../sitecustomize.py",
        f"{name}/x.py",
        "../evil.py",
        f"{name}/evaluation-/../../x",
        f"{'0' * 64}/record.json",
    ]
    archive, store = packed(made, tmp_path, dict.fromkeys(bad, b"x")), Store(tmp_path / "deep/store")
    before = set(tmp_path.rglob("*"))
    assert unpack(archive, [made], store) == 1
    assert store.complete(name, made.evaluation(made.cells[name]))
    new = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file() and path not in before]
    assert {path.parent.as_posix() for path in new} == {f"deep/store/{name}"}
    assert {path.suffix for path in new} == {".json", ".parquet"}
    assert unpack(archive, [made], store) == 0


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_minutes_in_miniature_and_home(tmp_path: Path) -> None:
    """Packed, run with deadlines, taken home; DVC finds every cell, and refuses where one is missing."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
    (clone / ".venv").symlink_to(Path(sys.prefix))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "CROSSOVER_GPU_STORE": str(tmp_path / "gpu"),
    }

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("tests.gpu", "pack", "--miniature")
    run("tests.gpu", "run", "--out", "found", "--miniature", "--seconds", "1200")
    found = json.loads((clone / "found/gpu.json").read_text())
    assert found["failed"] == []
    assert found["right"]["passed"]
    assert found["ladder"]["done"] == found["ladder"]["of"] == 6
    shutil.copyfile(clone / ".gpu/params.yaml", clone / "params.yaml")
    assert "6 of 6 cells are in the store, 0 to train" in run("tests.gpu", "take", "found")
    shutil.rmtree(next((clone / "data/store").glob("*/record.json")).parent)
    (clone / "found/cells.tgz").unlink()
    with tarfile.open(clone / "found/cells.tgz", "w:gz"):
        pass
    assert "would train them on this machine" in run("tests.gpu", "take", "found", code=1)
