"""Which Prefect server a flow reports to: the configured one, the one `crossover serve` runs here, or one of its own.

A flow that starts no server leaves it to Prefect to start a hidden one in every worker process, which hangs Dask and
process pools; so there is always a real server, on loopback, with its database in `.prefect`. Any page in a browser
reaches loopback: so the server asks for a password, which lies in `.prefect` for its owner alone, answers pages of its
own origin alone, and wants a token with whatever changes something.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from crossover.base.errors import CrossoverError
from crossover.base.files import write_json
from stages.study.processes import mortal

HOME = Path(".prefect")
_FOUND = HOME / "server.json"
_PATIENCE = 180.0  # seconds; the first start also makes the database


@contextmanager
def prefect_api() -> Iterator[str]:
    """While it lasts, flows of this process and of its children report to one server; yields its API's URL.

    Raises `CrossoverError` where the configured server does not answer or none can be started.
    """
    quiet()
    if configured := _configured():
        require_answer(configured)
        yield configured
    elif running := _running_here():
        url, password = running
        with environment(PREFECT_API_AUTH_STRING=password), _reporting_to(url):
            yield url
    else:
        with own_server(free_port()) as url, _reporting_to(url):
            yield url


class Watch:
    """Looks after the server while a flow runs: without one, Prefect's own attempts to reach it last for minutes.

    `lost` is called in a thread once the server has not answered for `patience` seconds.
    """

    def __init__(self, url: str, lost: Callable[[], None], patience: float) -> None:
        self._url, self._lost, self._patience = url, lost, patience
        self._over = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._look, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _look(self) -> None:
        seen = time.monotonic()
        while not self._over.wait(2.0):
            if answers(self._url):
                seen = time.monotonic()
            elif time.monotonic() > seen + self._patience and not self._over.is_set():
                self._lost()
                return


def quiet() -> None:
    """No telemetry, and on the terminal our words instead of Prefect's. To be called before Prefect is imported."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def _configured() -> str | None:
    """From the environment, `pyproject.toml` or the active profile, as Prefect itself sees it."""
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    return url


def _running_here() -> tuple[str, str] | None:
    """API and password of the server that runs in this folder."""
    try:
        found = json.loads(_FOUND.read_text())
        url, password = str(found["api"]), str(found["password"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (url, password) if answers(url) else None


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Variables for this process and its children, for a while; None takes one away."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        os.environ.update({name: value} if value is not None else {})


@contextmanager
def _reporting_to(url: str) -> Iterator[None]:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL, temporary_settings

    here = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: os.environ["PREFECT_API_AUTH_STRING"]}
    try:
        with (
            environment(PREFECT_API_URL=url, PREFECT_API_KEY=None),
            temporary_settings(here, restore_defaults=[PREFECT_API_KEY]),
        ):
            yield
    finally:
        _send_the_rest()


def _send_the_rest() -> None:
    """Logs and events travel in the background; a server of our own must not end before they have arrived."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)


def answers(url: str, seconds: float = 5.0) -> bool:
    """Whether a Prefect API answers at `url`, if only to ask who we are."""
    return (_reply(f"{url}/health", seconds) or 500) < 500


def _reply(url: str, seconds: float) -> int | None:
    """The HTTP status of a page, the password from the environment given; None where nobody answers."""
    try:
        request = Request(url)  # noqa: S310 (an http address of ours or the user's)
        if password := os.environ.get("PREFECT_API_AUTH_STRING"):
            request.add_header("Authorization", f"Basic {b64encode(password.encode()).decode()}")
        with urlopen(request, timeout=seconds) as reply:  # noqa: S310
            return int(reply.status)
    except HTTPError as reply:
        return reply.code
    except (URLError, OSError, ValueError):
        return None


def require_answer(url: str) -> None:
    """Raises `CrossoverError` where no API answers at `url`, or none that lets us in."""
    status = _reply(f"{url}/admin/version", 20.0)
    if status in (401, 403) and not os.environ.get("PREFECT_API_KEY"):
        raise CrossoverError(f"the Prefect server at {url} asks for a password; set PREFECT_API_AUTH_STRING to it")
    if (status or 500) >= 500:
        raise CrossoverError(
            f"no Prefect server answers at {url} (PREFECT_API_URL); start it, or unset that to use one of our own"
        )


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def own_server(port: int) -> Iterator[str]:
    """A Prefect server on loopback with its database in `.prefect`; ends with this process. Yields its API's URL.

    Meanwhile $PREFECT_API_AUTH_STRING has its password. Raises `CrossoverError` where one runs already, here or at that
    port, or where it does not start.
    """
    url = f"http://127.0.0.1:{port}/api"
    if running := _running_here() or (answers(url) and (url, "")):
        raise CrossoverError(f"a Prefect server runs already at {running[0]}; end it first, or choose another port")
    HOME.mkdir(exist_ok=True)
    HOME.chmod(0o700)
    (HOME / ".gitignore").write_text("*\n")
    log, password = HOME / "server.log", f"crossover:{secrets.token_urlsafe(24)}"
    settings = {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{(HOME / 'prefect.db').resolve()}",
        "PREFECT_UI_API_URL": url,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        **os.environ,
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url.removesuffix("/api"),
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(  # noqa: S603
            mortal(*command), env=settings, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _await(server, url, log)
        write_json(_FOUND, {"api": url, "pid": server.pid, "password": password})
        with environment(PREFECT_API_AUTH_STRING=password, PREFECT_API_KEY=None):  # a cloud's key would come first
            yield url
    finally:
        _FOUND.unlink(missing_ok=True)
        end(server)


def _await(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end_of_patience = time.monotonic() + _PATIENCE
    while not answers(url, 1.0):
        if server.poll() is not None or time.monotonic() > end_of_patience:
            last = next(iter(log.read_text().strip().splitlines()[-1:]), "it said nothing")
            raise CrossoverError(f"the Prefect server did not start ({last}); see {log}")
        time.sleep(0.2)


def end(process: "subprocess.Popen[bytes]", seconds: float = 10.0) -> None:
    """End a child and everything it started: asked to, then made to."""
    import psutil

    family = [psutil.Process(process.pid)] if process.poll() is None else []
    family += [child for parent in family for child in parent.children(recursive=True)]
    for member in family:
        with _gone():
            member.terminate()
    for member in psutil.wait_procs(family, seconds)[1]:
        with _gone():
            member.kill()
    process.wait()


@contextmanager
def _gone() -> Iterator[None]:
    import psutil

    try:
        yield
    except psutil.NoSuchProcess:
        return
