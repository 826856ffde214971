"""One belief at every door: the same question of the same runs gets the same answer, to the last digit."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover as xo
from crossover.cli.app import app

KINDS = (
    "plain", "floors", "bad rung", "break", "lasting seeds", "no seeds", "two sizes", "unequal", "unpaired", "N and D"
)  # fmt: skip
TARGET = 1e21


def table(kind: str, seed: int) -> pd.DataFrame:
    """Runs of two recipes, with what the kind names."""
    generator = np.random.default_rng([seed, KINDS.index(kind)])
    sizes = np.geomspace(1e16, 1e20, 2 if kind == "two sizes" else int(generator.integers(4, 9)))
    seeds = 1 if kind == "no seeds" else 3
    lasting = generator.normal(0, 0.01, (2, seeds)) * (kind == "lasting seeds")
    rows = []
    for k, x in enumerate(sizes):
        shared = generator.normal(0, 0.02, seeds)
        for r, name in enumerate(("old", "new")):
            if kind == "unequal" and name == "new" and k == 0:
                continue
            for s in range(seeds):
                at = x * math.exp(generator.normal(0, 0.3)) if kind == "unpaired" else x
                loss = 1.7 + 0.05 * r * (kind == "floors") + 2 * (at / 1e18) ** -(0.06 + 0.005 * r)
                loss += 0.04 * (kind == "bad rung" and r == 1 and k == len(sizes) - 1)
                loss -= 0.03 * r * (kind == "break") * max(0.0, math.log10(at / 1e18))
                loss += shared[s] + lasting[r, s] + generator.normal(0, 0.004)
                rows.append({"flops": at, "N": (at / 120) ** 0.5, "recipe": name, "seed": s, "loss": loss})
    runs = pd.DataFrame(rows)
    tokens = np.where(runs["recipe"] == "new", 15.0, 25.0)  # tokens per parameter that differ between recipes
    return runs.assign(D=runs["N"] * tokens * 2.0 ** runs["seed"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "N and D"])
def test_compare_predict_and_advise_give_one_answer(kind: str, seed: int) -> None:
    runs, pair = table(kind, seed), None if kind == "unpaired" else "seed"
    (item,) = xo.compare(runs, pair=pair, at=TARGET).pairs
    (told,) = xo.predict(runs, x="flops", by="recipe", pair=pair, at=TARGET).pairs
    assert (told.p_b_better, told.p_b_wins) == (item.gap.p_b_beats_a, item.gap.p_one_run)
    assert told.difference == item.gap.difference.value
    cells = {"flops": [1e20, 1e20], "recipe": ["old", "new"], "seed": [7, 7]}
    now = xo.advise(runs, cells, x="flops", by="recipe", pair=pair, at=TARGET, budget=1e21).now
    assert (now.b_wins, now.value, now.sd) == (told.p_b_better, told.difference, item.gap.difference.se)
    assert now.regret == item.gap.decision.expected_regret
    assert max(item.gap.p_b_beats_a, 1 - item.gap.p_b_beats_a) == pytest.approx(item.gap.decision.p, abs=1e-15)


@pytest.mark.parametrize("kind", ["plain", "break", "two sizes"])
def test_the_loss_of_one_recipe_has_one_answer(kind: str) -> None:
    runs = table(kind, 0)
    runs = runs[runs["recipe"] == "old"].drop(columns="recipe")
    (told,) = xo.predict(runs, x="flops", at=TARGET).recipes.values()
    now = xo.advise(runs, {"flops": [1e20]}, x="flops", at=TARGET, budget=1e21).now
    assert told.value == now.value
    assert told.sd > now.sd  # of a run, whose noise comes on top
    (fitted,) = xo.fit(runs, x="flops", at=TARGET).predictions
    assert (fitted.loss.value, fitted.loss.se, fitted.run_ci) == (now.value, now.sd, (told.low, told.high))
    assert xo.fit(runs, x="flops", at=TARGET, objective="huber_log").predictions[0].by_law is None


@pytest.mark.parametrize("kind", ["plain", "bad rung", "no seeds"])
def test_along_the_ladder_too(kind: str) -> None:
    """P at a rung, asked of every door as a target."""
    runs = table(kind, 0)
    (item,) = xo.compare(runs, pair="seed").pairs
    for chance in item.p_b_beats_a:
        (gap,) = (pair.gap for pair in xo.compare(runs, pair="seed", at=chance.x).pairs)
        (told,) = xo.predict(runs, x="flops", by="recipe", pair="seed", at=chance.x).pairs
        assert chance.p == gap.p_b_beats_a == told.p_b_better


@pytest.mark.parametrize("seed", range(5))
def test_two_inputs_have_one_answer(seed: int) -> None:
    runs = table("N and D", seed)
    at = {"N": 1e10, "D": 2e11}
    (told,) = xo.predict(runs, n="N", d="D", by="recipe", pair="seed", at=at).pairs
    cells = {"N": [1e9, 1e9], "D": [2e10, 2e10], "recipe": ["old", "new"], "seed": [7, 7]}
    now = xo.advise(runs, cells, n="N", d="D", by="recipe", pair="seed", at=at, budget=1e21).now
    assert (now.b_wins, now.value) == (told.p_b_better, told.difference)
    assert abs(told.p_b_wins - 0.5) <= abs(told.p_b_better - 0.5) + 1e-12  # noise makes it less sure


def test_the_command_the_page_and_the_ledger_say_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table("plain", 1).to_csv("runs.csv", index=False)
    asked = ["runs.csv", "--x", "flops", "--by", "recipe", "--pair", "seed", "--at", f"x={TARGET:g}"]

    def said(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    gap = said("compare", *asked)["pairs"][0]["gap"]
    (told,) = said("predict", *asked, "--lodge")["pairs"]
    assert (told["p_b_better"], told["p_b_wins"]) == (gap["p_b_beats_a"], gap["p_one_run"])
    lodged = json.loads(Path("data/ledger.jsonl").read_text().splitlines()[0])
    assert json.dumps(told["p_b_better"]) in json.dumps(lodged)
    shown = f"P(new better) = {gap['p_b_beats_a']:.3f}"
    assert CliRunner().invoke(app, ["compare", *asked, "--html", "page.html"]).exit_code == 0
    assert shown in Path("page.html").read_text()
    for command in ("compare", "predict"):
        assert shown in CliRunner().invoke(app, [command, *asked]).stdout


def test_losses_of_either_sign_and_metrics_that_rise_are_asked_alike() -> None:
    runs = table("plain", 2)
    (one,) = xo.compare(runs, pair="seed", at=TARGET).pairs
    for shifted, loss in (
        (runs.assign(loss=runs["loss"] - 5), "loss"),
        (runs.assign(score=7 - runs["loss"]), "-score"),
    ):
        (other,) = xo.compare(shifted, loss=loss, pair="seed", at=TARGET).pairs
        assert other.gap.p_b_beats_a == pytest.approx(one.gap.p_b_beats_a, rel=1e-6)
        assert other.verdict == one.verdict
