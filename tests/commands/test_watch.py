"""`crossover watch`: a real study that trains, and cells that tell of a departure and a divergence before their end."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.studies.watching import Board
from stages.cells.plan import PlannedRow, read_plan
from stages.live.events import Begun
from stages.live.telling import Live
from stages.store.store import Store
from stages.train.observer import Window
from tests.conftest import Project, make_project

CELLS = (sys.executable, "-m", "stages.cells")
WATCH = (sys.executable, "-m", "crossover", "watch", "--json")


def more(seeds: int) -> Any:
    def change(values: dict[str, Any]) -> None:
        values["studies"]["tiny"] |= {"seeds": seeds, "window": 25}
        values["scales"]["mini"] |= {"tokens_per_parameter": 28}

    return change


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three seeds of a ladder of two widths, trained for real; then two more seeds are planned."""
    project = make_project(tmp_path_factory.mktemp("watch") / "project")
    project.params(more(3))
    project.run("dvc", "repro", "--quiet", "plan@tiny-mini")
    assert "nothing is planned" not in project.run(*WATCH).stderr
    project.run(*CELLS, "train", "tiny", "mini")
    project.params(more(5))
    project.run("dvc", "repro", "--quiet", "plan@tiny-mini")
    return project


def begun(row: PlannedRow) -> Begun:
    cell = row.cell
    return Begun(row.fingerprint, "tiny-mini", row.recipe, cell.width, cell.seed, cell.lr, "{}", cell.steps,
                 cell.batch * cell.seq_len)  # fmt: skip


def curve(project: Project, row: PlannedRow) -> np.ndarray:
    import pyarrow.parquet

    store = Store.at(str(project.root / "data/store"))
    record = store.record(row.fingerprint)
    assert record is not None
    return pyarrow.parquet.read_table(store.verified(record, "curve.parquet"), columns=["loss"])["loss"].to_numpy()


def test_where_nothing_is_planned_one_line_says_what_to_do(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    done = project.run(*WATCH, check=False)
    assert done.returncode == 2
    assert (
        done.stderr.strip() == "error: no recorded plan is here yet; `make study` or `dvc repro` makes one and trains"
    )


@pytest.mark.slow
def test_planted_departures_and_divergences_are_seen_before_the_end(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.root)
    rows = {(row.recipe, row.cell.width, row.cell.seed): row for row in read_plan("tiny", "mini").rows}
    model = curve(trained, rows["constant", 16, 0])
    noise = np.random.default_rng(0).normal(0, float(np.std(np.diff(model))) / 2, len(model))
    planted = {
        3: model + noise + 1.0 * (np.arange(len(model)) > 0.5 * len(model)),
        4: np.where(np.arange(len(model)) > 0.4 * len(model), np.nan, model),
    }
    live, board, seen = Live(trained.root, "none"), Board([("tiny", "mini")]), {}
    healthy = live.begin(begun(rows["inverse", 16, 3]))
    told = {seed: live.begin(begun(rows["constant", 16, seed])) for seed in planted}
    own = curve(trained, rows["inverse", 16, 0])
    for end in range(25, int(0.9 * len(model)), 25):
        part = slice(end - 25, end)
        for seed, losses in planted.items():
            told[seed](Window(end, losses[part].tolist(), [0.02] * 25, [1.0] * 25))
        healthy(Window(end, own[part].tolist(), [0.02] * 25, [1.0] * 25))
        time.sleep(0.02)
        board.update()
        for line in board.lines():
            if line.state in ("departed", "diverged"):
                seen.setdefault((line.recipe, line.seed, line.state), line.progress)
    live.close()
    assert set(seen) == {("constant", 3, "departed"), ("constant", 4, "diverged")}
    assert 0.5 < seen["constant", 3, "departed"] < 0.75
    assert 0.4 < seen["constant", 4, "diverged"] < 0.5
    notes = {line.seed: line.note for line in board.lines() if line.note}
    assert "nats above what was expected" in notes[3]
    assert "its loss is no number from step" in notes[4]
    lines = {(line.recipe, line.width, line.seed): line for line in board.lines()}
    assert lines["inverse", 16, 3].state == "training"
    assert lines["inverse", 16, 3].low < lines["inverse", 16, 3].loss < lines["inverse", 16, 3].high
    assert (lines["constant", 8, 0].state, lines["constant", 8, 4].state) == ("done", "waiting")
    shown = trained.run(*WATCH[:-1], "--once").stdout
    assert "left its course at" in shown
    assert shown.startswith("9 of 15 cells done, ")


@pytest.mark.slow
def test_it_shows_a_study_that_trains_elsewhere(trained: Project) -> None:
    running = subprocess.Popen([*CELLS, "train", "tiny", "mini"], cwd=trained.root, env=trained.environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        states: set[str] = set()
        while running.poll() is None:
            lines = json.loads(trained.run(*WATCH).stdout)
            states |= {line["state"] for line in lines}
            busy = [line for line in lines if line["state"] == "training" and line["tokens_per_second"]]
            assert all(0 < line["progress"] <= 1 for line in busy)
    finally:
        running.wait(60)
    assert "training" in states
    lines = json.loads(trained.run(*WATCH).stdout)
    assert {line["state"] for line in lines} == {"done"}
    assert list((trained.root / "data/live/tensorboard/tiny-mini").iterdir())
