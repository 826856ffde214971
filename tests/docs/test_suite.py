"""The suite itself: a skip that nobody pinned is red where all must run, and limits follow the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SKIPS

SKIPPED = """
import time
import pytest

@pytest.mark.skipif(True, reason="{reason}")
def test_left_out():
    pass

def test_that_runs():
    pass
"""
SLOW = """
import time
import pytest

@pytest.mark.timeout(0.5)
def test_that_takes_two_seconds():
    time.sleep(2)
"""


def outcome(folder: Path, source: str, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", *words, "."]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("reason", "words", "code"),
    [
        ("needs Chromium", ("--strict-skips",), 1),
        ("needs Chromium", ("--strict-skips", "-n", "2"), 1),
        ("needs Chromium", (), 0),
        ("the published data are not here", ("--strict-skips",), 0),
        ("the published data", ("--strict-skips",), 1),
    ],
)
def test_a_skip_that_is_not_pinned_is_red_where_all_must_run(
    tmp_path: Path, reason: str, words: tuple[str, ...], code: int
) -> None:
    done = outcome(tmp_path, SKIPPED.format(reason=reason), *words)
    assert done.returncode == code, done.stdout
    assert (f"test_it.py::test_left_out: {reason}" in done.stdout) == bool(code)


def test_ci_asks_for_it() -> None:
    assert "--strict-skips" in (REPOSITORY / "Makefile").read_text().partition("test-ci:")[2].split("\n\n")[0]
    assert "make test-ci" in (REPOSITORY / ".ci/run").read_text()
    assert not any("Chromium" in line for line in SKIPS.read_text().splitlines())


@pytest.mark.parametrize(("slowness", "code"), [("1", 1), ("5", 0)])
def test_limits_follow_the_machine(tmp_path: Path, slowness: str, code: int) -> None:
    """Half a second, doubled, is too little for two; on a machine five times slower it is five seconds."""
    done = outcome(tmp_path, SLOW, CROSSOVER_SLOWNESS=slowness)
    assert done.returncode == code, done.stdout
