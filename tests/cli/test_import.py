"""`crossover import` by the command line: guesses are shown and never silent, and the result feeds the fits."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from crossover.base.errors import UsageError
from crossover.cli.app import app
from tests.conftest import REPOSITORY


@pytest.fixture
def histories(tmp_path: Path) -> Path:
    """Histories in JSON lines of runs whose losses follow 1.5 + 30 x^-0.15 exactly."""
    folder = tmp_path / "histories"
    folder.mkdir()
    for i, flops in enumerate(np.geomspace(1e12, 1e17, 8)):
        rows = [
            {"_step": step, "val_loss": 1.5 + 30 * (flops * step / 3) ** -0.15, "flops": flops * step / 3}
            for step in (1, 2, 3)
        ]
        (folder / f"run-{i}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def crossover(*arguments: str) -> str:
    """What a command prints."""
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False).stdout


def refused(*arguments: Any) -> tuple[str, str]:
    """What is printed, and the error, of a command that is refused as bad usage."""
    done = CliRunner().invoke(app, ["import", *map(str, arguments)])
    assert isinstance(done.exception, UsageError)
    return done.stdout, str(done.exception)


def test_guesses_are_shown_and_nothing_is_written(histories: Path, tmp_path: Path) -> None:
    target = tmp_path / "runs.csv"
    shown, error = refused(histories, "--to", target)
    assert not target.exists()
    assert "guess: called val_loss" in shown
    assert "1e12 to 1e17" in shown
    assert "no column looks like parameters (--n), " in shown
    assert "nothing written: --loss, --flops are guesses" in error


def test_the_command_that_confirms_does(histories: Path, tmp_path: Path) -> None:
    target = tmp_path / "runs.csv"
    _, error = refused(histories, "--to", target, "--take", "min")
    command = shlex.split(error.rpartition("by: ")[2])
    assert command[-2:] == ["--take", "min"]
    assert "written:" in crossover(*command[1:])
    table = pd.read_csv(target)
    assert table["run"].tolist() == [f"run-{i}" for i in range(8)]
    assert table["loss"].tolist() == pytest.approx(list(1.5 + 30 * np.geomspace(1e12, 1e17, 8) ** -0.15))


def test_one_flag_does_not_confirm_another(histories: Path, tmp_path: Path) -> None:
    target = tmp_path / "runs.csv"
    assert "--flops are guesses" in refused(histories, "--to", target, "--loss", "val_loss")[1]
    crossover("import", str(histories), "--to", str(target), "--loss", "val_loss", "--flops", "none")
    assert list(pd.read_csv(target).columns[:3]) == ["run", "loss", "val_loss"]


def test_json_says_the_same(histories: Path, tmp_path: Path) -> None:
    shown, _ = refused(histories, "--to", tmp_path / "runs.csv", "--json")
    told = json.loads(shown)
    assert told["written"] is None
    assert [(item["column"], item["stated"]) for item in told["columns"]] == [("loss", False), ("flops", False)]
    assert told["confirm"].startswith("crossover import")
    written = json.loads(crossover("import", str(histories), "--to", str(tmp_path / "runs.csv"), "--yes", "--json"))
    assert written["written"] == str(tmp_path / "runs.csv")
    assert written["columns"] == told["columns"]


def test_runs_that_lack_a_value_are_named(tmp_path: Path) -> None:
    source = tmp_path / "runs.jsonl"
    source.write_text('{"run":"a","loss":2.0,"lr":0.1}\n{"run":"b","loss":2.5}\n')
    shown, _ = refused(source, "--to", tmp_path / "out.csv")
    assert "note: without lr (lr): b" in shown


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_every_kind_that_is_written_feeds_a_fit(histories: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"runs.{suffix}"
    crossover("import", str(histories), "--to", str(target), "--yes")
    result = json.loads(crossover("fit", str(target), "--x", "flops", "--json"))
    assert result["n_rows"] == 8
    assert result["params"]["a"]["value"] == pytest.approx(0.15, rel=1e-3)
    assert result["params"]["E"]["value"] == pytest.approx(1.5, rel=1e-3)


def test_a_table_of_mixed_types_is_written(tmp_path: Path) -> None:
    source = tmp_path / "runs.jsonl"
    source.write_text('{"run":"a","loss":2.0,"clip":1}\n{"run":"b","loss":2.5,"clip":"off"}\n')
    for suffix in ("csv", "parquet", "jsonl"):
        target = tmp_path / f"out.{suffix}"
        crossover("import", str(source), "--to", str(target), "--yes")
        again = json.loads(crossover("import", str(target), "--to", str(tmp_path / "x.csv"), "--yes", "--json"))
        assert again["runs"] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "out.xlsx"], "--to writes .csv, .parquet, .jsonl"),
        (["--to", "out.csv", "--take", "best"], "is none of last, min and mean:10"),
        (["--to", "out.csv", "--loss", "val"], "no column is called 'val'"),
    ],
)
def test_mistakes_are_one_line(histories: Path, arguments: list[str], said: str) -> None:
    assert said in refused(histories, *arguments)[1]


def test_what_is_read_is_not_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "runs.csv"
    source.write_text("run,loss\na,1\n")
    assert "is what is read" in refused(source, "--to", source, "--yes")[1]
    assert source.read_text() == "run,loss\na,1\n"


def test_in_processes_of_their_own(histories: Path, tmp_path: Path) -> None:
    """Exit codes and streams, as a shell sees them; and `fit` reads what `import` wrote."""
    start = [sys.executable, "-m", "crossover"]
    keep = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(REPOSITORY)}, "capture_output": True, "text": True}
    guess = subprocess.run([*start, "import", "histories", "--to", "runs.csv"], check=False, **keep)
    assert guess.returncode == 2
    assert guess.stderr.startswith("error: nothing written")
    assert "Traceback" not in guess.stderr
    subprocess.run([*start, "import", "histories", "--to", "runs.csv", "--yes"], check=True, **keep)
    fit = subprocess.run([*start, "fit", "runs.csv", "--x", "flops", "--json"], check=True, **keep)
    assert json.loads(fit.stdout)["params"]["a"]["value"] == pytest.approx(0.15, rel=1e-3)
