"""`crossover run` refuses what cannot work before anything starts, in one line that names the remedy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.graph import Graph, last_error
from tests.conftest import REPOSITORY

CROSSOVER = str(Path(sys.executable).with_name("crossover"))


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    return subprocess.run(
        [CROSSOVER, "run", *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("--runner", "dsk"), "--runner dsk: Input should be 'local', 'dask', 'ray' or 'slurm'", 2),
        (("--workers", "0"), "--workers 0: Input should be greater than 0", 2),
        (("--address", "tcp://head:8786"), "--address is for dask and ray, not for local", 2),
        (("--slurm", "gpu"), "--slurm gpu: write KEY=VALUE", 2),
        (("--runner", "slurm", "--limit", "gpu"), "--limit is kept by Prefect's workers, not by Slurm", 2),
        (("--runner", "dask", "--address", "tcp://127.0.0.1:9"), "no dask cluster answers at tcp://127.0.0.1:9", 1),
        (("--runner", "ray", "--address", "nowhere"), "no ray cluster answers at nowhere", 1),
    ],
)
def test_mistakes(tmp_path: Path, arguments: tuple[str, ...], says: str, code: int) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"error: {says}")
    assert done.stderr.count("\n") == 1


def test_a_configured_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 1
    assert "\nerror: no Prefect server answers at http://127.0.0.1:9/api" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_needs_a_project(tmp_path: Path) -> None:
    done = subprocess.run([CROSSOVER, "serve"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: prefect.yaml is missing; run this in the project's root\n")


def test_what_comes_before_a_stage() -> None:
    graph = Graph({"a": [], "b@x": ["a"], "b@y": ["a"], "c@x": ["b@x"], "d": ["c@x", "b@y"]}, set())
    assert graph.before(["c@x"]) == {"b@x", "a"}
    assert graph.before(["b@x", "b@y"]) == {"a"}
    assert graph.before([]) == set()
    assert graph.stages("b") == ["b@x", "b@y"]


def test_an_error_is_told_in_the_words_of_the_stage() -> None:
    lines = ["Running stage 'x':", "error: no text", "ERROR: failed to reproduce 'x': exited with 1"]
    assert last_error(lines) == "no text"
    assert last_error(["ERROR: bad lock"]) == "bad lock"
    assert last_error([]) == "dvc said nothing"
