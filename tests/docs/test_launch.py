"""docs/launch.md, done as it says."""

import shutil
from pathlib import Path

from tests.conftest import REPOSITORY, make_project
from tests.docs.blocks import fences
from tests.docs.test_decide import GIT


def test_a_launch_is_judged_by_what_was_fixed_before_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    project.environment |= GIT
    shutil.copy(REPOSITORY / "docs/examples/datadecide.csv", project.root)
    (_, lodge), (_, score), (_, shown) = fences("launch.md")
    project.run("bash", "-ec", lodge)
    said = [line.rstrip() for line in project.run("bash", "-ec", score).stdout.splitlines()]
    assert [line for line in said if "gate" in line] == shown.splitlines()
