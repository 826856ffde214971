"""Pages whose commands a test runs: what they print is what the page shows of it."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, make_project
from tests.docs.blocks import fences

PAGES = {
    "advise": ("datadecide", "cells"),
    "many": ("corpora", "next"),
    "allocate": ("gadre",),
    "laws": ("epochs", "gadre"),
    "foresee": ("curves", "curve"),
}
"""Each with the examples that it reads."""
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_shows_is_what_is_printed(tmp_path: Path, page: str) -> None:
    project = make_project(tmp_path / "project")
    for name in PAGES[page]:
        shutil.copy(REPOSITORY / f"docs/examples/{name}.csv", project.root)
    found = fences(f"{page}.md")
    commands, shown = found[::2], found[1::2]
    assert len(commands) == len(shown) > 0
    assert [language for language, _ in commands] == ["sh"] * len(commands)
    for (_, command), (_, lines) in zip(commands, shown, strict=True):
        script = command.replace("python - <<", f"{sys.executable} - <<")
        script = re.sub("^crossover ", f"{sys.executable} -m crossover ", script, flags=re.MULTILINE)
        said = project.run("bash", "-ec", script).stdout.splitlines()
        assert [line for line in lines.splitlines() if not any(alike(line, other) for other in said)] == []


def alike(line: str, other: str) -> bool:
    """Whether the words are the same, and the numbers as far as processors agree on a fit."""
    if NUMBER.sub("#", line).split() != NUMBER.sub("#", other).split():
        return False
    pairs = zip(NUMBER.findall(line), NUMBER.findall(other), strict=True)
    return all(float(a) == pytest.approx(float(b), rel=0.02, abs=0.01) for a, b in pairs)


def test_other_numbers_are_noticed() -> None:
    assert alike("  loss 3.1006  [2.8009, 3.4003]", "loss 3.1007 [2.8010, 3.4000]")
    assert not alike("loss 3.1006", "loss 3.3")
    assert not alike("loss 3.1006", "error 3.1006")
    assert not alike("R_D  66.4  none", "R_D  66.4  9.1  none")
