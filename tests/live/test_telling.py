"""What is told of cells while they train, read again by the real readers of the tools it is told to."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crossover.logs.finding import find_runs
from stages.live import telling
from stages.live.events import Begun, Told
from stages.live.sinks import Journal, Sink, TensorBoard
from stages.live.telling import Live, wanted
from tests.conftest import REPOSITORY
from tests.live.writing import STEPS, begun, tell, window
from tests.logs.test_restarts import MLFLOW


def journal(root: Path) -> list[dict[str, Any]]:
    (path,) = (root / "data/live/journal").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(root: Path, name: str) -> dict[int, float]:
    (folder,) = (root / "data/live/tensorboard/tiny-mini").glob(f"{name}-*")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {event.step: event.value for event in events.Scalars("loss")}


def test_tensorboard_shows_every_point_while_it_trains(tmp_path: Path) -> None:
    live = Live(tmp_path)
    observe = live.begin(begun("healthy", 0))
    observe(window(25))
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("data/live/tensorboard/*/*/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert len(curve(tmp_path, "healthy")) == 25  # before the cell has come to its end
    observe(window(50))
    live.end(begun("healthy", 0), "done")
    live.close()
    found = curve(tmp_path, "healthy")
    assert found == pytest.approx({step: 4.0 - 0.01 * (step - 1) for step in range(1, 51)}, abs=1e-6)


def test_a_cell_that_begins_anew_begins_its_curve_anew_and_one_that_goes_on_adds_to_it(tmp_path: Path) -> None:
    for ends, loss in (((25, 50), 9.0), ((25, 50), 4.0), ((75, 100), 4.0)):
        live = Live(tmp_path, "tensorboard")
        observe = live.begin(begun("healthy", 0))
        for end in ends:
            observe(window(end, loss))
        live.close()
    found = curve(tmp_path, "healthy")
    assert sorted(found) == list(range(1, 101))
    assert max(found.values()) == pytest.approx(4.0)


def test_long_runs_are_told_in_means(tmp_path: Path) -> None:
    live = Live(tmp_path, "none")
    observe = live.begin(begun("long", 0, steps=2000))
    observe(window(50, size=50))
    live.close()
    (_, told) = journal(tmp_path)
    assert told["steps"] == list(range(10, 51, 10))
    assert told["losses"][0] == pytest.approx(4.0 - 0.01 * 4.5)


def test_the_journal_has_what_happened_in_its_order(tmp_path: Path) -> None:
    tell(Live(tmp_path, "none"))
    events = journal(tmp_path)
    assert [event["kind"] for event in events] == (["begin"] + ["told"] * 4 + ["end"]) * 2
    assert [event["status"] for event in events if event["kind"] == "end"] == ["done", "diverged"]
    assert sum(len(event["steps"]) for event in events if event["kind"] == "told") == 2 * STEPS


class Broken(Sink):
    """Fails at its second telling."""

    def __init__(self, _: Path) -> None:
        self.told = 0

    def begin(self, cell: Begun) -> None:
        pass

    def tell(self, cell: Begun, told: Told) -> None:
        self.told += 1
        if self.told > 1:
            raise ConnectionError("the network is gone")

    def end(self, cell: Begun, status: str) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_tool_that_fails_is_told_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(telling.SINKS, "wandb", Broken)
    tell(Live(tmp_path, "wandb, tensorboard"))
    assert capsys.readouterr().err == "note: curves go to wandb no more: the network is gone\n"
    assert len(journal(tmp_path)) == 12
    assert len(curve(tmp_path, "healthy")) == STEPS


def test_a_tool_that_is_not_there_or_not_known_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    tell(Live(tmp_path, "mlflow,tensorbord"))
    said = capsys.readouterr().err
    assert "CROSSOVER_LIVE names 'tensorbord', to which curves cannot go; did you mean 'tensorboard'?" in said
    assert "curves do not go to mlflow: " in said
    assert "install it, or leave it out of CROSSOVER_LIVE" in said
    assert len(journal(tmp_path)) == 12


def test_where_nothing_is_asked_for_tensorboard_is_written_to() -> None:
    assert (wanted(None), wanted("none"), wanted(" ")) == (["tensorboard"], [], [])


def test_journals_of_last_week_go(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    for name, age in (("old", 8), ("new", 1)):
        (folder / f"{name}.jsonl").write_text("{}\n")
        os.utime(folder / f"{name}.jsonl", (time.time() - age * 86400,) * 2)
    Journal(tmp_path).close()
    assert sorted(path.stem for path in folder.glob("*"))[-1:] == ["new"]
    assert not (folder / "old.jsonl").exists()


def run(name: str, folder: Path, *python: str, **variables: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"} | variables
    command = [*(python or (sys.executable,)), "-m", "tests.live.writing", name, str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "note:" not in done.stderr


@pytest.mark.slow
def test_wandb_offline_has_the_curves(tmp_path: Path) -> None:
    run("wandb", tmp_path, WANDB_MODE="offline", WANDB_SILENT="true", WANDB_ERROR_REPORTING="false")
    runs = find_runs([tmp_path / "data/live/wandb"])
    found = {item.name: dict(item.curves["loss"].items()) for item in runs}
    assert set(found) == {"healthy width 16 lr 0.01 seed 0", "broken width 16 lr 0.01 seed 1"}
    assert found["healthy width 16 lr 0.01 seed 0"] == pytest.approx({s: 4.0 - 0.01 * (s - 1) for s in range(1, 101)})
    assert len(found["broken width 16 lr 0.01 seed 1"]) == 75  # what is no number is not sent


@pytest.mark.slow
def test_mlflows_file_store_has_the_curves(tmp_path: Path) -> None:
    links = os.environ.get("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))
    there = subprocess.run([*MLFLOW, "-c", "import mlflow"], env=os.environ | {"UV_FIND_LINKS": links},
                           capture_output=True, check=False)  # fmt: skip
    if there.returncode:
        pytest.skip("mlflow-skinny cannot be installed here")
    run("mlflow", tmp_path, *MLFLOW, UV_FIND_LINKS=links, MLFLOW_ALLOW_FILE_STORE="true")
    curves, names = [], []
    for path in sorted(tmp_path.glob("data/live/mlruns/*/*/metrics/loss")):
        points = [line.split() for line in path.read_text().splitlines()]
        curves.append({int(step): float(value) for _, value, step in points})
        names.append((path.parents[1] / "tags/mlflow.runName").read_text())
    by = dict(zip(names, curves, strict=True))
    assert by["healthy width 16 lr 0.01 seed 0"] == pytest.approx({s: 4.0 - 0.01 * (s - 1) for s in range(1, 101)})
    assert len(by["broken width 16 lr 0.01 seed 1"]) == 75


@pytest.mark.slow
def test_dvclive_has_the_curves(tmp_path: Path) -> None:
    run("dvclive", tmp_path)
    (path,) = tmp_path.glob("data/live/dvclive/tiny-mini/healthy-*/plots/metrics/loss.tsv")
    header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert "loss" in header
    assert len(rows) == STEPS


def test_sinks_are_those_that_are_documented() -> None:
    assert telling.SINKS["tensorboard"] is TensorBoard
    assert all(name in str(telling.__doc__) for name in telling.SINKS)
