"""docs/keep.md, done as it says: the real table's answers, and the program that tries changes, on a tiny study."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import REPOSITORY, make_project
from tests.docs.blocks import blocks, fences


def test_the_table_s_answers_are_those_of_the_page(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "docs/examples/datadecide.csv", tmp_path)
    project = make_project(tmp_path / "project")
    found = fences("keep.md")
    asked = [i for i, (language, body) in enumerate(found) if language == "sh" and body.startswith("crossover keep")]
    assert len(asked) == 3
    for i in asked:
        said = project.run("bash", "-ec", f"cd {tmp_path}; {found[i][1]}").stdout
        shown = found[i + 1][1].splitlines()
        assert [line for line in said.splitlines() if line in shown] == shown


@pytest.mark.slow
def test_a_program_keeps_discards_and_runs_more(tmp_path: Path) -> None:
    found = blocks("keep.md")
    project = make_project(tmp_path / "project")
    declared = YAML().load(found["yaml"][0])

    def with_changes(values: dict[str, Any]) -> None:
        values["active"] = {"changes-mini": {"study": "changes", "scale": "mini"}}
        values["studies"] |= json.loads(json.dumps(declared))
        values["claims"] = {}

    project.params(with_changes)
    (project.root / "loop.py").write_text(found["python"][0])
    said = project.run(sys.executable, "loop.py", "changes", "mini", "4").stdout.splitlines()
    logged = [json.loads(line) for line in (project.root / "keeps.jsonl").read_text().splitlines()]
    assert [line.split()[0] for line in said] == [*(item["b"] for item in logged), "kept:"]
    assert {item["b"] for item in logged} == {"no_decay", "lr2", "clip"}
    assert said[-1].split()[1] in {"base", *(item["b"] for item in logged if item["verdict"] == "keep")}
