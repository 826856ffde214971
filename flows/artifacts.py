"""What people see in Prefect: progress and the table of a grid, verdicts and what moved, events for automations."""

import time
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.events import emit_event

from flows.runners import Lost
from stages.cells.job import Job
from stages.cells.progress import Progress
from stages.diff.comparing import Diff
from stages.diff.words import markdown
from stages.store.store import Record
from stages.study.costs import count_flops

_EVERY = 5.0  # seconds between updates of the progress artifact


@dataclass(frozen=True)
class Outcome:
    """How a cell of the grid came out."""

    job: Job
    status: str
    """done, diverged or failed"""
    attempts: int = 1
    error: str | None = None
    record: Record | None = None
    loss: float | None = None


class GridReport:
    """Progress of a grid on the terminal and as artifacts of the flow run."""

    def __init__(self, jobs: list[Job], place: str) -> None:
        self._flops = {job.fingerprint: count_flops(job.cell).total for job in jobs}
        self._done = 0.0
        self._outcomes: list[Outcome] = []
        recipes = {job.fingerprint: job.plan.rows[0].recipe for job in jobs}
        self._progress = Progress({job.fingerprint: job.cell for job in jobs}, place, recipes)
        self._artifact = cast(UUID, create_progress_artifact(0.0, "grid-progress", self._words()))
        self._told = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """A cell is finished, one way or the other."""
        self._outcomes.append(outcome)
        self._done += self._flops[outcome.job.fingerprint]
        if outcome.error:
            self._progress.failed(outcome.job.fingerprint, outcome.error)
        else:
            self._progress.done(outcome.job.fingerprint, outcome.status)
        if time.monotonic() > self._told + _EVERY:
            self._tell()

    def lost(self, job: Job, lost: Lost) -> None:
        """A job went down with its host and is tried again."""
        words = f"{job.name}: {lost}; it is tried again"
        get_run_logger().warning(words)
        self._progress.remark(words)

    def close(self) -> None:
        """The last word: full progress and the table of cells."""
        self._progress.close()
        self._tell()
        create_table_artifact([_row(outcome) for outcome in self._outcomes], "grid-cells", "Cells of this run")

    def _tell(self) -> None:
        self._told = time.monotonic()
        share = 100 * self._done / max(sum(self._flops.values()), 1.0)
        update_progress_artifact(self._artifact, round(share, 1), self._words())

    def _words(self) -> str:
        return f"{len(self._outcomes)} of {len(self._flops)} cells, by share of their FLOPs"


def _row(outcome: Outcome) -> dict[str, Any]:
    plan, row, record = outcome.job.plan, outcome.job.plan.rows[0], outcome.record
    provenance = record.provenance if record else None
    return {
        "study": f"{plan.study}-{plan.scale}",
        "recipe": row.recipe,
        "width": row.cell.width,
        "lr": float(f"{row.cell.lr:.5g}"),
        "seed": row.cell.seed,
        "status": outcome.error or outcome.status,
        "loss": None if outcome.loss is None else round(outcome.loss, 4),
        "tokens/s": provenance and round(provenance.tokens_per_second),
        "seconds": provenance and provenance.seconds,
        "attempts": outcome.attempts,
        "host": provenance and provenance.host,
        "cell": outcome.job.fingerprint[:12],
    }


def tell_verdicts(key: str, answers: list[str], changes: Diff, figure: bytes | None = None) -> None:
    """A study's answer in words and as a figure (PNG), and what moved since the last run."""
    picture = [f"![{key}](data:image/png;base64,{b64encode(figure).decode()})", ""] if figure else []
    said = [f"* {answer}" for answer in answers]
    lines = [f"# {key}", *said, "", *picture, "## Since the last run", markdown(changes)]
    create_markdown_artifact("\n".join(lines), f"verdict-{artifact_key(key)}", f"What {key} says now")


def tell_changes(changes: Diff) -> None:
    """An event per verdict that changed."""
    for item in changes.changed:
        tell_event("verdict.changed", item.study, {"what": item.what, "before": item.old, "after": item.new})


def tell_event(name: str, subject: str, payload: dict[str, Any]) -> None:
    """An event that Prefect automations can react to: `crossover.verdict.changed`, `crossover.gate.failed`."""
    resource = {"prefect.resource.id": f"crossover.{subject}", "prefect.resource.name": subject}
    emit_event(event=f"crossover.{name}", resource=resource, payload=payload)


def artifact_key(name: str) -> str:
    """Prefect allows lower-case letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
