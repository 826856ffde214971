"""Deployments on a real server and worker: every minute, twice, with nothing new and then with something new."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.server import environment, free_port
from tests.end_to_end.conftest import FlowProject, ask, copy_of
from tests.processes import alive, descendants, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

EVERY_MINUTE = """
deployments:
  - name: minute
    entrypoint: flows/scheduled.py:scheduled
    parameters: {results_branch: results/minute}
    schedules: [{cron: "* * * * *"}]
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
    work_pool: {name: crossover}
"""


@pytest.fixture
def project(short: Path, tmp_path: Path) -> FlowProject:
    """The tiny study on branch main, with a deployment for every minute."""
    project = copy_of(short, tmp_path / "project", None)
    (project.root / "prefect.yaml").write_text(EVERY_MINUTE)
    commit(project, "source")
    project.run("git", "branch", "-M", "main")
    return project


def commit(project: FlowProject, message: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", message)


def ended(api: str, known: set[str]) -> dict[str, Any] | None:
    """A run of the deployment that came to an end and is not known yet."""
    runs = ask(api, "flow_runs/filter", sort="START_TIME_ASC", limit=50)
    fresh = [
        run for run in runs
        if run["deployment_id"] and run["state_type"] in ("COMPLETED", "FAILED", "CRASHED") and run["id"] not in known
    ]  # fmt: skip
    return fresh[0] if fresh else None


@contextmanager
def serving(project: FlowProject) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`crossover serve` in the project, and the URL of its API."""
    port = free_port()
    command = [sys.executable, "-m", "crossover", "serve", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=project.root, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serve:
        try:
            assert serve.stdout
            assert f":{port}/deployments: 1 deployments" in serve.stdout.readline()
            password = serve.stdout.readline().rpartition(": ")[2].strip()
            with environment(PREFECT_API_AUTH_STRING=password):
                yield serve, f"http://127.0.0.1:{port}/api"
        finally:
            serve.send_signal(signal.SIGINT)


@pytest.mark.long
def test_every_minute_on_a_real_worker(project: FlowProject) -> None:
    with serving(project) as (serve, api):
        first = until(lambda: ended(api, set()), 400, every=2)
        assert (first["state_type"], first["state_name"]) == ("COMPLETED", "Completed"), first["state"]["message"]
        results = project.run("git", "rev-parse", "results/minute").stdout.strip()
        assert results[:12] in first["state"]["message"]

        second = until(lambda: ended(api, {first["id"]}), 400, every=2)
        assert second["state_name"] == "NothingNew", second["state"]["message"]
        assert project.run("git", "rev-parse", "results/minute").stdout.strip() == results

        project.params(lambda values: values["scales"]["mini"].update(widths=[8, 16, 24]))
        commit(project, "a third width")
        known = {first["id"], second["id"]}
        while (third := until(lambda: ended(api, known), 400, every=2))["state_name"] == "NothingNew":
            known.add(third["id"])  # it had begun before the commit
        assert third["state_name"] == "Completed", third["state"]["message"]
        look_at_the_new_result(project, api, results)
        family = descendants(serve.pid)
        assert any("worker" in " ".join(member.cmdline()) for member in family if alive(member))
    assert serve.returncode == 0
    until(lambda: not any(map(alive, family)), 30)
    assert project.run("git", "status", "--porcelain").stdout == ""


def look_at_the_new_result(project: FlowProject, api: str, before: str) -> None:
    log = project.run("git", "log", "-1", "--format=%P %B", "results/minute").stdout
    assert log.startswith(before)
    assert "quantities measured anew" in log
    assert "24" in project.run("git", "show", "results/minute:data/results/tiny-mini/losses.csv").stdout
    (artifact,) = (item for item in ask(api, "artifacts/latest/filter") if item["key"] == "comparison-results-minute")
    assert f"{before[:12]} → " in artifact["data"]
    assert "4 cells added (constant, width 24, seed 0; … inverse, width 24, seed 1)" in artifact["data"]
    assert "`scales.mini.widths`: [8, 16] → [8, 16, 24]" in artifact["data"]


def test_a_killed_serve_leaves_no_process(project: FlowProject) -> None:
    with serving(project) as (serve, _):
        until(lambda: descendants(serve.pid, "crossover run"), 200)  # a scheduled run is at work
        family = descendants(serve.pid)
        serve.kill()
        serve.wait()
        until(lambda: not any(map(alive, family)), 90)
