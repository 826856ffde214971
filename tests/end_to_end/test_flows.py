"""One study through four doors, and what happens when somebody kills a worker, a host or the server."""

import json
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from flows.graph import Graph, order_lock, read_graph
from tests.end_to_end.conftest import FlowProject, ask, copy_of, finished, task_runs
from tests.patience import patience
from tests.processes import alive, checkpoint, descendants, kill, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RUNNERS = ("local", "dask", "ray")


def store_of(project: FlowProject) -> set[str]:
    return {path.parent.name for path in (project.root / "data/store").glob("*/record.json")}


@pytest.fixture(scope="module")
def repro(short: Path, tmp_path_factory: pytest.TempPathFactory) -> FlowProject:
    """The tiny study by the first door, `dvc repro`."""
    project = copy_of(short, tmp_path_factory.mktemp("repro") / "project", None)
    project.repro()
    return project


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_door_leads_to_the_same_bytes(
    runner: str, repro: FlowProject, short: Path, tmp_path: Path, server: str
) -> None:
    project = copy_of(short, tmp_path / "project", server)
    summary = project.crossover_run("--runner", runner, "--workers", "2")
    assert project.losses() == repro.losses()
    assert store_of(project) == store_of(repro) == set(summary["cells"])
    assert {cell["status"] for cell in summary["cells"].values()} == {"done"}
    states = summary["stages"]
    assert (states["tokens"], states["plan@tiny-mini"]) == ("Cached", "Cached")
    assert {states[name] for name in ("train@tiny-mini", "check_losses@tiny-mini", "report")} == {"Ran"}
    assert "are up to date" in project.repro()
    if runner == "local":
        look_at_what_people_see(server, summary["url"], project)


def look_at_what_people_see(api: str, url: str, project: FlowProject) -> None:
    runs = task_runs(api, url)
    assert {run["name"] for run in runs} >= {
        "tokens",
        "report",
        "dvc repro",
        "tiny-mini inverse width 16 lr 0.01 seed 1",
    }
    (flow_run,) = ask(api, "flow_runs/filter", flow_runs={"id": {"any_": [url.rsplit("/", 1)[-1]]}})
    assert flow_run["name"] == "tiny-mini on local"
    artifacts = {item["key"]: item for item in ask(api, "artifacts/latest/filter")}
    assert artifacts["grid-progress"]["data"] == 100.0
    table = json.loads(artifacts["grid-cells"]["data"])
    assert len(table) == 6
    assert {"status", "loss", "tokens/s", "seconds"} <= table[0].keys()
    assert table[0]["width"] == 16  # the costliest first
    verdict = artifacts["verdict-tiny-mini"]["data"]
    assert "cross on this ladder" in verdict
    assert "Since the last run" in verdict
    again = project.crossover_run()
    assert set(again["stages"].values()) == {"Cached"}
    assert again["cells"] == {}
    assert (again["changes"]["verdicts"], again["changes"]["moved"]) == ([], [])
    assert "say the same" in again["changes"]["headline"]


def victim_of(runner: str, root: int) -> int:
    """The process to kill: the worker that trains, or the Dask or Ray process that it belongs to."""
    trainer = until(lambda: descendants(root, "stages.cells.trainer"))[0]
    if runner == "local":
        return int(trainer.pid)
    return int(psutil.Process(trainer.pid).ppid())


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.long
def test_a_killed_worker_or_host_costs_an_attempt(
    runner: str, calm: FlowProject, long: Path, tmp_path: Path, server: str
) -> None:
    project = copy_of(long, tmp_path / "project", server)
    process = project.start("--runner", runner, "--workers", "2")
    until(lambda: checkpoint(project.root), 200)
    kill(victim_of(runner, process.pid))
    summary = finished(process)
    assert max(cell["attempts"] for cell in summary["cells"].values()) == 2
    assert project.losses() == calm.losses()
    runs = [run for run in task_runs(server, summary["url"]) if "width" in run["name"]]
    if runner == "local":
        assert max(run["run_count"] for run in runs) == 2
    else:
        assert "its host died" in json.dumps(ask(server, "logs/filter", sort="TIMESTAMP_DESC", limit=200))
        assert len(runs) > 2


@pytest.fixture(scope="module")
def calm(long: Path, tmp_path_factory: pytest.TempPathFactory) -> FlowProject:
    """The longer cells, undisturbed."""
    project = copy_of(long, tmp_path_factory.mktemp("calm") / "project", None)
    project.repro()
    return project


