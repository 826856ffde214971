"""The README: short, every block of it run, and a newcomer's first minutes in an environment of their own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.blocks import fences
from tests.docs.test_answers import NUMBER, alike

INSTALL_AND_COMPARE, PRINTED, PYTHON, STUDY, ANSWERED, _TREE = fences("../README.md")


def run(folder: Path, script: str, **variables: str) -> str:
    # As from a person's shell: a make inside the make that runs the tests would say so first.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))} | variables
    done = subprocess.run(["bash", "-ec", script], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    run(tmp_path, f"git clone -q {shlex.quote(str(REPOSITORY))} clone")
    return tmp_path / "clone"


def test_it_is_short_and_its_blocks_are_those_that_are_run_here() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 140
    languages = [block[0] for block in (INSTALL_AND_COMPARE, PRINTED, PYTHON, STUDY, ANSWERED, _TREE)]
    assert languages == ["sh", "", "python", "sh", "", ""]
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert not [link for link in links if not link.startswith("http") and not (REPOSITORY / link).exists()]


def test_the_table_is_answered_as_shown(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "docs/examples", tmp_path / "docs/examples")
    command = INSTALL_AND_COMPARE[1].split("\n", 1)[1]
    said = run(tmp_path, re.sub("^crossover", f"{sys.executable} -m crossover", command)).splitlines()
    assert [line for line in PRINTED[1].splitlines() if not any(alike(line, other) for other in said)] == []
    assert (tmp_path / "answer.png").read_bytes().startswith(b"\x89PNG")
    printed = run(tmp_path, f"{sys.executable} - <<'END'\n{PYTHON[1]}END").splitlines()
    assert [line.rstrip() for line in said if line.strip()] == [line for line in printed if line.strip()]


@pytest.mark.slow
def test_a_newcomer_s_first_block_in_an_environment_of_their_own(clone: Path) -> None:
    script = f"{sys.executable} -m venv new; . new/bin/activate; export PIP_CONSTRAINT=constraints.txt\n"
    said = run(clone, script + INSTALL_AND_COMPARE[1], PYTHONPATH="").splitlines()
    assert [line for line in PRINTED[1].splitlines() if not any(alike(line, other) for other in said)] == []
    assert (clone / "answer.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, pytest.param(5, marks=pytest.mark.long)])
def test_make_study_ends_with_its_answer(clone: Path, seeds: int) -> None:
    """With what is installed here: words to the letter, numbers as this processor makes them; of two seeds the form."""
    params = (clone / "params.yaml").read_text()
    assert params.count("seeds_at: {pocket: 5, desk: 4}") == 1
    (clone / "params.yaml").write_text(params.replace("{pocket: 5, desk: 4}", f"{{pocket: {seeds}, desk: 4}}"))
    (clone / ".venv").symlink_to(sys.prefix)
    said = run(clone, STUDY[1].replace("make", "make -o .venv/.ok"), PYTHONPATH="").splitlines()
    assert said[0].startswith("study lr_crossover at scale pocket: ")
    shown = [NUMBER.sub("#", line) for line in ANSWERED[1].splitlines()]
    told = [NUMBER.sub("#", line) for line in said]
    assert [line for line in shown[: None if seeds == 5 else 1] if line not in told] == []
    assert told[told.index(shown[0]) + 1].startswith("  Above width #, where the two are one run, ")
    assert said[-1] == "The page: data/report/index.html#lr_crossover-pocket"
    assert (clone / "data/report/index.html").exists()
