"""Plain tables and histories: which is which, and what is kept."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossover.base.errors import CrossoverError, UsageError
from crossover.logs import find_runs
from crossover.logs.readers.tables import Reading

CURVE = [{"_step": 0, "loss": 4.0, "_timestamp": 1.0}, {"_step": 5, "loss": 3.0}, {"_step": 9, "val": {"loss": 3.5}}]


def put(path: Path, rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["runs.csv", "runs.parquet", "runs.jsonl", "runs.json"])
def test_one_row_per_run(tmp_path: Path, name: str) -> None:
    rows = [
        {"name": "a", "loss": 2.5, "size": "1M", "ok": True},
        {"name": "b", "loss": 2.25, "size": "2M", "ok": False},
    ]
    runs = find_runs([put(tmp_path / name, rows)])
    assert [run.name for run in runs] == ["a", "b"]
    assert [run.facts for run in runs] == [
        {"loss": 2.5, "size": "1M", "ok": True},
        {"loss": 2.25, "size": "2M", "ok": False},
    ]
    assert not any(run.curves for run in runs)


@pytest.mark.parametrize("name", ["history.jsonl", "history.json"])
def test_a_history_of_wandb_with_its_configuration(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "run-1" / name, CURVE)
    (path.parent / "config.yaml").write_text(
        "_wandb:\n  value: {}\nlr:\n  desc: null\n  value: 0.01\nname: {value: x}\n"
    )
    (run,) = find_runs([path])
    assert run.name == "run-1"
    assert run.curves == {"loss": {0: 4.0, 5: 3.0}, "val.loss": {9: 3.5}}
    assert run.facts == {"lr": 0.01, "name": "x"}


def test_a_history_as_pandas_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "run-2.json"
    pd.DataFrame({"_step": [0, 1], "loss": [4.0, 3.0]}).to_json(path)
    (run,) = find_runs([path])
    assert (run.name, run.curves) == ("run-2", {"loss": {0: 4.0, 1: 3.0}})


def test_the_export_that_wandb_documents(tmp_path: Path) -> None:
    """A CSV whose cells are Python's own text of mappings, with nan in them."""
    summary, config = {"val/loss": 3.25, "_step": 10, "bad": float("nan")}, {"lr": 0.1, "model": {"width": 64}}
    path = tmp_path / "project.csv"
    pd.DataFrame({"summary": [str(summary)], "config": [str(config)], "name": ["sunny-1"]}).to_csv(path)
    (run,) = find_runs([path])
    assert run.name == "sunny-1"
    expected = {"summary.val/loss": 3.25, "summary._step": 10, "config.lr": 0.1, "config.model.width": 64}
    assert expected.items() <= run.facts.items()


def test_curves_of_many_runs_in_one_table(tmp_path: Path) -> None:
    rows = [
        {"run": run, "step": step, "loss": 4 - step / 10 - i, "opt": f"o{i}"}
        for i, run in enumerate("ab")
        for step in (1, 2)
    ]
    a, b = find_runs([put(tmp_path / "long.csv", rows)])
    assert (a.name, a.curves, a.facts) == ("a", {"loss": {1: 3.9, 2: 3.8}}, {"opt": "o0"})
    assert b.curves == {"loss": {1: 2.9, 2: 2.8}}
    assert "one row per step, by the column 'step'" in a.notes[0]


@pytest.mark.parametrize(("reading", "runs"), [("auto", 1), ("curves", 1), ("runs", 3)])
def test_what_a_row_is_can_be_stated(tmp_path: Path, reading: Reading, runs: int) -> None:
    path = put(tmp_path / "metrics.csv", [{"step": step, "loss": 4 - step} for step in (1, 2, 3)])
    found = find_runs([path], reading)
    assert len(found) == runs
    assert bool(found[0].notes) == (reading == "auto")


def test_a_step_in_two_rows_is_no_fall(tmp_path: Path) -> None:
    """Training and validation in rows of their own: the steps never fall, so that nothing need be asked."""
    rows = [{"step": step, name: 4 - step / 10} for step in range(4) for name in ("loss", "val_loss")]
    (run,) = find_runs([put(tmp_path / "log.csv", rows)])
    assert run.curves["loss"] == run.curves["val_loss"] == {step: 4 - step / 10 for step in range(4)}


