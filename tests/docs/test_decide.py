"""docs/decide-between-two-recipes.md, done as it says; whether it ends at the truth that its runs were made from."""

import json
import re
import sys
from typing import Any

import pytest

from tests.conftest import Project, make_project
from tests.docs.blocks import blocks

GIT = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def answer(project: Project, command: str) -> Any:
    """The JSON of a command of the page."""
    words = command.split()[1:]
    return json.loads(project.run(sys.executable, "-m", "crossover", *words, "--json").stdout)


def test_the_page_comes_to_the_planted_truth(tmp_path: Any) -> None:
    found = blocks("decide-between-two-recipes.md")
    project = make_project(tmp_path / "project")
    project.environment |= GIT
    (project.root / "lab.py").write_text(found["python"][0])
    first, before, advice, after, detect, lodge, score = found["sh"]

    def run(block: str) -> str:
        return project.run("bash", "-ec", block).stdout

    run(first)
    told = run(before)
    assert "plain ranking at the largest common size, 1e18: old" in told
    assert re.search(r"choose new: P = 0\.5[5-9]", told)
    assert "have old ahead: where the two disagree neither is reliably right" in told
    advised = run(advice)
    assert re.search(r"Go on: if new still looks better after \d step", advised)
    assert re.search(r"^ +1 +flops = 3e19, seed 0 +old and new ", advised, re.MULTILINE)
    assert re.search(r"choose new: P = 0\.8", run(after))
    assert "cheapest that detects 0.02" in run(detect)
    assert "1 forecast(s) and 0 outcome(s), each as it was lodged" in run(lodge)
    scored = run(score)
    (item,) = answer(project, "crossover predict --score")["scores"]
    assert [one["error_in_sd"] for one in item["recipes"]] == pytest.approx([0, 0], abs=4)
    assert item["pairs"][0]["outcome"] == 1
    assert item["pairs"][0]["brier"] < 0.25
    assert "Brier" in scored
    page = (project.root / "after.html").read_text()
    assert "choose new" in page
    assert "vegaEmbed" in page
