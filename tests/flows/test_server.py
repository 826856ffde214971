"""The Prefect server that we start, asked as any page in a browser of the same machine could ask it."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from crossover.base.errors import CrossoverError
from flows.server import free_port, own_server, require_answer
from tests.conftest import REPOSITORY
from tests.end_to_end.conftest import ask, who
from tests.patience import patience
from tests.processes import until


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("server"))
    Path(".prefect").mkdir()  # as an earlier server left it
    try:
        with own_server(free_port()) as url:
            yield url
    finally:
        os.chdir(before)


def refused(url: str, body: bytes | None = None, **headers: str) -> int:
    request = Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    with pytest.raises(HTTPError) as error:
        urlopen(request, timeout=patience(60))
    error.value.close()
    return error.value.code


@pytest.mark.slow
def test_who_knows_no_password_learns_and_changes_nothing(api: str) -> None:
    asked = {"Content_Type": "application/json", "Origin": "http://evil.example"}
    assert refused(f"{api}/flow_runs/filter", b"{}", **asked) in (401, 403)
    assert refused(f"{api}/deployments/filter", b"{}", **asked) in (401, 403)
    assert refused(f"{api}/admin/settings") == refused(f"{api}/csrf-token?client=x") == 401
    assert ask(api, "flow_runs/filter") == []


@pytest.mark.slow
def test_a_password_without_a_token_changes_nothing(api: str) -> None:
    """A browser that has logged in sends the password by itself, with whatever page asks it to."""
    known = {name: value for name, value in who(api).items() if name == "Authorization"}
    assert refused(f"{api}/flows/", json.dumps({"name": "x"}).encode(), Content_Type="application/json", **known) == 403


@pytest.mark.slow
def test_no_other_origin_is_answered(api: str) -> None:
    for origin, allowed in (("http://evil.example", None), (api.removesuffix("/api"), api.removesuffix("/api"))):
        with urlopen(Request(f"{api}/health", headers={"Origin": origin}), timeout=patience(60)) as reply:
            assert reply.headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.slow
def test_who_names_the_server_and_no_password_is_told_so(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_answer(api)
    monkeypatch.delenv("PREFECT_API_AUTH_STRING")
    with pytest.raises(CrossoverError, match=r"asks for a password; set PREFECT_API_AUTH_STRING to it"):
        require_answer(api)


@pytest.mark.slow
def test_the_password_is_its_owners_alone(api: str) -> None:
    home = Path(".prefect")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert json.loads((home / "server.json").read_text())["password"] == os.environ["PREFECT_API_AUTH_STRING"]
    assert "crossover:" not in (home / "server.log").read_text()


_TELLING = """
from types import SimpleNamespace
from flows.artifacts import tell_changes
tell_changes(SimpleNamespace(changed=[SimpleNamespace(study="s-c", what="claim C6", old="SUPPORTED", new="REFUTED")]))
"""


@pytest.mark.slow
def test_a_verdict_that_changed_is_an_event(api: str) -> None:
    environment = {**os.environ, "PREFECT_API_URL": api, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", _TELLING], env=environment, check=True, timeout=patience(120))
    known = {"event": {"name": ["crossover.verdict.changed"]}}
    (event,) = until(lambda: dict(ask(api, "events/filter", filter=known))["events"], 60)
    assert event["resource"]["prefect.resource.id"] == "crossover.s-c"
    assert event["payload"] == {"what": "claim C6", "before": "SUPPORTED", "after": "REFUTED"}
