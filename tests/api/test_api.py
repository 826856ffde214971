"""`import crossover as xo`: the same answers as the command line, from files, frames and arrays."""

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover as xo
from crossover.base.errors import UsageError
from crossover.cli.app import app
from tests.conftest import REPOSITORY

MODULES = ("advise", "compare", "fit", "optimum", "places", "predict")


def table() -> pd.DataFrame:
    """Two recipes at five sizes with three paired seeds, and a learning rate."""
    generator, rows = np.random.default_rng(0), []
    for x in np.geomspace(1e15, 1e19, 5):
        for seed in range(3):
            shared = generator.normal(0, 0.01)
            for recipe, power in (("slow", 0.06), ("steep", 0.10)):
                loss = 1.2 + 2 * (x / 1e17) ** -power + shared + generator.normal(0, 0.003)
                rows.append({"flops": x, "recipe": recipe, "seed": seed, "loss": loss, "note": "[/x] \\[1]"})
    return pd.DataFrame(rows)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    table().to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["crossover.runs.table", *(f"crossover.api.{name}" for name in MODULES)])
def test_the_examples_of_the_docstrings(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed


QUESTIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("compare", {"pair": "seed", "at": 1e20}, ["--pair", "seed", "--at", "x=1e20"]),
    ("fit", {"x": "flops", "by": "recipe", "at": "x=1e20"}, ["--x", "flops", "--by", "recipe", "--at", "flops=1e20"]),
    ("fit", {"x": "flops", "where": "recipe == 'slow'"}, ["--x", "flops", "--where", "recipe == 'slow'"]),
    ("advise", {"x": "flops", "by": "recipe", "pair": "seed", "at": {"x": 1e22}, "budget": 1e21, "candidates": "n.csv"},
     ["--x", "flops", "--by", "recipe", "--pair", "seed", "--at", "x=1e22", "--budget", "1e21", "--candidates",
      "n.csv"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "words"), QUESTIONS)
def test_library_and_command_line_say_the_same(
    runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], words: list[str]
) -> None:
    monkeypatch.chdir(runs.parent)
    places = pd.DataFrame({"flops": [1e20, 1e20, 3e18, 3e18], "recipe": ["slow", "steep"] * 2, "seed": [9, 9, 8, 8]})
    places.to_csv("n.csv", index=False)
    answer = getattr(xo, name)("runs.csv", **options)
    said = CliRunner().invoke(app, [name, "runs.csv", *words], catch_exceptions=False).stdout
    assert [line.rstrip() for line in said.splitlines()] == str(answer).splitlines()
    as_json = CliRunner().invoke(app, [name, "runs.csv", *words, "--json"], catch_exceptions=False).stdout
    assert json.loads(as_json) == json.loads(json.dumps(answer.to_json()))
    assert answer.plot("answer.png").svg().startswith("<svg")
    assert Path("answer.png").read_bytes().startswith(b"\x89PNG")
    assert "<!doctype html>" in answer.html("mine")


def test_predict_says_what_the_command_line_says(runs: Path) -> None:
    answer = xo.predict(runs, x="flops", by="recipe", pair="seed", at=1e20, runs=3)
    words = ["predict", str(runs), "--x", "flops", "--by", "recipe", "--pair", "seed", "--at", "x=1e20", "--runs", "3"]
    lodged = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    mine = json.loads(json.dumps(answer.to_json()))
    for key in ("at", "runs", "confidence", "recipes", "pairs", "lever_arm_decades"):
        assert mine[key] == lodged[key]
    said = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    mine_said = str(answer).replace("forecast: ", "runs x=1e20: ", 1)
    assert [line.rstrip() for line in said.splitlines()] == mine_said.splitlines()
    assert {"run", "law", "interval", "place", "rung", "target"} <= {row["layer"] for row in answer.plot().rows}


def test_files_frames_arrays_and_runs_are_one_question(runs: Path) -> None:
    frame = pd.read_csv(runs)
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    sources: list[Any] = [runs, str(runs), frame, columns, xo.read(runs), xo.read(columns)]
    answers = [xo.compare(source, pair="seed").to_json() for source in sources]
    assert all(answer == answers[0] for answer in answers)
    assert str(xo.read(runs, where="seed < 2")).endswith("left out: 10 row(s), outside `seed < 2`")
    with pytest.raises(xo.UsageError, match="give arrays of one length"):
        xo.read({"a": [1.0, 2.0], "b": [1.0]})


@pytest.mark.parametrize("ask", [
    lambda runs, **by: xo.fit(runs, x="flops", **by),
    lambda runs, **by: xo.predict(runs, x="flops", at=1e21, **by),
    lambda runs, **by: xo.optimum(runs.assign(lr=runs["flops"]), x="seed + 1", **by),
])  # fmt: skip
def test_recipes_are_not_pooled_in_silence(ask: Any) -> None:
    rows = table()
    with pytest.raises(xo.UsageError, match=r"'recipe' names 2 recipes \(slow, steep\).*--by recipe.*--by none"):
        ask(rows)
    with pytest.raises(xo.UsageError, match="'Optimizer' names 2 recipes"):
        ask(rows.rename(columns={"recipe": "Optimizer"}))
    pooled, divided = ask(rows, by="none"), ask(rows, by="recipe")
    assert set(divided.recipes) == {"slow", "steep"}
    assert "slow" not in str(pooled)