def test_without_its_server_a_run_stops_with_one_line_and_the_next_goes_on(
    calm: FlowProject, long: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copy_of(long, tmp_path / "project", None)
    project.environment["CROSSOVER_SERVER_PATIENCE"] = "3"
    process = project.start("--workers", "1")
    until(lambda: checkpoint(project.root), 200)
    family = descendants(process.pid)
    kill(next(member.pid for member in family if "prefect server start" in " ".join(member.cmdline())))
    _, errors = process.communicate(timeout=patience(300))
    assert process.returncode == 1
    assert "stopped answering" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    until(lambda: not any(map(alive, family)), 60)
    kept = store_of(project) | {path.parent.name for path in (project.root / "data/store").glob("*/checkpoint*")}
    assert kept
    project.crossover_run()
    assert project.losses() == calm.losses()


def test_an_interrupted_run_leaves_no_process(long: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(long, tmp_path / "project", server)
    process = project.start("--workers", "2")
    until(lambda: checkpoint(project.root), 200)
    family = descendants(process.pid)
    process.terminate()
    _, errors = process.communicate(timeout=patience(120))
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    until(lambda: not any(map(alive, family)), 60)


@pytest.mark.long
def test_a_cell_over_its_time_limit_fails_once_and_its_study_stops(long: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(long, tmp_path / "project", server)
    process = project.start("--time-limit", "0.5")
    output, errors = process.communicate(timeout=patience(300))
    assert process.returncode == 1
    assert "it took more than 0.5 s, its time limit" in errors
    summary = json.loads(output)
    assert {cell["attempts"] for cell in summary["cells"].values()} == {1}
    assert summary["stages"]["train@tiny-mini"] == "Failed"
    assert summary["stages"]["report"] == "NotReady"
    assert project.status()["failed"] == 4


def test_a_failed_gate_is_a_state_and_an_event(repro: FlowProject, short: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(repro.root, tmp_path / "project", server)
    gate = project.root / "stages/check/losses.py"
    gate.write_text(gate.read_text().replace("_ABOVE_UNIFORM = 2.0", "_ABOVE_UNIFORM = -5.0"))
    process = project.start()
    output, errors = process.communicate(timeout=patience(300))
    assert process.returncode == 1
    assert json.loads(output)["stages"]["check_losses@tiny-mini"] == "FailedGate"
    assert "gate on losses of tiny-mini failed" in errors
    wanted = {"event": {"name": ["crossover.gate.failed"]}}
    (event,) = until(lambda: ask(server, "events/filter", filter=wanted)["events"], 60, every=1)
    assert "gate on losses" in event["payload"]["why"]
    assert event["resource"]["prefect.resource.id"] == "crossover.check_losses@tiny-mini"


@pytest.mark.long
def test_a_strict_limit_must_exist_and_is_kept(short: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(short, tmp_path / "project", server)
    refused = project.cells_only(limit="nosuch", retries=0)
    assert {cell["status"] for cell in refused} == {"failed"}
    assert all("nosuch" in cell["error"] for cell in refused)
    project.run("prefect", "gcl", "create", "one", "--limit", "1")
    done = project.cells_only(limit="one", workers=2)
    assert [cell["status"] for cell in done] == ["done"] * 6
    spans = sorted(map(trained_from_to, project.root.glob("data/store/*/record.json")))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def trained_from_to(record: Path) -> tuple[float, float]:
    """A span in which a cell was trained, not longer than the true one."""
    end, seconds = record.stat().st_mtime, json.loads(record.read_text())["body"]["provenance"]["seconds"]
    return end - seconds, end


@pytest.mark.long
def test_two_runs_in_one_folder_do_not_meet(long: Path, tmp_path: Path, server: str) -> None:
    project = copy_of(long, tmp_path / "project", server)
    first = project.start()
    until(lambda: checkpoint(project.root), 200)
    second = project.start()
    _, errors = second.communicate(timeout=patience(120))
    assert second.returncode == 1
    assert f"another run (process {first.pid}) is at work" in errors
    finished(first)


@pytest.mark.filterwarnings("ignore")  # DVC's own
def test_dvc_lock_is_ordered_as_repro_does(repro: FlowProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repro.root)
    graph, lock = read_graph(), Path("dvc.lock")
    whole = lock.read_bytes()
    order_lock(Graph(dict(reversed(graph.upstream.items())), set()))
    assert lock.read_bytes() != whole
    order_lock(graph)
    assert lock.read_bytes() == whole
