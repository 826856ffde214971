"""`crossover predict` as people use it: a forecast lodged, witnessed by git, and scored when its runs have come."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from crossover.answers.predict import Evidence
from crossover.answers.predict import predict as forecast
from crossover.base.errors import DamageError, UsageError
from crossover.cli.app import app
from stages.store.store import Store
from stages.study.tables import LOSSES, read_csv, write_csv
from tests.conftest import REPOSITORY
from tests.ledger.test_chain import git
from tests.store.test_store import finished

SIZES = (1e3, 1e4, 1e5, 1e6)


def table(sizes: tuple[float, ...] = SIZES, noise: float = 0.003, seed: int = 0) -> pd.DataFrame:
    """a is 20 x^-0.1 and b 25 x^-0.12, which cross at 7e4; three paired seeds."""
    generator = np.random.default_rng(seed)
    rows = []
    for x in sizes:
        for number in range(3):
            shared = generator.normal(0, 2 * noise)
            for name, scale, power in (("a", 20, 0.1), ("b", 25, 0.12)):
                loss = scale * x**-power * np.exp(shared + generator.normal(0, noise))
                rows.append({"flops": x, "loss": loss, "recipe": name, "seed": number})
    return pd.DataFrame(rows)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table().to_csv("runs.csv", index=False)
    return tmp_path


def predict(*words: str, as_json: bool = True) -> Any:
    done = CliRunner().invoke(app, ["predict", *words, *["--json"] * as_json], catch_exceptions=False)
    return json.loads(done.stdout) if as_json else done.stdout


ASK = ("runs.csv", "--x", "flops", "--by", "recipe", "--pair", "seed", "--at", "x=1e7", "--runs", "3")


def test_a_forecast_states_law_interval_chance_and_inputs(here: Path) -> None:
    found = predict(*ASK)
    assert not Path("data").exists()  # nothing is lodged unasked
    assert found["lever_arm_decades"] == pytest.approx(1.0)
    assert set(found["recipes"]) == {"a", "b"}
    truth = {"a": 20 * 1e7**-0.1, "b": 25 * 1e7**-0.12}
    for name, item in found["recipes"].items():
        assert item["low"] < truth[name] < item["high"]
        assert item["formula"] == "A x^-a"
    (pair,) = found["pairs"]
    assert pair["p_b_wins"] > 0.8
    assert found["inputs"]["rows"] == 24
    assert [place["x"] for place in found["inputs"]["places"]] == list(SIZES)


def test_intervals_of_a_mean_of_new_runs_cover_as_often_as_they_say() -> None:
    """Independent runs about planted power laws, forecast a decade beyond: at least 90%, to the bound of 200 draws.

    The belief does not know that they are exact and have no floor, and is wider.
    """
    hits = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        x = np.repeat(SIZES, 3)
        loss = 20 * x**-0.1 * np.exp(generator.normal(0, 0.01, len(x)))
        runs = Evidence({"x": x}, loss, np.full(len(x), "a", object))
        item = forecast(runs, {"x": 1e7}, count=3).recipes["a"]
        came = float(np.mean(20 * 1e7**-0.1 * np.exp(generator.normal(0, 0.01, 3))))
        hits += item.low <= came <= item.high
    assert hits >= stats.binom.ppf(0.0005, 200, 0.9)


def test_exchange_of_recipes_complements_the_chance() -> None:
    rows = table(noise=0.02, seed=4)
    columns = ({"x": rows["flops"].to_numpy()}, rows["loss"].to_numpy(), rows["recipe"].to_numpy(object))
    paired = Evidence(*columns, rows["seed"].to_numpy())
    (one,) = forecast(paired, {"x": 1e7}, count=3, pairs=[("a", "b")]).pairs
    (other,) = forecast(paired, {"x": 1e7}, count=3, pairs=[("b", "a")]).pairs
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_b_wins + other.p_b_wins == pytest.approx(1.0, abs=1e-6)


def test_the_lever_arm_and_the_nearest_place_by_hand() -> None:
    """Two decades above, one below, none among the runs; of two inputs the one that is further out counts."""
    x, loss = np.array([1e2, 1e3, 1e3, 1e4]), np.array([4.0, 3.5, 3.7, 3.0])
    runs = Evidence({"x": x}, loss, np.array(["a", "a", "a", "b"], object))
    assert [runs.lever_arm({"x": at}) for at in (1e6, 1e1, 5e2)] == pytest.approx([2.0, 1.0, 0.0])
    assert runs.nearest({"x": 1e6}) == pytest.approx({"a": 3.6, "b": 3.0})
    assert runs.nearest({"x": 2e2}) == pytest.approx({"a": 4.0, "b": 3.0})
    both = Evidence({"N": x, "D": x[::-1]}, loss, np.full(4, "a", object))
    assert both.lever_arm({"N": 1e5, "D": 1e1}) == pytest.approx(1.0)
    assert both.lever_arm({"N": 1e5, "D": 1e7}) == pytest.approx(3.0)
    assert both.nearest({"N": 1e4, "D": 1e1}) == pytest.approx({"a": 3.0})


def test_lodged_committed_altered_and_scored(here: Path) -> None:
    said = predict(*ASK, "--lodge", "--name", "ten", as_json=False)
    assert "lodged in data/ledger.jsonl; commit it" in said
    git(here, "init", "-q")
    git(here, "add", "data/ledger.jsonl")
    git(here, "commit", "-qm", "forecast")
    assert predict("--check") == {"ledger": "data/ledger.jsonl", "forecasts": 1, "outcomes": 0, "committed": 1,
                                  "unproven": None}  # fmt: skip
    assert predict("--score")["track"]["pending"] == 1

    table((1e7,), seed=9).to_csv("came.csv", index=False)
    came = pd.read_csv("came.csv").groupby("recipe")["loss"].mean()
    record = predict("--score", "came.csv")
    (score,) = record["scores"]
    lodged = json.loads(Path("data/ledger.jsonl").read_text())["body"]
    for part in score["recipes"]:
        expected = lodged["recipes"][part["recipe"]]
        assert part["error"] == pytest.approx(came[part["recipe"]] - expected["value"])
        assert part["covered"] == (expected["low"] <= came[part["recipe"]] <= expected["high"])
    assert score["pairs"][0]["brier"] == pytest.approx((lodged["pairs"][0]["p_b_wins"] - 1) ** 2)
    assert record["track"]["predictions"] == 2
    assert predict("--score")["track"]["pending"] == 1  # nothing was lodged unasked

    ledger = Path("data/ledger.jsonl")
    ledger.write_text(ledger.read_text().replace('"value":', '"value":1', 1))
    for words in (["--check"], ["--score"], [*ASK, "--lodge", "--name", "more"]):
        with pytest.raises(DamageError, match="line 1 does not fit its seal"):
            predict(*words)


def test_a_gate_is_fixed_before_the_run_and_its_verdict_follows(here: Path) -> None:
    expected = predict(*ASK)["recipes"]
    low, high = sorted(item["value"] for item in expected.values())
    middle = (low + high) / 2  # by the forecast one recipe is below it, the other is not
    lodged = predict(*ASK, "--lodge", "--name", "ten", "--gate", f"loss < {middle}")
    for name, item in expected.items():
        assert lodged["gate"]["p"][name] == pytest.approx(stats.norm.cdf((middle - item["value"]) / item["sd"]))
    git(here, "init", "-q")
    git(here, "add", "data/ledger.jsonl")
    git(here, "commit", "-qm", "forecast")
    table((1e7,), seed=9).to_csv("came.csv", index=False)
    came = pd.read_csv("came.csv").groupby("recipe")["loss"].mean()
    (score,) = predict("--score", "came.csv")["scores"]
    gates = {item["recipe"]: item["gate"] for item in score["recipes"]}
    assert {name: gate["passed"] for name, gate in gates.items()} == {
        name: loss < middle for name, loss in came.items()
    }
    assert {gate["passed"] for gate in gates.values()} == {True, False}
    said = predict("--score", "came.csv", as_json=False)
    assert "the gate is passed" in " ".join(said.split())
    assert "NOT passed" in " ".join(said.split())


@pytest.mark.parametrize("known", [True, False])
def test_a_table_that_git_held_with_the_forecast_is_no_outcome_of_it(here: Path, known: bool) -> None:
    """The table of what came is committed with the forecast, or after it with other rows first."""
    predict(*ASK, "--lodge", "--name", "ten")
    came = table((1e7,), seed=9)
    (came if known else came.assign(flops=2e7)).to_csv("came.csv", index=False)
    for words in (("init", "-q"), ("add", "data/ledger.jsonl", "came.csv"), ("commit", "-qm", "forecast")):
        git(here, *words)
    came.to_csv("came.csv", index=False)
    git(here, "commit", "-q", "--allow-empty", "-am", "what came")
    (score,) = predict("--score", "came.csv")["scores"]
    assert score["status"] == ("refused" if known else "scored")
    assert ("which comes not after the forecast's" in score["why"]) == known


def test_what_came_first_stays_on_record(here: Path) -> None:
    """a comes alone, then both, better than before: a's first loss stands, and the scores need no file any more."""
    predict(*ASK, "--lodge", "--name", "ten")
    predict(*ASK, "--law", "power_floor", "--lodge", "--name", "with a floor")
    came = table((1e7,), seed=9)
    came[came["recipe"] == "a"].to_csv("a.csv", index=False)
    came.assign(loss=came["loss"] - 0.5).to_csv("both.csv", index=False)
    assert "lodged in data/ledger.jsonl; commit it" in predict("--score", "a.csv", "--lodge", as_json=False)
    first = predict("--score", "both.csv", "--lodge")
    means = came.groupby("recipe")["loss"].mean()
    for score in first["scores"]:
        realised = {part["recipe"]: part["realised"] for part in score["recipes"]}
        assert realised == pytest.approx({"a": means["a"], "b": means["b"] - 0.5})
    assert predict("--score") == first
    assert predict("--score", "both.csv") == first
    checked = predict("--check")
    assert (checked["forecasts"], checked["outcomes"], checked["committed"]) == (2, 4, None)
    assert "there is no git here" in checked["unproven"]
    assert "nothing is proven: there is no git here" in predict("--check", as_json=False)
    with pytest.raises(UsageError, match="on record already; the first stands"):
        predict("--score", "both.csv", "--lodge")
    ledger = Path("data/ledger.jsonl")
    ledger.write_text(ledger.read_text().replace('"source":"a.csv"', '"source":"b.csv"', 1))
    with pytest.raises(DamageError, match="line 3 does not fit its seal"):
        predict("--score")


