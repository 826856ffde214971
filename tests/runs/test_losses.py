"""What is no loss, the names of runs that have none, and rows that are of one run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover
from crossover.base.errors import UsageError
from crossover.cli.app import app
from crossover.logs import Take, find_runs, propose
from crossover.runs.losses import rises

RUNS = {
    "flops": [1e16, 1e17, 1e18, 1e19] * 2, "loss": [4.0, 3.5, 3.1, None, 4.1, 3.4, float("inf"), 2.7],
    "recipe": ["a"] * 4 + ["b"] * 4, "run": [f"r{i}" for i in range(8)], "lr": [0.1, 0.2, 0.4, 0.8] * 2,
}  # fmt: skip


def test_every_answer_names_the_runs_that_diverged() -> None:
    compared = crossover.compare(RUNS)
    assert [item.reason for item in compared.left_out] == [
        "a: diverged, missing or infinite (r3)", "b: diverged, missing or infinite (r6)"
    ]  # fmt: skip
    fitted = crossover.fit(RUNS, x="flops", by="none", law="power")
    assert [item.reason for item in fitted.left_out] == ["a value is missing or infinite (r3, r6)"]
    forecast = crossover.predict(RUNS, x="flops", by="recipe", at=1e20)
    assert [item.reason for item in forecast.left_out] == [item.reason for item in compared.left_out]
    tuned = crossover.optimum(RUNS | {"flops": [1e16] * 8, "loss": [4, 3.5, 3.6, None] * 2}, x="flops", by="recipe")
    assert ["r3" in str(tuned["a"].left_out), "r7" in str(tuned["b"].left_out)] == [True, True]
    nameless = {name: values for name, values in RUNS.items() if name != "run"}
    assert crossover.compare(nameless).left_out[0].reason == "a: diverged, missing or infinite"


@pytest.mark.parametrize("name", ["accuracy", "eval/accuracy", "val_acc", "hellaswag_acc_norm", "Val-AUROC", "f1"])
def test_a_metric_that_rises_is_no_loss(name: str) -> None:
    assert rises(name)
    with pytest.raises(UsageError, match="rises as models get better"):
        crossover.compare({"flops": RUNS["flops"], "recipe": RUNS["recipe"], name: RUNS["flops"]}, loss=name)


def test_its_negative_is() -> None:
    """`b` ends a tenth lower: worse."""
    assert not any(map(rises, ("loss", "val_loss", "accumulated", "bpb", "acc_steps", "face")))
    runs = RUNS | {"accuracy": [0.3, 0.4, 0.5, 0.6, 0.2, 0.3, 0.4, 0.5]}
    for text in ("-accuracy", "1 - accuracy"):
        rungs = crossover.compare(runs, loss=text).pairs[0].rungs
        assert [rung.difference.value for rung in rungs] == pytest.approx([0.1] * 4)


def checkpoints(scatter: float = 0.01) -> pd.DataFrame:
    """35 checkpoints of each of 22 runs, whose rows err together."""
    generator = np.random.default_rng(0)
    n, d = np.repeat(np.geomspace(1e6, 1e8, 22), 35), np.tile(np.geomspace(1e8, 1e10, 35), 22)
    loss = 1.8 + 400 * n**-0.34 + 410 * d**-0.28 + np.repeat(generator.normal(0, scatter, 22), 35)
    return pd.DataFrame({"run": np.repeat([f"m{i}" for i in range(22)], 35), "n": n, "d": d, "loss": loss})


def test_checkpoints_given_as_runs_are_said_and_their_runs_drawn_whole() -> None:
    table = checkpoints()
    found, clustered = (crossover.fit(table, n="n", d="d", **options) for options in
                        ({}, {"cluster": "run", "bootstrap": 100}))  # fmt: skip
    assert "770 rows are checkpoints of 22 runs, by 'run'" in found.flags[-1]
    assert not any("checkpoints" in flag for flag in clustered.flags)
    assert clustered.params["E"].se > 2 * found.params["E"].se
    halves = table.assign(recipe=np.repeat(["a", "b"], 385), flops=6 * table["n"] * table["d"])
    assert "770 rows are checkpoints of 22 runs" in crossover.compare(halves).pairs[0].flags[-1]
    assert not any("checkpoints" in flag for flag in crossover.fit(table[table["d"] > 9e9], x="n").flags)


def test_an_import_keeps_the_names_of_checkpoints(tmp_path: Path) -> None:
    checkpoints().to_csv(tmp_path / "all.csv", index=False)
    proposal = propose(find_runs([tmp_path / "all.csv"]), {}, Take())
    assert any(note.startswith("m0: 770 rows bear 22 names in 'run', kept as 'logged/run'") for note in proposal.notes)
    assert proposal.table["logged/run"].nunique() == 22
    proposal.table.to_csv(tmp_path / "taken.csv", index=False)
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "taken.csv"), "--n", "n", "--d", "d", "--bootstrap", "100",
                                    "--cluster", "logged/run"])  # fmt: skip
    assert done.exit_code == 0