def test_each_recipe_has_the_law_of_its_own_runs() -> None:
    rows = table()
    both = xo.fit(rows, x="flops", by="recipe")
    for name in ("slow", "steep"):
        alone = xo.fit(rows[rows["recipe"] == name], x="flops")
        assert both[name].params == alone.params
    short = pd.concat([rows, pd.DataFrame([{"flops": 1e18, "recipe": "new", "seed": 0, "loss": 2.0}])])
    with_one = xo.fit(short, x="flops", by="recipe")
    assert set(with_one.recipes) == {"slow", "steep"}
    assert with_one.left_out[0].reason.startswith("recipe 'new': ")


def test_brackets_of_names_are_kept() -> None:
    rows = table().replace({"recipe": {"slow": "[bold]a[/bold]", "steep": "b[/]"}})
    said = str(xo.compare(rows, pair="seed"))
    assert "b[/] against [bold]a[/bold]:" in said
    assert "\\[" not in said


@pytest.mark.parametrize(("place", "says"), [
    ("1e22", "write x=1e22"), ({"y": 1.0}, "'y' is no input"), ("x=two", "'two' is no number"),
    (-1.0, "positive, finite x"), ("x=nan", "positive, finite x"),
])  # fmt: skip
def test_a_place_that_is_none_says_how_it_is_written(place: Any, says: str) -> None:
    with pytest.raises(xo.UsageError, match=says):
        xo.compare(table(), at=place)


def test_the_import_is_lazy_and_its_names_are_offered() -> None:
    code = "import sys, crossover as xo; print('numpy' in sys.modules, set(xo.__all__) <= set(dir(xo))); xo.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False True\n"
    assert "module 'crossover' has no attribute 'nothing'" in done.stderr


def test_runs_without_a_loss_are_counted_as_left_out() -> None:
    rows = table()
    rows.loc[3, "loss"] = np.nan
    found = xo.predict(rows, x="flops", by="recipe", at=1e20)
    assert [(item.rows, item.reason) for item in found.left_out] == [(1, "steep: diverged, missing or infinite")]
    assert found.n_rows == len(rows) - 1
    assert str(found).startswith("left out: 1 row(s), steep")


def test_what_is_no_table_is_said() -> None:
    wrong: list[Any] = [None, [1, 2], 3]
    for source in wrong:
        with pytest.raises(xo.UsageError, match="a file's path, a DataFrame, or columns by name"):
            xo.compare(source)


def test_a_law_is_drawn_as_far_as_it_predicts() -> None:
    found = xo.fit(table(), x="flops", by="none", at=1e22)
    assert found.line[-1].x == pytest.approx(1e22)
    layers = {row["layer"] for row in found.plot().rows}
    assert layers == {"run", "law", "place", "interval"}
    prediction = xo.predict(table(), x="flops * 2", loss="loss", by="recipe", at=1e20)
    assert prediction.axes == ("flops * 2", "loss")


def test_each_recipe_s_law_and_places_are_drawn_as_its_own() -> None:
    rows = xo.fit(table(), x="flops", by="recipe", at=1e22).plot().rows
    drawn = {(row["layer"], row["kind"]) for row in rows}
    assert drawn == {(layer, kind) for layer in ("run", "law", "place", "interval") for kind in ("slow", "steep")}


def test_a_cell_that_was_run_is_not_advised_again() -> None:
    """The same seed of a recipe and size would give the same loss; a row without a loss says nothing."""
    flops = np.repeat(np.geomspace(1e16, 1e18, 4), 4)
    recipe, seed = np.tile(["a", "a", "b", "b"], 4), np.tile([0, 1], 8)
    loss = 20 * flops**-0.05 * np.where(recipe == "a", 1.0, 1.001) * np.tile([1.002, 0.998], 8)
    loss[-1] = np.nan  # b, seed 1, at the largest size
    runs = {"flops": flops, "recipe": recipe, "seed": seed, "loss": loss}
    cells = {"flops": [1e18] * 5, "recipe": ["a", "a", "a", "b", "b"], "seed": [0, 1, 2, 0, 1]}
    given = {"x": "flops", "by": "recipe", "pair": "seed", "at": 1e20, "budget": 1e20}
    found = xo.advise(runs, cells, **given)
    assert {i for step in found.steps for i in step.cells} == {2, 4}
    assert ("candidates that are among the runs", 3) in {(item.reason, item.rows) for item in found.left_out}
    with pytest.raises(UsageError, match="every candidate is among the runs already; name other cells, or other seeds"):
        xo.advise(runs, {name: values[:2] for name, values in cells.items()}, **given)


def test_of_many_recipes_too() -> None:
    """Published runs up to 9e7, all of which stand among the candidates, before the new ones."""
    runs = pd.read_csv(REPOSITORY / "docs/examples/corpora.csv").query("params <= 9e7")
    new = pd.read_csv(REPOSITORY / "docs/examples/next.csv")
    cells = pd.concat([runs.drop(columns="loss"), new], ignore_index=True)
    given = {"x": "params", "by": "recipe", "pair": "seed", "at": 1e9, "budget": 1e9}
    found, alone = xo.advise(runs, cells, **given), xo.advise(runs, new, **given)
    assert found.steps
    assert [step.cell - len(runs) for step in found.steps] == [step.cell for step in alone.steps]
    assert [step.recipe for step in found.steps] == [new["recipe"][step.cell] for step in alone.steps]
