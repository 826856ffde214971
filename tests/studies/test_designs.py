"""`crossover plan --detect`: the table, the cheapest design, and what cannot be planned."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from crossover.base.errors import UsageError
from crossover.cli.app import app
from stages.study.params import load_params
from stages.study.plan import hours, plan_rows
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(*words: str) -> Any:
    done = CliRunner().invoke(app, ["plan", *words, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_the_cheapest_design_detects_it_and_its_neighbours_do_not() -> None:
    found = plan("--detect", "0.02", "--noise", "0.018", "--scale", "pocket", "--study", "lr_crossover")
    best = found["cheapest"]["mean"]
    assert best["detectable_mean"] <= 0.02
    assert found["cheapest"]["one_rung"]["detectable_one_rung"] <= 0.02
    for other in found["designs"]:
        assert other["hours"] >= best["hours"] or other["detectable_mean"] > 0.02


def test_rungs_where_the_recipes_are_one_run_say_nothing() -> None:
    """At the pivot, the second width, the two learning-rate rules are the same run: trained, and not counted."""
    found = plan("--detect", "0.02", "--noise", "0.018", "--scale", "pocket", "--study", "lr_crossover")
    four = next(item for item in found["designs"] if (item["rungs"], item["seeds"]) == (4, 3))
    assert (four["widths"], four["informative"], four["dof"], four["cells"]) == ([16, 24, 32, 48], 3, 6, 42)
    params = load_params()
    three = params.study("lr_crossover").model_copy(update={"seeds": 3, "seeds_at": {}})
    cells = {row.cell for row in plan_rows(three, params.scale("pocket"))}
    assert four["hours"] == pytest.approx(hours(cells, params.scale("pocket")))


def test_the_noise_is_that_of_the_verdicts(folder: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no seed SD at scale pocket: .*losses.csv is missing.*state the seed SD with"
    ):
        plan("--detect", "0.02", "--scale", "pocket")
    shutil.copytree(REPOSITORY / "data/results/noise-pocket", folder / "data/results/noise-pocket")
    found = plan("--detect", "0.02", "--scale", "pocket")
    losses = pd.read_csv(REPOSITORY / "data/results/noise-pocket/losses.csv")
    by_hand = losses.groupby("width")["loss_validation"].var().mean() ** 0.5
    assert found["noise"]["seed_sd"] == pytest.approx(by_hand)
    assert found["noise"]["from"].startswith(f"seed SD {by_hand:.4f} at widths")
    assert found["noise"]["pair_sd"] == pytest.approx(2**0.5 * found["noise"]["seed_sd"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--detect", "0", "--scale", "pocket"], "--detect must be positive"),
        (["--detect", "0.02", "--power", "1.5", "--scale", "pocket"], "--power must lie between"),
        (["--detect", "0.02", "--noise", "-1", "--scale", "pocket"], "--noise must be positive"),
        (["--detect", "0.02", "--study", "noise", "--scale", "pocket"], "has one recipe"),
        (["--detect", "0.02", "--study", "lr_range", "--scale", "pocket"], "sweeps lr_octaves"),
        (["--detect", "0.02", "--scale", "pocke"], "did you mean 'pocket'"),
        (["--noise", "0.02"], "belong to --detect"),
    ],
)
def test_mistakes(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan(*words)


def test_what_no_design_detects_is_said() -> None:
    done = CliRunner().invoke(app, ["plan", "--detect", "1e-7", "--noise", "0.02", "--scale", "pocket"])
    assert "cheapest that detects 1e-07 in the mean over its rungs: no design up to 4096 seeds" in done.stdout