def test_only_losses_are_told_to_be_replaced(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": 4 - step / 10, "accuracy": step / 10, "lr": 0.1} for step in range(6)]
    (run,) = find_runs([put(tmp_path / "log.csv", rows)])
    assert not any("replaced" in note for note in run.notes)
    (again,) = find_runs([put(tmp_path / "again.csv", [*rows, {**rows[-1], "loss": 3.0, "accuracy": 0.9}])])
    assert [note for note in again.notes if "replaced" in note] == ["1 losses replaced by later ones of the same step"]


def test_a_folder_of_histories_is_a_folder_of_runs(tmp_path: Path) -> None:
    for name in ("b", "a"):
        put(tmp_path / f"{name}.jsonl", CURVE)
    assert [run.name for run in find_runs([tmp_path])] == ["a", "b"]


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    first, second = put(tmp_path / "x" / "a.jsonl", CURVE), put(tmp_path / "y" / "a.jsonl", CURVE)
    assert [run.name for run in find_runs([first, second])] == ["a", "a#2"]


def test_repeated_rows_are_left_out_and_told(tmp_path: Path) -> None:
    runs = find_runs([put(tmp_path / "runs.csv", [{"x": 1, "loss": 2.0}] * 2)])
    assert len(runs) == 1
    assert "left out 1 row(s)" in runs[0].notes[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.csv", None, "does not exist"),
        ("notes.md", "x", "is of no known kind"),
        ("empty.csv", "", "is empty"),
        ("empty.json", "", "is empty"),
        ("cut.json", '[{"loss": 1', "is not valid JSON"),
        ("number.json", "3", "holds no rows"),
        ("list.json", "[]", "holds no rows"),
        ("null.json", "[null]", "holds no rows"),
        ("hollow.json", "[{}]", "holds no rows"),
        ("deep.json", "[" * 100_000, "is not valid JSON"),
        ("bytes.parquet", "PAR1", "cannot be read as parquet"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(CrossoverError, match=said) as caught:
        find_runs([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_runs_says_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CrossoverError, match=r"holds no run: run-\*.wandb"):
        find_runs([tmp_path])


def test_curves_are_demanded_in_vain(tmp_path: Path) -> None:
    with pytest.raises(CrossoverError, match="has no column of steps"):
        find_runs([put(tmp_path / "runs.csv", [{"loss": 1.0}])], "curves")


def test_a_grouped_chart_gives_its_groups_and_says_that_they_are_means(tmp_path: Path) -> None:
    """As W&B exports a chart that is grouped by a setting or two: the mean of each group, its least and greatest."""
    columns = {"Step": [0, 100, 200]}
    for name, losses in (("optimizer: adamw, lr: 0.01", [5.0, 4.0, 3.5]), ("optimizer: muon, lr: 0.02", [5, 3.9, 3.3])):
        columns[f"{name} - val/loss"] = losses
        columns[f"{name} - val/loss__MIN"] = [loss - 0.1 for loss in losses]
        columns[f"{name} - val/loss__MAX"] = [loss + 0.1 for loss in losses]
    pd.DataFrame(columns).to_csv(tmp_path / "wandb_export.csv", index=False)
    runs = find_runs([tmp_path / "wandb_export.csv"])
    assert [run.facts for run in runs] == [{"optimizer": "adamw", "lr": 0.01}, {"optimizer": "muon", "lr": 0.02}]
    assert runs[1].curves == {"val/loss": {0: 5, 100: 3.9, 200: 3.3}}
    assert "2 columns have a least value below their greatest" in runs[0].notes[-1]


def test_rows_whose_step_is_no_number_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("_step,loss\n0,4\n1e999,3\n10,2\n,1\n")
    (run,) = find_runs([tmp_path / "a.csv"])
    assert run.curves == {"loss": {0: 4.0, 10: 2.0}}
    assert "left out 2 row(s) without a step" in run.notes
    (tmp_path / "b.csv").write_text("_step,loss\n,4\n,3\n")
    with pytest.raises(UsageError, match="no row has a number in the column of steps"):
        find_runs([tmp_path / "b.csv"])


def test_a_folder_s_own_tables_are_read_and_those_below_are_others(tmp_path: Path) -> None:
    put(tmp_path / "runs.csv", [{"name": "a", "loss": 2.5}])
    put(tmp_path / "plots" / "points.csv", [{"name": "b", "loss": 2.25}])
    assert [run.name for run in find_runs([tmp_path])] == ["a"]
