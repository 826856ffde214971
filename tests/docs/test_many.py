"""docs/many.md: what its commands print is what the page shows of it."""

import shutil
import sys
from pathlib import Path

from tests.conftest import REPOSITORY, make_project
from tests.docs.blocks import fences


def test_what_the_page_shows_is_what_is_printed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    for name in ("corpora.csv", "next.csv"):
        shutil.copy(REPOSITORY / "docs/examples" / name, project.root)
    found = fences("many.md")
    commands, shown = found[::2], found[1::2]
    assert len(commands) == len(shown) == 3
    for (_, command), (_, lines) in zip(commands, shown, strict=True):
        script = command.replace("crossover ", f"{sys.executable} -m crossover ", 1)
        said = [line.rstrip() for line in project.run("bash", "-ec", script).stdout.splitlines()]
        assert [line for line in lines.splitlines() if line not in said] == []
