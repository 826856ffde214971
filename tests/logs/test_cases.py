"""Files as people have them, made or trimmed after public ones, and the value that is right for each."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from crossover.base.errors import UsageError
from crossover.cli.app import app

CASES = Path(__file__).parent / "cases"


def taken(case: str, tmp_path: Path, *words: str) -> tuple[list[dict[str, Any]], str]:
    """The rows that an import writes, and what it says, in one line."""
    target = tmp_path / "taken.jsonl"
    call = ["import", str(CASES / case), "--to", str(target), "--yes", *words]
    done = CliRunner().invoke(app, call, catch_exceptions=False, env={"COLUMNS": "500"})
    return pd.read_json(target, lines=True, dtype=False).to_dict("records"), " ".join(done.stdout.split())


def refused(case: str, tmp_path: Path, *words: str) -> str:
    """What an import says that writes nothing."""
    done = CliRunner().invoke(app, ["import", str(CASES / case), "--to", str(tmp_path / "x.csv"), "--yes", *words])
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "x.csv").exists()
    return str(done.exception)


RIGHT: list[tuple[str, dict[str, list[Any]], list[str]]] = [
    ("hf-two-launches", {"loss": [3.2], "lr": [3e-4], "step": [30]},
     ["left out another launch", "loss 3.9, learning rate 0.001"]),
    ("tb-step-reset", {"loss": [3.5, 2.4]}, ["launch 2 of 2"]),
    ("wandb-same-run-id", {"loss": [3.0], "step": [40], "d": [327_680]}, ["resumed at step 30"]),
    ("jsonl-resumed", {"loss": [3.9], "step": [400]}, ["resumed at step 200; 2 points"]),
    ("keras-csvlogger-appended/training_log.csv", {"loss": [0.9779, 1.0368, 0.6675]}, ["launch 3 of 3", "'epoch'"]),
    ("keras-csvlogger-appended/single.csv", {"loss": [0.9779]}, []),
    ("csv-header-again/learning_stats.csv", {"loss": [0.57], "step": [6]}, ["left out 1 line(s) that say the header"]),
    ("csv-header-again/log_same_width.csv", {"loss": [0.55], "step": [4]}, ["left out 1 line(s)"]),
    ("hf-loss-zero", {"loss": [None]}, ["diverged: its gradient is not finite from step 30 on"]),
    ("hf-entry-without-step", {"loss": [0.55461], "step": [1098]}, ["left out 2 of 7 entries"]),
    ("hf-repo-without-state", {"loss": [0.51375]}, []),
    ("lfs-pointer", {"loss": [1.1], "step": [20]}, ["run `git lfs pull`"]),
    ("csv-locale/semicolon_comma.csv", {"n": [1e6, 4e6, 1.6e7], "d": [2e7, 8e7, 3.2e8], "loss": [4.51, 3.92, 3.45]},
     ["read with decimal commas"]),
    ("csv-locale/tab_dots.tsv", {"n": [1e6, 4e6], "d": [2e7, 8e7], "loss": [4.51, 3.92]}, ["decimal commas"]),
    ("csv-locale/thousands.csv", {"n": [1e6, 4e6, 1.6e7], "d": [2e7, 8e7, 3.2e8], "loss": [4.51, 3.92, 3.45]}, []),
    ("csv-locale/suffix.csv", {"n": [1e6, 4e6, 1.6e7, 1.2e9], "d": [2e7, 8e7, 3.2e8, 2.4e10]}, []),
    ("csv-locale/bom.csv", {"n": [1e6, 4e6], "d": [2e7, 8e7], "loss": [4.51, 3.92]}, []),
    ("loss-as-text/runs.csv", {"loss": [4.51, None, None, None, None]},
     ["without loss (loss): b, c, d, e", "b, c: diverged: its loss is NaN",
      "e: 'OOM' in the place of the loss", "d: diverged: its loss is infinite"]),
    ("loss-as-text/oom.csv", {"loss": [4.51, 3.9, None, 3.1]}, ["c: 'RuntimeError: CUDA out of memory'"]),
    ("wandb-chart-export", {"run": ["d12_adamw", "d12_muon", "d16_adamw"], "loss": [4.025, 3.925, 3.85],
                            "step": [1000, 1000, 750]}, ["a run per column"]),
    ("wandb-files-only", {"run": ["kj3gdsjx", "aa3gdsjx"], "loss": [3.73821, 3.6], "lr": [5e-4, 5e-4]},
     ["read from its summary"]),
    ("lightning-folder", {"loss": [5.9, 5.5], "step": [199, 199], "lr": [2e-4, 2e-4]}, []),
    ("mlflow-store/mlruns", {"loss": [4.2, 3.8], "step": [300, 300], "n": [1e6, 4e6], "d": [3e6, 3e6]}, []),
    ("mlflow-store/runs.csv", {"loss": [4.2, 3.8, 7.8], "n": [1e6, 4e6, 4e6]}, ["ea00: its status is FAILED"]),
    ("dvclive-folder", {"loss": [3.3], "lr": [1e-3], "n": [1e6], "seed": [3]}, []),
    *((f"diverged-curve/{name}", {"loss": [None]}, ["diverged: its loss is not finite"])
      for name in ("curve.csv", "history.json", "log_bare_nan.jsonl", "wandb-history.jsonl", "hf")),
]  # fmt: skip


@pytest.mark.parametrize(("case", "values", "says"), RIGHT, ids=[case for case, _, _ in RIGHT])
def test_the_right_value(tmp_path: Path, case: str, values: dict[str, list[Any]], says: list[str]) -> None:
    rows, said = taken(case, tmp_path)
    for name, expected in values.items():
        found = [None if value != value else value for value in (row[name] for row in rows)]
        assert found == pytest.approx(expected, nan_ok=True), name
    for words in says:
        assert words in said


def test_tokens_of_a_summary_by_an_expression(tmp_path: Path) -> None:
    rows, _ = taken("wandb-files-only", tmp_path, "--d", "(step + 1) * batch_size * max_seq_len")
    assert [row["d"] for row in rows] == [438_784_000] * 2


def test_cells_that_do_not_fit_their_header_are_refused_with_the_line(tmp_path: Path) -> None:
    assert "line 2 has 5 cells, more than the 4 of its header" in refused("csv-too-many-fields/runs.csv", tmp_path)


def test_units_that_cannot_be_counts_are_said_and_nothing_is_derived(tmp_path: Path) -> None:
    rows, said = taken("units-in-billions/noflops.csv", tmp_path)
    assert "flops" not in rows[0]
    assert "tokens of 0.3 to 1.5 (tokens) cannot be counts" in said
    assert "--d 'tokens * 1e12'" in said
    mended, said = taken("units-in-billions/runs.csv", tmp_path, "--d", "tokens * 1e12", "--n", "params * 1e6",
                         "--flops", "flops * 1e21")  # fmt: skip
    assert mended[0]["d"] == pytest.approx(3e11)
    assert "cannot be" not in said


def test_rows_stay_by_a_condition(tmp_path: Path) -> None:
    rows, said = taken("mlflow-store/runs.csv", tmp_path, "--where", "status == 'FINISHED'")
    assert [row["loss"] for row in rows] == [4.2, 3.8]
    assert "ea00: left out, outside `" in said


def test_other_units_of_the_loss_are_named_and_which_parameters_is_asked(tmp_path: Path) -> None:
    rows, said = taken("nanochat-results", tmp_path)
    assert sum(row["loss"] == row["loss"] and row["loss"] is not None for row in rows) == 8
    assert (rows[0]["d"], rows[0]["flops"]) == (1_981_808_640, 1e18)
    assert "n" not in rows[0]
    assert "'val_bpb' is in bits per byte" in said
    assert "--n may be one of params_wte" in said


def test_a_column_per_model(tmp_path: Path) -> None:
    assert "where each column is a run, say --as wide" in refused("wide-one-column-per-model", tmp_path)
    rows, _ = taken("wide-one-column-per-model", tmp_path, "--as", "wide")
    assert [row["loss"] for row in rows] == pytest.approx([3.21, 2.97, 2.90, 2.71])


def test_where_most_rows_have_no_loss_what_a_row_is_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "sparse.csv"
    path.write_text("epoch,lr,val_loss\n0.1,0.1,\n0.2,0.1,\n0.3,0.1,4.0\n")
    done = CliRunner().invoke(app, ["import", str(path), "--to", str(tmp_path / "x.csv"), "--yes", "--as", "runs"])
    assert "'val_loss' lacks in 2 of 3 rows" in str(done.exception)
    assert "--loss val_loss" in str(done.exception)
