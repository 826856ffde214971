"""`crossover advise` by the command line: a table with candidates, a study, stated JSON keys, mistakes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from crossover.answers.advising.words import _small
from crossover.base.errors import UsageError
from crossover.cli.app import app
from tests.conftest import REPOSITORY


def answer(*arguments: str) -> Any:
    """The JSON that the command prints."""
    done = CliRunner().invoke(app, ["advise", *arguments, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs of a known law in N and D; the larger cells have no loss yet."""
    n, d = (part.ravel() for part in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28
    table = pd.DataFrame({"params": n.astype(int), "tokens": d.astype(int), "loss": np.where(n * d < 2e17, loss, None)})
    table.to_csv(path := tmp_path / "runs.csv", index=False)
    return path


def test_rows_without_a_loss_are_candidates(runs: Path) -> None:
    given = [str(runs), "--n", "params", "--d", "tokens", "--at", "N=7e9,D=1e11", "--budget", "2e20"]
    result = answer(*given)
    assert {"now", "steps", "stop", "why", "noise_sd", "flips", "moves"} <= set(result)
    assert result["steps"][-1]["cumulative_cost"] <= 2e20
    first = result["steps"][0]
    assert first["cost"] == pytest.approx(6 * first["at"]["N"] * first["at"]["D"], rel=1e-6)
    assert [step["sd"] for step in result["steps"]] == sorted((s["sd"] for s in result["steps"]), reverse=True)
    truth = 1.7 + 400 / 7e9**0.34 + 410 / 1e11**0.28
    assert abs(result["now"]["value"] - truth) < 3 * result["now"]["sd"]
    priced = answer(*given[:-1], "3", "--cost", "tokens / 1e10")
    assert priced["steps"][0]["cost"] <= 3
    shown = CliRunner().invoke(app, ["advise", *given]).stdout
    assert "what to run next" in shown
    assert "Go on: " in shown
    assert "s.d. of the answer" in shown


@pytest.mark.parametrize(("regret", "said"), [(None, "nothing"), (1e-10, "nothing"), (0.0123, "0.012")])
def test_a_regret_that_no_loss_shows_is_nothing(regret: float | None, said: str) -> None:
    assert _small(regret) == said


def test_which_of_two_recipes_wins(tmp_path: Path) -> None:
    x = np.tile(np.geomspace(1e15, 1e17, 4), 2)
    recipe = np.repeat(["plain", "tuned"], 4)
    loss = 1.5 + 2 * (x / 1e15) ** np.where(recipe == "tuned", -0.09, -0.08)
    pd.DataFrame({"flops": x, "loss": loss, "recipe": recipe, "seed": 0}).to_csv(tmp_path / "runs.csv", index=False)
    next_x = np.tile([1e17, 1e18], 2)
    cells = pd.DataFrame({"flops": next_x, "recipe": np.repeat(["plain", "tuned"], 2), "seed": 1})
    cells.to_csv(tmp_path / "next.csv", index=False)
    given = [
        str(tmp_path / "runs.csv"), "--x", "flops", "--by", "recipe", "--pair", "seed", "--at", "x=1e19",
        "--candidates", str(tmp_path / "next.csv"), "--budget", "1e19", "--sure", "0.999999",
    ]  # fmt: skip
    result = answer(*given)
    assert result["recipes"] == ["plain", "tuned"]
    assert result["now"]["b_wins"] > 0.5
    assert result["now"]["value"] < 0
    shown = CliRunner().invoke(app, ["advise", *given]).stdout
    assert "at flops = 1e19 (100 times the largest size of both recipes): tuned is ahead of plain by " in shown
    assert "\nNext: " in shown
    assert "flops = 1e18, seed 1" in shown


def test_a_study_of_four_recipes_drops_losers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    given = ["--study", "lr_crossover", "--scale", "pocket", "--at", "width=96", "--width", "64", "--budget", "2"]
    found = answer(*given)
    assert {arm["recipe"] for arm in found["best"]["arms"]} == {
        "constant", "inverse", "constant_plain", "inverse_plain"
    }  # fmt: skip
    assert found["unit"] == "hours"
    assert found["steps"]
    assert not {step["recipe"] for step in found["steps"]} & set(found["dropped"])
    with pytest.raises(UsageError, match="one target; name one"):
        CliRunner().invoke(app, ["advise", *given, "--at", "width=128"], catch_exceptions=False)


def test_a_study_is_advised_in_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    given = ["--study", "wd_crossover", "--scale", "pocket", "--at", "width=96", "--width", "64", "--budget", "2"]
    result = answer(*given, "--seeds", "1")
    assert len(result["recipes"]) == 2
    assert result["steps"][-1]["cumulative_cost"] <= 2
    assert all(step["pair"] is not None for step in result["steps"])
    with pytest.raises(UsageError, match="write a width, as --at width=256"):
        CliRunner().invoke(app, ["advise", *given[:4], "--at", "N=1", "--budget", "2"], catch_exceptions=False)
    with pytest.raises(UsageError, match="no multiple of the scale's head_dim"):
        CliRunner().invoke(app, ["advise", *given, "--width", "63"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--n", "params", "--d", "tokens"], "name a file of runs"),
        (["{}", "--study", "noise"], "name a file of runs"),
        (["--study", "noise"], "needs --scale"),
        (["{}", "--n", "params"], "law 'power_floor' needs --x"),
        (["{}", "--n", "parms", "--d", "tokens"], "did you mean 'params'"),
        (["{}", "--n", "params", "--d", "tokens", "--law", "m4"], "law 'm4' needs --x"),
        (["{}", "--n", "params", "--d", "tokens", "--where", "loss > 0"], "no row has an empty 'loss'"),
        (["{}", "--n", "params", "--d", "tokens", "--candidates", "nowhere.csv"], "nowhere.csv does not exist"),
        (["{}", "--n", "params", "--d", "tokens", "--cost", "prize"], "no column is called 'prize'"),
    ],
)
def test_mistakes_name_the_remedy(runs: Path, arguments: list[str], said: str) -> None:
    given = [part.replace("{}", str(runs)) for part in arguments]
    result = CliRunner().invoke(app, ["advise", *given, "--at", "N=7e9,D=1e11", "--budget", "1e20"])
    assert isinstance(result.exception, UsageError)
    with pytest.raises(UsageError, match=said):
        raise result.exception
