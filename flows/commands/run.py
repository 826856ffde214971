"""The command `run`: the pipeline flow from the command line."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from crossover.base.errors import CrossoverError, UsageError
from crossover.cli.common import Json, print_json


def run(
    runner: Annotated[str, typer.Option(help="local, dask, ray or slurm: where cells are trained.")] = "local",
    address: Annotated[str | None, typer.Option(help="A Dask scheduler or Ray head; here where absent.")] = None,
    workers: Annotated[int | None, typer.Option(help="Cells at once; one per GPU or core where absent.")] = None,
    retries: Annotated[int, typer.Option(help="Further attempts at a cell whose worker or host died.")] = 3,
    time_limit: Annotated[float | None, typer.Option(help="Seconds a cell may take.")] = None,
    limit: Annotated[str | None, typer.Option(help="A global concurrency limit of the Prefect server.")] = None,
    slurm: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for the Slurm job: partition=gpu")] = None,
    as_json: Json = False,
) -> None:
    """Bring all active studies up to date, in view of Prefect.

    Does what `dvc repro` does, cells in parallel. Reports to the configured Prefect server (PREFECT_API_URL), to
    the one of `crossover serve`, or to its own.

    crossover run --runner dask --address tcp://head:8786
    """
    from stages.study.params import load_params

    load_params()
    where = _where(
        runner=runner, address=address, workers=workers, retries=retries, time_limit=time_limit, limit=limit,
        slurm=dict(map(_pair, slurm or [])),
    )  # fmt: skip
    print("bringing all active studies up to date; Prefect starts (seconds, or half a minute for a server)",
          file=sys.stderr, flush=True)  # fmt: skip
    summary = _run(where)
    if as_json:
        print_json(summary.to_json())
    else:
        _show(summary)
    if summary.problems:
        raise CrossoverError("\n       ".join(summary.problems))


def _run(where: Any) -> Any:
    """The flow; what it and its workers print goes to standard error."""
    from flows.graph import alone
    from flows.runners import require_reach
    from flows.server import Watch, prefect_api
    from stages.cells.job import stop_workers
    from stages.cells.pool import terminable

    with terminable(), _stdout_as_stderr(), alone(), prefect_api() as api:
        require_reach(where, api)
        from flows.pipeline import run_pipeline

        def lost() -> None:
            """Nothing waits for Prefect's own attempts to reach the server, which last for many minutes."""
            stop_workers()
            words = (
                f"the Prefect server at {api} stopped answering; finished cells are kept, run the same command again"
            )
            print(f"error: {words}", file=sys.stderr, flush=True)
            os._exit(1)

        with Watch(api, lost, patience=float(os.environ.get("CROSSOVER_SERVER_PATIENCE", "60"))):
            return run_pipeline(where)


@contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(real, 1)
        os.close(real)


def _where(**options: Any) -> Any:
    from pydantic import ValidationError

    from flows.runners import Where, require_runner

    try:
        where = Where(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"{name} {first['input']}: {first['msg']}") from None
    require_runner(where)
    return where


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--slurm {text}: write KEY=VALUE, such as --slurm partition=gpu")
    return key, int(value) if value.isdigit() else value


def _show(summary: Any) -> None:
    from crossover.plots.blocks import show, table

    counts = Counter(summary.stages.values())
    stages = table("", "stage", "state", left=2)
    for address, state in summary.stages.items():
        if state != "Cached":
            stages.add(address, state)
    told = [f"{counts['Cached']} of {len(summary.stages)} stages were up to date"] if counts["Cached"] else []
    show([*([stages] if stages.rows else []), *told, *_lines(summary)])


def _lines(summary: Any) -> Iterator[str]:
    if summary.cells:
        counts = [outcome.status for outcome in summary.cells]
        attempts = sum(outcome.attempts for outcome in summary.cells) - len(counts)
        words = ", ".join(f"{counts.count(status)} {status}" for status in dict.fromkeys(counts))
        yield f"{len(counts)} cells: {words}" + (f", {attempts} further attempts" if attempts else "")
    yield f"{summary.seconds:.1f} s"
    changed = summary.changes.headline() if summary.changes else ""
    for item in summary.changes.changed if summary.changes else []:
        changed += f"\n  {item.study}: {item.what}: {item.old} -> {item.new}"
    if summary.cards:
        from flows.studies.answer import answer_lines

        yield from answer_lines(summary.cards, changed)
    elif changed:
        yield changed
