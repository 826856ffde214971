"""A cell whose training crashes: the study goes on without it, what lacks is named, and it can be tried again."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, make_project

SCRIPT = """
import json, sys, numpy as np
from pathlib import Path
folder = Path(sys.argv[1])
cell = json.loads((folder / "cell.json").read_text())["cell"]
if cell["width"] >= int(Path("LIMIT").read_text()):
    sys.exit("this card is too small")
windows = np.load(folder / "windows.npz")
wrong = 4 - cell["width"] / 20 - cell["seed"] / 100
rows = [f"{step},{step * 128},{cell['lr']},{max(5 - step / 5, wrong)},1" for step in range(cell["steps"])]
losses = {name: np.full(len(windows[name]) * cell["seq_len"], wrong) for name in ("validation", "seen", "fresh")}
(folder / "curve.csv").write_text("\\n".join(["step,tokens,lr,loss,grad_norm", *rows]) + "\\n")
np.savez(folder / "losses.npz", **losses)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Recipe `theirs` is trained by a program that crashes from a width on that the file `limit` names."""
    project = make_project(tmp_path / "project")
    (project.root / "trainers/own.py").write_text(SCRIPT.replace("LIMIT", str(tmp_path / "limit")))

    def change(values: dict[str, Any]) -> None:
        values["trainers"] = {"own": {"command": "python trainers/own.py", "sources": ["trainers/own.py"]}}
        values["studies"]["tiny"]["recipes"] = {"constant": {}, "inverse": {"trainer": "own"}}
        values["scales"]["mini"]["widths"] = [8, 16, 24]

    project.params(change)
    return project


def states(project: Project) -> dict[tuple[str, int], list[str]]:
    found: dict[tuple[str, int], list[str]] = {}
    for row in csv.DictReader(project.losses().decode().splitlines()):
        found.setdefault((row["recipe"], int(row["width"])), []).append(row["status"])
    return found


def test_a_failed_rung_keeps_nothing_from_being_fitted(project: Project, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("24")
    said = project.repro()
    assert "2 cell(s) failed, the others are kept:" in said
    assert "this card is too small" in said
    assert "`dvc repro --force --single-item train@tiny-mini`, then `dvc repro`, try them again" in said
    assert states(project) == {
        **{("constant", width): ["done"] * 2 for width in (8, 16, 24)},
        **{("inverse", width): ["done"] * 2 for width in (8, 16)},
        ("inverse", 24): ["failed"] * 2,
    }
    fit = json.loads((project.root / "data/results/tiny-mini/fit.json").read_text())
    assert fit["cells"] == {"rows": 12, "cells": 12, "done": 10, "diverged": 0, "failed": 2}
    assert [mean["width"] for mean in fit["means"]["inverse"]] == [8, 16]
    (pair,) = fit["comparisons"]
    assert [rung["name"] for rung in pair["rungs"]] == [
        "8",
        "16",
    ]  # a crash is no divergence, which would count against it
    gate = json.loads((project.root / "data/results/tiny-mini/losses.check.json").read_text())
    (broken,) = [rule for rule in gate["rules"] if not rule["passed"]]
    assert (broken["rule"], broken["stops"]) == ("no cell failed", False)
    assert all("inverse width 24" in offender for offender in broken["offenders"])
    (verdict,) = json.loads((project.root / "data/verdicts/verdicts.json").read_text())
    assert "2 run(s) of the study failed and are left out" in verdict["notes"]
    assert "2 of 2 failed" in (project.root / "data/report/index.html").read_text()
    (tmp_path / "limit").write_text("99")
    project.run("dvc", "repro", "--force", "--single-item", "train@tiny-mini")
    project.repro()
    assert {state for each in states(project).values() for state in each} == {"done"}
    assert "failed" not in (project.root / "docs/findings.md").read_text()


def test_where_nothing_is_left_the_stage_fails(project: Project, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("1")
    with (project.root / "params.yaml").open() as file:
        text = file.read()
    (project.root / "params.yaml").write_text(text.replace("constant: {}", "constant: {trainer: own}"))
    said = project.run("dvc", "--wait-for-lock", "repro", "train@tiny-mini", check=False)
    assert said.returncode != 0
    assert "cell(s) failed, the others are kept:" in said.stderr + said.stdout
