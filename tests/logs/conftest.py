"""Logs of the real libraries, written once per session."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY


@dataclass(frozen=True)
class Written:
    """A folder of logs, and what was logged."""

    folder: Path
    told: Any


def write(kind: str, folder: Path, *libraries: str) -> Written:
    """Logs by the real library, in a process of its own, whose warnings are none of ours."""
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}, of the dependency group dev")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.logs.writers", kind, str(folder)]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / "told.txt").read_text())
    (folder / "told.txt").unlink()
    return Written(folder, told)


@pytest.fixture(scope="session")
def wandb_runs(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write("wandb", tmp_path_factory.mktemp("logs") / "wandb_runs", "wandb")


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write("events", tmp_path_factory.mktemp("logs") / "events", "tensorboard")


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write("sweep", tmp_path_factory.mktemp("logs") / "sweep", "tensorboard")


@pytest.fixture(scope="session")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write("trainer", tmp_path_factory.mktemp("logs") / "trainer", "transformers", "accelerate", "tensorboard")