def test_a_forecast_is_lodged_once(here: Path) -> None:
    predict(*ASK, "--lodge")
    with pytest.raises(UsageError, match=r"this very forecast was lodged as 'runs x=1e7' on 20"):
        predict(*ASK, "--lodge", "--name", "again")
    with pytest.raises(UsageError, match=r"was lodged on .*; give this one another --name"):
        predict(*ASK, "--law", "power_floor", "--lodge")
    predict(*ASK, "--law", "power_floor", "--lodge", "--name", "with a floor")
    assert predict("--check")["forecasts"] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["runs.csv", "--x", "flops"], "name the target with --at, as x=1e22"),
        (["runs.csv", "--at", "x=1e7"], "name the size: --x, or --n and --d"),
        (["runs.csv", "--x", "flops", "--at", "y=1"], "--at 'y=1': 'y' is no input"),
        (["runs.csv", "--x", "flops", "--at", "x=-1"], "needs a positive, finite x"),
        (["runs.csv", "--x", "flops", "--by", "recipe", "--at", "x=1e6", "--lodge"], "already trained"),
        ([], "name a file of runs, or a study"),
        ([*ASK, "--gate", "loss < 2"], "--gate is a criterion that is fixed before the run: it needs --lodge"),
        ([*ASK, "--lodge", "--gate", "loss = 2"], "write it as 'loss < 2.31'"),
        ([*ASK, "--lodge", "--gate", "loss < 1e999"], "is no number that a loss can have"),
        (["--check", "--score"], "stand alone"),
        (["--check", "--lodge"], "stand alone"),
        (["--score", "--lodge"], "needs a file with what came"),
        (["--score", "runs.csv"], "has no finished run at the target of any lodged forecast"),
        (["--study", "lr_crossover"], "needs --study, --scale and --at width=96"),
    ],
)
def test_mistakes_name_the_remedy(here: Path, words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        predict(*words)
    assert not Path("data/ledger.jsonl").exists()


def arrive(table: Path, width: int, started: str) -> None:
    """What the study would have where its runs at `width` had come: those at width 48, a tenth of a nat lower."""
    losses, store = read_csv(table, LOSSES).to_pylist(), Store(Path("data/store"))
    came = [
        {**row, "width": width, "loss_validation": row["loss_validation"] - 0.1,
         "fingerprint": finished(store, seed, started).fingerprint}
        for seed, row in enumerate(losses)
        if row["width"] == 48
    ]  # fmt: skip
    write_csv(table, losses + came, LOSSES)


def test_an_own_study_is_forecast_and_looked_up_in_its_results(here: Path) -> None:
    results = here / "data/results/wd_crossover-pocket"
    shutil.copytree(REPOSITORY / "data/results/wd_crossover-pocket", results)
    shutil.copy(REPOSITORY / "params.yaml", here)
    question = ("--study", "wd_crossover", "--scale", "pocket", "--at")
    trained = pd.read_csv(results / "losses.csv")["fingerprint"].nunique()
    found = predict(*question, "width=64", "--lodge")
    assert found["at"]["x"] == 6 * 12 * 64**2 * 40 * 12 * 64**2  # 6 N D, D = 40 N, to the step
    assert (found["runs"], found["study"], len(found["inputs"]["cells"])) == (25, "wd_crossover-pocket", trained)
    assert predict("--score")["scores"][0]["status"] == "pending"
    with pytest.raises(UsageError, match="already trained"):
        predict(*question, "width=48", "--lodge")
    with pytest.raises(UsageError, match="no multiple of the scale's head_dim 8"):
        predict(*question, "width=50")
    shutil.copytree(REPOSITORY / "data/results/l2-pocket", here / "data/results/l2-pocket")
    with pytest.raises(UsageError, match="sweeps lr_octaves"):
        predict("--study", "l2", "--scale", "pocket", "--at", "width=64")

    losses = results / "losses.csv"
    before = losses.read_bytes()
    arrive(losses, 64, "2999-01-01T00:00:00+00:00")
    (score,) = predict("--score")["scores"]
    at_48 = pd.read_csv(losses).query("width == 48").groupby("recipe")["loss_validation"].mean()
    assert {part["recipe"]: part["realised"] for part in score["recipes"]} == pytest.approx(dict(at_48 - 0.1))
    losses.write_bytes(before)
    shutil.rmtree("data/store")
    (score,) = predict("--score")["scores"]
    assert score["status"] == "pending"
    arrive(losses, 64, "2001-01-01T00:00:00+00:00")
    (score,) = predict("--score")["scores"]
    assert (score["status"], "before the forecast was lodged" in score["why"]) == ("refused", True)
