"""The commands of docs/bring-your-runs.md, as they stand there, on logs of the real libraries."""

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from crossover.base.errors import UsageError
from crossover.cli.app import app
from tests.conftest import REPOSITORY
from tests.logs.conftest import Written
from tests.logs.writers import SIZES, loss_at

TEXT = (REPOSITORY / "docs" / "bring-your-runs.md").read_text()
COMMANDS = [
    shlex.split(line)[1:] for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]


def test_the_commands_do_what_the_page_says(
    wandb_runs: Written, sweep: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(wandb_runs.folder, tmp_path / "wandb_runs", symlinks=True)
    shutil.copytree(sweep.folder, tmp_path / "sweep")
    monkeypatch.chdir(tmp_path)
    look, state, fit, take, compare, optimum = COMMANDS
    looked = CliRunner().invoke(app, look)
    assert isinstance(looked.exception, UsageError)
    assert not Path("ladder.csv").exists()
    for command in (state, fit, take, compare, optimum):
        CliRunner().invoke(app, command, catch_exceptions=False)
    ladder, table = pd.read_csv("ladder.csv").sort_values("n"), pd.read_csv("sweep.csv")
    assert ladder["n"].tolist() == SIZES
    assert ladder["flops"].tolist() == [6 * n * 20 * n for n in SIZES]
    assert ladder["loss"].tolist() == pytest.approx([loss_at(n, 20 * n) for n in SIZES])
    assert len(table) == sweep.told["runs"]
    assert set(table["recipe"]) == {"adamw", "muon"}
    assert (table["flops"] / (6 * table["n"] * table["d"])).tolist() == pytest.approx([1] * len(table))


def test_the_page_names_every_flag() -> None:
    shown = CliRunner().invoke(app, ["import", "--help"]).stdout
    flags = set(re.findall(r"--[a-z-]+", shown)) - {"--help", "--json", "--tokens"}
    assert flags <= set(re.findall(r"--[a-z-]+", TEXT))
