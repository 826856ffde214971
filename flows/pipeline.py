"""The pipeline flow: DVC's own graph as Prefect tasks, with all studies' missing cells as one grid in the middle.

    stages up to the plans   a task each; DVC runs what is stale
    grid                     what the store lacks, in parallel, on the chosen runner
    the other stages         a task each; training finds every cell in the store
    dvc repro                once more over everything, so that the workspace is what `dvc repro` alone would leave

The graph is read from DVC, staleness is DVC's, DVC records. Prefect adds where cells run, retries, and the view.
"""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from crossover.base.errors import CrossoverError
from crossover.runs.estimates import plain
from flows.artifacts import Outcome, tell_changes, tell_event, tell_verdicts
from flows.graph import Graph, dvc, last_error, order_lock, read_graph, stop_dvc
from flows.grid import missing_jobs, run_grid
from flows.runners import Where, task_runner
from flows.studies.answer import cards
from flows.studies.snapshots import workspace_snapshot
from stages.cells.plan import Plan, folder, read_plan
from stages.cells.pool import TRIED
from stages.diff.comparing import Diff, compare
from stages.diff.snapshot import Snapshot
from stages.report.card import Card
from stages.report.lead import lead_figure
from stages.report.results import read_results
from stages.store.clones import register
from stages.store.store import store_from_environment
from stages.study.params import Params, load_params
from stages.verdicts.words import lines, read_verdicts


@dataclass
class Summary:
    """What a run did."""

    url: str = ""
    """Page of the flow run."""
    stages: dict[str, str] = field(default_factory=dict)
    """Cached, Ran, FailedGate, Failed or NotReady by stage."""
    cells: list[Outcome] = field(default_factory=list)
    changes: Diff | None = None
    """Since the run before."""
    cards: list[Card] = field(default_factory=list)
    """Answers of the studies that were fitted anew; where none was, of all."""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "url": self.url,
            "stages": self.stages,
            "cells": {
                outcome.job.fingerprint: {
                    "status": outcome.status,
                    "attempts": outcome.attempts,
                    "error": outcome.error,
                }
                for outcome in self.cells
            },
            "changes": self.changes and _brief(self.changes),
            "problems": self.problems,
            "seconds": round(self.seconds, 1),
        }


def _brief(changes: Diff) -> dict[str, Any]:
    moved = [plain(item) for item in changes.quantities if item.status == "moved"]
    return {"headline": changes.headline(), "verdicts": [plain(item) for item in changes.verdicts], "moved": moved}


def run_pipeline(where: Where) -> Summary:
    """Bring all active studies up to date. Problems of stages and cells are in the summary, not raised."""
    params, summary, started = load_params(), Summary(), time.monotonic()
    name = f"{', '.join(params.active)} on {where.runner}"
    threads = task_runner(Where(workers=where.count))

    @flow(name="pipeline", flow_run_name=name, task_runner=threads, persist_result=False)
    def pipeline() -> State | None:
        summary.url = str(flow_run.ui_url or "")
        print(f"watch it at {summary.url}", file=sys.stderr, flush=True)
        _bring_up_to_date(params, where, summary)
        return Failed(message="; ".join(summary.problems)) if summary.problems else None

    state = pipeline(return_state=True)
    if not summary.problems:
        state.result()  # raises what the flow did not expect
    summary.seconds = time.monotonic() - started
    return summary


def _bring_up_to_date(params: Params, where: Where, summary: Summary) -> None:
    graph, before = read_graph(), workspace_snapshot(Path(), "the run before")
    tasks = _Stages(graph, summary)
    tasks.run(graph.before(graph.stages("train")))
    plans = [read_plan(item.study, item.scale) for key, item in params.active.items() if tasks.due(key)]
    for plan in plans:
        store, home = store_from_environment(), folder(plan.study, plan.scale)
        store.adopt(home / "cells", plan.cells)
        register(store, home.name, plan.cells)
    if missing_jobs(plans):
        summary.cells = run_grid([(plan.study, plan.scale) for plan in plans], where)
    summary.problems += _studies_that_lack(summary.cells, plans)
    tasks.run(set(graph.upstream))
    if not summary.problems:
        _record(graph, summary)
    _tell(params, before, summary)


def _studies_that_lack(outcomes: list[Outcome], plans: list[Plan]) -> list[str]:
    """Per study what of it failed: what is there is fitted all the same, but the run did not end well."""
    failed = {outcome.job.fingerprint: f"{outcome.job.name}: {outcome.error}" for outcome in outcomes if outcome.error}
    lacking = {f"{plan.study}-{plan.scale}": [failed[name] for name in plan.cells if name in failed] for plan in plans}
    return [f"{key}: {len(errors)} cell(s) failed: {'; '.join(errors)}" for key, errors in lacking.items() if errors]


