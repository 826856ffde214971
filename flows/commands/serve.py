"""The command `serve`: a Prefect server, the deployments of `prefect.yaml` and a worker for them, on this machine."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from crossover.base.errors import CrossoverError, UsageError

POOL = "crossover"


def serve(
    port: Annotated[int, typer.Option(help="Port of loopback for the Prefect server and its pages.")] = 4200,
) -> None:
    """Run scheduled studies here: server, deployments and worker. Ends them all with Ctrl-C.

    A `crossover run` in the same folder reports to this server.

    crossover serve --port 4200
    """
    if not Path("prefect.yaml").exists():
        raise UsageError("prefect.yaml is missing; run this in the project's root")
    from flows.server import end, own_server, quiet

    quiet()
    with _asked_to_stop() as stop, own_server(port) as api:
        os.environ["PREFECT_API_URL"] = api
        _prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
        _drop_late_runs()
        deployed = _prefect("--no-prompt", "deploy", "--all")
        worker = _start_worker()
        try:
            print(f"{api.removesuffix('/api')}/deployments: {deployed.count('successfully created')} deployments")
            print(f"The pages ask for a password once: {os.environ['PREFECT_API_AUTH_STRING']}")
            print("Ctrl-C ends server, worker and whatever runs.", flush=True)
            while not stop.wait(1.0):
                if worker.poll() is not None:
                    raise CrossoverError("the worker ended by itself; see .prefect/worker.log")
        finally:
            end(worker)


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Set by Ctrl-C and SIGTERM alike."""
    stop = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: stop.set()) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _prefect(*words: str) -> str:
    command = [sys.executable, "-m", "prefect", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CrossoverError(f"prefect {' '.join(words)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _start_worker() -> "subprocess.Popen[bytes]":
    """One run at a time: two would share the machine, and the pages would show both as slow."""
    from flows.server import HOME
    from stages.study.processes import mortal

    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--limit", "1", "--name", "here"]
    with (HOME / "worker.log").open("w") as output:
        return subprocess.Popen(  # noqa: S603
            mortal(*command), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _drop_late_runs() -> None:
    """Runs that were scheduled for a time when nobody served would otherwise all start now."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    late = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        while late_ones := [
            run for run in client.read_flow_runs(flow_run_filter=late, limit=200) if run.auto_scheduled
        ]:
            for run in late_ones:
                client.delete_flow_run(run.id)
