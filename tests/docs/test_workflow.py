"""The workflow for pull requests: what may write runs nothing of theirs, and what runs theirs may write nothing."""

import re
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / ".github/workflows/results.yml").read_text()
FLOW: dict[str, Any] = YAML(typ="safe").load(TEXT)


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_actions_are_pinned_by_their_commit() -> None:
    uses = [step["uses"] for job in FLOW["jobs"].values() for step in steps(job) if "uses" in step]
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name in uses)


def test_who_may_write_checks_nothing_out() -> None:
    assert FLOW["permissions"] == {"contents": "read"}
    writers = [job for job in FLOW["jobs"].values() if "write" in str(job.get("permissions"))]
    assert len(writers) == 1
    assert not any("checkout" in step.get("uses", "") for step in steps(writers[0]))
    checkouts = [step for job in FLOW["jobs"].values() for step in steps(job) if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_text_of_a_pull_request_becomes_a_command_and_a_fork_runs_no_program() -> None:
    here = "github.event.pull_request.head.repo.full_name == github.repository"
    for job in FLOW["jobs"].values():
        for step in steps(job):
            assert "${{" not in step.get("run", "")
            if ".ci/run" in step.get("run", "") or "flows.studies.derived" in step.get("run", ""):
                assert here in step["if"]


def test_a_pull_request_is_tested_as_every_commit_is() -> None:
    runs = [step.get("run") for step in steps(FLOW["jobs"]["results"])]
    assert runs.count(".ci/run") == 1