class _Stages:
    """The stages of the graph as tasks, each submitted once."""

    def __init__(self, graph: Graph, summary: Summary) -> None:
        self._graph, self._summary = graph, summary
        self._futures: dict[str, PrefectFuture[Any]] = {}
        self._lacking: set[str] = set()

    def run(self, addresses: set[str]) -> None:
        """Run those stages that have not run, in the order of the graph, and wait for them."""
        new = [address for address in self._graph.upstream if address in addresses and address not in self._futures]
        for address in new:
            upstream = [self._futures[name] for name in self._graph.upstream[address]]
            stale, again = address in self._graph.stale, address in self._lacking
            self._futures[address] = run_stage.submit(address, stale, again, upstream)
        try:
            wait([self._futures[address] for address in new])
        except BaseException:  # interrupted: the runner waits for its threads, which wait for DVC
            stop_dvc()
            raise
        for address in new:
            state = self._futures[address].state
            self._summary.stages[address] = state.name or state.type.value
            if state.is_failed():
                self._summary.problems.append(f"{address}: {state.message}")

    def due(self, key: str) -> bool:
        """Whether a study's cells may be needed: it was planned anew, DVC would train it, or some failed before."""
        plan = self._futures[f"plan@{key}"]
        if not plan.state.is_completed():
            return False
        if self._failed_before(key):
            self._lacking.add(f"train@{key}")
            return True
        return bool({f"train@{key}", f"evaluate@{key}"} & self._graph.stale or plan.result())

    def _failed_before(self, key: str) -> bool:
        """Whether cells of a study that DVC takes for trained are ones that failed."""
        store, planned = store_from_environment(), read_plan(*key.rsplit("-", 1)).cells
        lacking = [name for name in planned if store.record(name) is None]
        return f"train@{key}" not in self._graph.stale and any(store.failure(name) for name in lacking)


@task(name="stage", task_run_name="{address}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(address: str, stale: bool, again: bool, upstream: list[Any]) -> State:
    """One DVC stage, where it is stale or one of `upstream` (futures) changed its outputs; returns whether it did.

    It runs `again`, although DVC sees no change, where what failed in it before has been tried since.
    """
    if not stale and not again and not any(upstream):
        return Completed(name="Cached", data=False)
    words = ["repro", "--single-item", *(["--force"] if again else []), address]
    code, lines = dvc(*words, hear=get_run_logger().info, variables={TRIED: "1"})
    if code == 0:
        ran = any(line.startswith("Running stage") for line in lines)
        untouched = any("didn't change, skipping" in line for line in lines)  # else DVC may have restored older outputs
        return Completed(name="Ran" if ran else "Cached", data=not untouched)
    if address.startswith("check_"):
        tell_event("gate.failed", address, {"why": last_error(lines)})
        return Failed(name="FailedGate", message=last_error(lines))
    return Failed(message=last_error(lines))


@task(name="record", task_run_name="dvc repro", cache_policy=NO_CACHE, persist_result=False)
def record() -> list[str]:
    """`dvc repro` over everything: DVC's own word that nothing is left to do."""
    code, lines = dvc("repro", hear=get_run_logger().debug)
    if code:
        raise CrossoverError(last_error(lines))
    return [line for line in lines if line.startswith("Running stage")]


def _record(graph: Graph, summary: Summary) -> None:
    state = record(return_state=True)
    if state.is_failed():
        summary.problems.append(f"dvc repro: {state.message}")
    elif again := state.result():
        get_run_logger().warning("dvc repro ran what this flow thought done: %s", "; ".join(again))
    if "Ran" in summary.stages.values():
        order_lock(graph)


def _tell(params: Params, before: Snapshot, summary: Summary) -> None:
    found = summary.changes = compare(before, workspace_snapshot(Path(), "this run"))
    fitted = [key for key in params.active if summary.stages.get(f"fit@{key}") in ("Ran", "Cached")]
    anew = [key for key in fitted if summary.stages[f"fit@{key}"] == "Ran"]
    summary.cards = cards(anew or fitted)
    for key, card in zip(fitted, cards(fitted), strict=True):
        figure = lead_figure(read_results(key, params))
        tell_verdicts(key, card.said(), found.of(key), figure.png() if figure else None)
    if summary.stages.get("verdicts") in ("Ran", "Cached"):
        tell_verdicts("verdicts", [line.summary for line in lines(read_verdicts())], found)
    tell_changes(found)
