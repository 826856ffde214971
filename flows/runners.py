"""Where cells run: threads of this machine, Dask, Ray, Slurm; what each needs, and the error where it is absent."""

import importlib.util
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from crossover.base.errors import CrossoverError, UsageError
from stages.cells.pool import gpu_count, worker_count, workers_in_words

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

_HERE = ("127.0.0.1", "localhost", "::1")
Kind = Literal["local", "dask", "ray", "slurm"]
_NEEDS = {"dask": "prefect_dask", "ray": "prefect_ray", "slurm": "submitit"}


@dataclass(frozen=True)
class Lost:
    """A job that did not come to an end because whatever ran it died."""

    reason: str

    def __str__(self) -> str:
        return f"its host died ({self.reason})"


Result = int | Exception | Lost
"""What became of a job: done after so many attempts, failed by itself, or lost."""


class Where(BaseModel):
    """Where and how patiently cells are run. Never part of what they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runner: Kind = "local"
    address: str | None = None
    """Of a Dask scheduler or a Ray head; a cluster on this machine where absent."""
    workers: int | None = Field(default=None, gt=0)
    """Cells at once; by default one per GPU, else one per core."""
    retries: int = Field(default=3, ge=0)
    """Further attempts at a cell whose worker or host died."""
    time_limit: float | None = Field(default=None, gt=0)
    """Seconds a cell may take."""
    limit: str | None = None
    """Name of a global concurrency limit of the Prefect server, of which every cell occupies a slot."""
    slurm: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the Slurm job: partition, gpus_per_node, mem_gb, timeout_min, ..."""

    @property
    def count(self) -> int:
        """Cells at once on this machine."""
        return self.workers or worker_count()

    @property
    def place(self) -> str:
        """In words."""
        if self.runner == "slurm":
            return "Slurm"
        return f"{self.runner} at {self.address}" if self.address else workers_in_words(self.count)


def require_runner(where: Where) -> None:
    """Refuse what cannot work before anything costly starts. Raises `UsageError` or `CrossoverError`."""
    package = _NEEDS.get(where.runner)
    if package and importlib.util.find_spec(package) is None:
        extra = f"pip install 'scaling-crossover[{where.runner}]'"
        raise UsageError(f"--runner {where.runner} needs the extra of its name: {extra}")
    if where.address and where.runner not in ("dask", "ray"):
        raise UsageError(f"--address is for dask and ray, not for {where.runner}")
    if where.limit and where.runner == "slurm":
        raise UsageError("--limit is kept by Prefect's workers, not by Slurm; use --workers")
    if where.runner == "dask" and not where.address and gpu_count() > 1:
        raise UsageError("a Dask cluster of our own would use one GPU; start a worker per GPU and give --address")
    if where.address and where.address != "auto":
        _require_listening(where)


def require_reach(where: Where, api: str) -> None:
    """Workers report to the Prefect server themselves. Raises `CrossoverError` where they cannot."""
    place = _parts(where.address) if where.address and where.address != "auto" else None
    if place and place.hostname not in _HERE and urlsplit(api).hostname in _HERE:
        raise CrossoverError(
            f"workers at {where.address} cannot reach the Prefect server at {api}; set PREFECT_API_URL to one they can"
        )


def _parts(address: str) -> SplitResult:
    return urlsplit(address if "://" in address else f"tcp://{address}")


def _require_listening(where: Where) -> None:
    place = _parts(str(where.address))
    try:
        socket.create_connection((str(place.hostname), place.port or 0), timeout=10).close()
    except (OSError, ValueError):
        raise CrossoverError(
            f"no {where.runner} cluster answers at {where.address}; start it, or mend --address"
        ) from None


def task_runner(where: Where) -> "TaskRunner[PrefectFuture[Any]]":
    """The Prefect task runner. In clusters of our own, jobs of a worker that died come back to be retried in view."""
    makers = {"dask": _dask, "ray": _ray}
    return cast("TaskRunner[PrefectFuture[Any]]", makers.get(where.runner, _threads)(where))


def _threads(where: Where) -> Any:
    from prefect.task_runners import ThreadPoolTaskRunner

    return ThreadPoolTaskRunner(max_workers=where.count)


def _dask(where: Where) -> Any:
    import dask
    from prefect_dask import DaskTaskRunner

    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    if where.address:
        return DaskTaskRunner(address=where.address)
    here = {"n_workers": where.count, "threads_per_worker": 1, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=here)


def _ray(where: Where) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from prefect_ray import RayTaskRunner

    if where.address:
        return RayTaskRunner(address=where.address)
    return RayTaskRunner(init_kwargs={"num_cpus": where.count, "include_dashboard": False, "log_to_driver": False})


@contextmanager
def resources(where: Where) -> Iterator[None]:
    """What each task asks of the cluster while it is submitted: with Ray, a GPU where there are any."""
    if where.runner != "ray":
        yield
        return
    import ray
    from prefect_ray.context import remote_options

    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    with remote_options(max_retries=0, num_gpus=gpus):
        yield
