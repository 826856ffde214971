"""What moved between two runs: leaves that differ, and the conclusions drawn from intervals."""

import json
import subprocess
from pathlib import Path

from flows.changes import Change, compare_metrics, read_commit, read_here

BEFORE = {
    "cells": {"done": 6},
    "crossover": {"b - a": {"verdict": "undecided", "compute": None}},
    "difference": {"b - a": {"value": -0.02, "low": -0.05, "high": 0.01, "detectable": 0.03}},
}


def after(**changes: object) -> dict[str, object]:
    return {**BEFORE, **changes}


def test_the_same_metrics_have_not_moved() -> None:
    assert compare_metrics(BEFORE, json.loads(json.dumps(BEFORE))) == []


def test_an_interval_that_leaves_zero_is_a_changed_verdict() -> None:
    moved = {"b - a": {"value": -0.04, "low": -0.07, "high": -0.01, "detectable": 0.03}}
    changes = compare_metrics(BEFORE, after(difference=moved))
    assert Change("difference b - a verdict", "undecided", "below zero") in changes
    assert Change("difference b - a value", -0.02, -0.04) in changes
    assert [change.name for change in changes if change.is_verdict] == ["difference b - a verdict"]


def test_a_crossing_that_is_found_is_a_changed_verdict() -> None:
    changes = compare_metrics(BEFORE, after(crossover={"b - a": {"verdict": "crosses", "compute": 2e9}}))
    assert [(change.name, change.is_verdict) for change in changes] == [
        ("crossover b - a verdict", True),
        ("crossover b - a compute", False),
    ]
    assert [Change.shown(change.before) for change in changes] == ["undecided", "–"]


def test_what_came_and_went_is_shown_too() -> None:
    assert compare_metrics({"gone": 1}, {"new": 2}) == [Change("new", None, 2), Change("gone", 1, None)]


def test_a_commit_reads_as_its_files_do(tmp_path: Path) -> None:
    path = tmp_path / "data/results/tiny-mini/metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(BEFORE))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    path.write_text("{}")
    assert read_commit("HEAD", tmp_path) == {"tiny-mini": BEFORE}
    assert read_here(tmp_path / "data") == {"tiny-mini": {}}
    (tmp_path / "data/verdicts").mkdir()
    (tmp_path / "data/verdicts/metrics.json").write_text('{"pocket": {}}')
    assert read_here(tmp_path / "data") == {"tiny-mini": {}, "verdicts": {"pocket": {}}}
