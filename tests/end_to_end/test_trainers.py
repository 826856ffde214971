"""The example trainers beside our loop through both doors, killed on the way; they end as if nothing had happened."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import make_project
from tests.end_to_end.conftest import FlowProject, finished
from tests.patience import patience
from tests.processes import descendants, until

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]
EXAMPLES = ("plain", "huggingface")


def trainers(root: Path, name: str, api: str | None = None) -> FlowProject:
    """A study of our loop and an example, with cells long enough to be killed in the middle."""
    project = make_project(root)
    recipes = {"ours": {"label": "our loop"}, "own": {"label": "own loop", "trainer": name}}
    source = f"trainers/{name}.py"

    def change(values: dict[str, Any]) -> None:
        values["studies"]["tiny"].update(recipes=recipes, seeds=3)
        values["scales"]["mini"].update(widths=[8], tokens=24_000)
        values["trainers"] = {name: {"command": f"python {source}", "sources": [source]}}
        values["claims"] = {}

    project.params(change)
    return FlowProject(project.root, api)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_on_after_a_kill_and_stands_beside_our_loop(name: str, tmp_path: Path, server: str) -> None:
    if name == "huggingface":
        pytest.importorskip("transformers")
    calm, killed = trainers(tmp_path / "calm", name), trainers(tmp_path / "killed", name)
    calm.repro()
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=killed.root, env=killed.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    curves = until(lambda: [path for path in (killed.root / "data/store").glob("*/work/curve.csv") if rows(path) > 20])
    programs = descendants(process.pid, f"trainers/{name}.py")
    assert programs
    os.killpg(process.pid, signal.SIGINT)  # as ^C does
    process.wait(patience(120))
    until(lambda: not any(program.is_running() for program in programs), 60)
    assert any((path.parent / "cell.json").exists() for path in curves)
    killed.repro()
    assert killed.losses() == calm.losses()
    losses = pd.read_csv(calm.root / "data/results/tiny-mini/losses.csv")
    found = losses.groupby("recipe")["loss_validation"].agg(["mean", "std"])
    noise = found["std"].max() / 3**0.5
    assert name != "plain" or abs(found["mean"]["own"] - found["mean"]["ours"]) < 4 * noise + 0.02
    assert found["mean"]["own"] < losses["loss_init"].min() - 0.5
    assert "own loop" in (calm.root / "data/report/index.html").read_text()
    assert len(json.loads((calm.root / "data/results/tiny-mini/fit.json").read_text())) > 0
    flow = trainers(tmp_path / "flow", name, server)
    summary = finished(flow.start("--workers", "2"))
    assert {cell["status"] for cell in summary["cells"].values()} == {"done"}
    assert flow.losses() == calm.losses()


def rows(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def test_transformers_is_there_where_the_tests_are() -> None:
    """Otherwise the second example would be skipped unseen."""
    assert importlib.util.find_spec("transformers"), sys.executable
