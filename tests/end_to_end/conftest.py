"""One real Prefect server on loopback for all flow tests, and a project whose text is tokenized and planned once."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from flows.server import free_port, own_server
from tests.conftest import Project, make_project, write_corpus
from tests.patience import patience


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the API of a server that lasts for the session."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("server"))
    try:
        with own_server(free_port()) as url:
            os.chdir(before)
            yield url
    finally:
        os.chdir(before)


_CELLS_ONLY = """
import json, sys
from flows.server import prefect_api
from tests.patience import patience
with prefect_api():
    from flows.grid import run_grid
    from flows.runners import Where
    found = run_grid([("tiny", "mini")], Where(**json.loads(sys.argv[1])))
print(json.dumps([{"status": o.status, "attempts": o.attempts, "error": o.error} for o in found]))
"""


class FlowProject(Project):
    """A project with the `crossover` command, reporting to a server."""

    def __init__(self, root: Path, api: str | None) -> None:
        super().__init__(root)
        if api:
            self.environment["PREFECT_API_URL"] = api

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """`crossover run --json` in the background."""
        command = [sys.executable, "-m", "crossover", "run", "--json", *arguments]
        process = subprocess.Popen(
            command, cwd=self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        _STARTED.append(process)
        return process

    def cells_only(self, **where: Any) -> list[dict[str, Any]]:
        """The grid flow alone: status, attempts and error of every cell that was missing."""
        done = self.run(sys.executable, "-c", _CELLS_ONLY, json.dumps(where))
        outcomes: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return outcomes

    def crossover_run(self, *arguments: str) -> dict[str, Any]:
        """`crossover run --json`, which must succeed; what it printed."""
        return finished(self.start(*arguments))


_STARTED: list["subprocess.Popen[str]"] = []


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """A test that failed half-way leaves no run behind."""
    yield
    while _STARTED:
        with _STARTED.pop() as process:
            if process.poll() is None:
                process.kill()


def finished(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a successful `crossover run --json` printed."""
    output, errors = process.communicate(timeout=patience(400))
    assert process.returncode == 0, errors
    summary: dict[str, Any] = json.loads(output)
    return {**summary, "stderr": errors}


def who(api: str) -> dict[str, str]:
    """The headers of somebody who knows the password and has asked for a token."""
    password = base64.b64encode(os.environ["PREFECT_API_AUTH_STRING"].encode()).decode()
    headers = {"Authorization": f"Basic {password}", "Prefect-Csrf-Client": "tests"}
    with urlopen(Request(f"{api}/csrf-token?client=tests", headers=headers), timeout=patience(120)) as reply:
        return {**headers, "Prefect-Csrf-Token": json.load(reply)["token"]}


def ask(api: str, path: str, **body: Any) -> list[dict[str, Any]]:
    """A filter request to the Prefect API."""
    request = Request(f"{api}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json", **who(api)})
    with urlopen(request, timeout=patience(120)) as reply:
        answer: list[dict[str, Any]] = json.load(reply)
        return answer


def task_runs(api: str, url: str) -> list[dict[str, Any]]:
    """Task runs of the flow run with that page, and of the grid below it."""
    flow_run = url.rsplit("/", 1)[-1]
    children = ask(api, "flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [flow_run]}}, limit=10)
    ids = [flow_run, *(child["id"] for child in children)]
    return ask(api, "task_runs/filter", flow_runs={"id": {"any_": ids}}, limit=200)


def _planned(root: Path, **scale: Any) -> Path:
    project = make_project(root)
    write_corpus(project.root / "data/sources/words.jsonl", documents=1500)
    project.params(lambda values: values["scales"]["mini"].update(scale))
    project.run("dvc", "--wait-for-lock", "repro", "plan@tiny-mini")
    return root


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study, planned: six cells of a moment."""
    return _planned(tmp_path_factory.mktemp("short") / "project")


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells of some seconds, long enough to be caught in the middle."""
    return _planned(tmp_path_factory.mktemp("long") / "project", tokens=60_000, widths=[16])


def copy_of(planned: Path, root: Path, api: str | None) -> FlowProject:
    shutil.copytree(planned, root, symlinks=True)
    return FlowProject(root, api)
