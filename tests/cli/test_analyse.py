"""`crossover fit|compare|optimum` on files, by the command line: published answers, stated JSON keys, mistakes."""

import html
import json
import re
import shlex
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover as xo
from crossover.base.errors import UsageError
from crossover.cli.app import app
from crossover.plots.house import COLOURS
from tests.commands.test_cli import crossover
from tests.conftest import SHARED

EXAMS = SHARED / "exams"
needs_exams = pytest.mark.skipif(not EXAMS.exists(), reason="the published data are not here")
CHINCHILLA = ["--n", "`Model Size`", "--d", "`Training FLOP` / (6 * `Model Size`)", "--where", "loss < 3.44"]


def answer(*arguments: str) -> Any:
    """The JSON that a command prints."""
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def params(result: Any) -> dict[str, float]:
    return {name: item["value"] for name, item in result["params"].items()}


@needs_exams
def test_chinchilla_by_squares_on_loss() -> None:
    """Open-Athena's fit of the 217 points under 1e21 FLOP, N in millions and D in billions."""
    result = answer(
        "fit", str(EXAMS / "chinchilla_points.csv"), "--n", "`Model Size` / 1e6", "--objective", "squares",
        "--d", "`Training FLOP` / (6e9 * `Model Size`)", "--where", "loss < 3.44 and `Training FLOP` < 1e21",
    )  # fmt: skip
    assert result["n_rows"] == 217
    assert result["objective"] == {"name": "squares", "value": pytest.approx(0.062414, abs=1e-6)}
    expected = {"E": 1.9051, "A": 4.0005, "a": 0.3511, "B": 1.0509, "b": 0.4587}
    assert params(result) == pytest.approx(expected, abs=1e-4)
    assert result["left_out"][0]["rows"] == 28


@needs_exams
def test_olmo_ladder_predicts_its_target() -> None:
    result = answer(
        "fit", str(EXAMS / "olmo_ladder_c4.csv"), "--n", "N", "--d", "D", "--loss", "c4_ma5",
        "--objective", "huber_log", "--heldout", "xC == 'target'",
    )  # fmt: skip
    target = result["heldout"]["rows"][-1]
    assert target["loss"]["value"] == pytest.approx(2.3443873, rel=1e-4)
    assert target["relative_error"] == pytest.approx(-0.038348, abs=1e-4)
    assert result["mean_absolute_relative_error"] == pytest.approx(0.002473, abs=1e-5)


@needs_exams
def test_gadre_extrapolates_from_five_runs() -> None:
    small = "cc_mult == 1 and N < 1e9 or cc_mult == 16 and N < 2e7"
    targets = "name in ['rpj-open_lm_1b-32.0', 'rpj-open_lm_7b-1.0']"
    result = answer(
        "fit", str(EXAMS / "gadre_testbed.csv"), "--law", "chinchilla_shared", "--n", "N", "--d", "D",
        "--loss", "loss_c4_val", "--objective", "squares", "--heldout", targets,
        "--where", f"train_dataset == 'rpj' and ({small} or {targets})",
    )  # fmt: skip
    errors = sorted(abs(row["relative_error"]) for row in result["heldout"]["rows"])
    assert errors == pytest.approx([0.007103, 0.007320], abs=5e-7)
    assert result["n_rows"] == 5


@needs_exams
@pytest.mark.parametrize(
    ("size", "pair", "low", "high"), [("300m", "muon,soape", 48e9, 96e9), ("520m", "muon,soape", 42e9, 85e9)]
)
def test_marin_crossovers_lie_in_their_bracket(size: str, pair: str, low: float, high: float) -> None:
    (result,) = answer(
        "compare", str(EXAMS / "marin_optimizers.csv"), "--x", "tokens", "--loss", "c4_en_loss", "--by", "optimizer",
        "--where", f"model_size == '{size}'", "--only", pair,
    )["pairs"]  # fmt: skip
    assert result["bracket"] == [low, high]
    assert low < result["crossover"]["value"] < high


@needs_exams
def test_marin_near_tie_is_undecided() -> None:
    (result,) = answer(
        "compare", str(EXAMS / "marin_optimizers.csv"), "--x", "tokens", "--loss", "c4_en_loss", "--by", "optimizer",
        "--where", "model_size == '1.2b'", "--only", "nadamw,soap",
    )["pairs"]  # fmt: skip
    assert result["verdict"] == "undecided"
    assert abs(result["baseline"]["difference"]["value"]) < 1e-5


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three recipes on five sizes with three seeds, one run diverged."""
    generator, rows = np.random.default_rng(0), []
    for x in np.geomspace(1e15, 1e18, 5):
        for seed in range(3):
            shared = generator.normal(0, 0.02)
            for recipe, exponent in (("slow", 0.06), ("steady", 0.08), ("steep", 0.10)):
                loss = 1.2 + 2.0 * (x / 3e16) ** -exponent + shared + generator.normal(0, 0.003)
                rows.append({"flops": x, "recipe": recipe, "seed": seed, "loss": loss, "lr": 0.01, "width": x**0.25})
    table = pd.DataFrame(rows)
    table.loc[0, "loss"] = np.nan
    path = tmp_path / "runs.csv"
    table.to_csv(path, index=False)
    return path


def test_fit_has_the_stated_keys_and_predicts(runs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "law.png"
    result = answer(
        "fit", str(runs), "--x", "flops", "--where", "recipe == 'steady'", "--at", "x=1e19", "--plot", str(picture)
    )
    assert {"law", "objective", "params", "n_rows", "starts", "flags", "predictions", "heldout"} <= set(result)
    assert set(result["starts"]) == {"n", "agree"}
    assert set(result["params"]["a"]) == {"value", "se", "ci"}
    assert result["inputs"] == {"x": "flops"}
    assert result["predictions"][0]["at"] == {"x": 1e19}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_compare_has_the_stated_keys_and_finds_the_planted_crossing(runs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "pairs.png"
    result = answer("compare", str(runs), "--pair", "seed", "--at", "x=1e19", "--plot", str(picture))
    assert [(pair["a"], pair["b"], pair["verdict"]) for pair in result["pairs"]] == [
        ("slow", "steady", "crosses"), ("slow", "steep", "crosses"), ("steady", "steep", "crosses"),
    ]  # fmt: skip
    for pair in result["pairs"]:
        low, high = pair["crossover"]["ci"]
        assert low < 3e16 < high
        assert pair["gap"]["lever_arm_decades"] == pytest.approx(1.0)
        assert pair["gap"]["difference"]["value"] < 0
        decision = pair["gap"]["decision"]
        assert set(decision) == {
            "choose", "p", "expected_regret", "cost_if_wrong", "regret_as_compute", "cost_if_wrong_as_compute",
        }  # fmt: skip
        assert (decision["choose"], decision["p"]) == (pair["b"], pair["gap"]["p_b_beats_a"])
    assert result["left_out"][0]["rows"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_compare_says_which_to_choose_at_the_target(runs: Path) -> None:
    done = CliRunner().invoke(app, ["compare", str(runs), "--pair", "seed", "--only", "slow,steep", "--at", "x=1e19"])
    assert re.search(r"steep is worth there what \w+ is at [\d.]+ times the flops \[", done.stdout)
    assert re.search(r"choose steep: P (= 0\.9|above 0\.99)\S*; if wrong it costs on average", done.stdout)
    assert re.search(r"(of|times the) flops; expected regret", done.stdout)


def test_optimum_has_the_stated_keys(tmp_path: Path) -> None:
    rows = [
        {"lr": lr, "N": n, "D": 20 * n, "loss": 3 + 0.02 * np.log2(lr * n**0.5) ** 2}
        for n in (1e6, 4e6, 1.6e7, 6.4e7) for lr in 2.0 ** np.arange(-15, -6)
    ]  # fmt: skip
    path, picture = tmp_path / "sweep.jsonl", tmp_path / "sweep.png"
    pd.DataFrame(rows).to_json(path, orient="records", lines=True, double_precision=15)
    result = answer("optimum", str(path), "--x", "N", "--plot", str(picture))
    assert {"cells", "law", "regret", "flags"} <= set(result)
    assert set(result["regret"]) == {"mean", "max"}
    assert result["law"]["params"]["p"]["value"] == pytest.approx(-0.5, abs=1e-3)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_point_is_drawn_in_the_colour_of_its_series(runs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    rungs = pd.read_csv(runs)["flops"].nunique()
    answer("compare", str(runs), "--pair", "seed", "--plot", str(picture))
    for colour in COLOURS[:3]:  # of the three pairs: a point per rung, the curve, the legend
        assert len(re.findall(f'<path[^>]* fill="{colour}"', picture.read_text())) > rungs
    answer("fit", str(runs), "--x", "flops", "--where", "recipe == 'steady'", "--plot", str(picture))
    assert len(re.findall(f'<path[^>]* stroke="{COLOURS[0]}"', picture.read_text())) > 3 * rungs


def test_the_page_of_runs_says_what_the_terminal_says(runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = ["compare", str(runs), "--pair", "seed", "--only", "slow,steep", "--at", "x=1e19", "--html", str(page)]
    shown = crossover(tmp_path, *command).stdout
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.read_text())))
    for line in shown.splitlines():
        for word in re.split(r"  +", line.strip(" ─")):
            assert word in text
    (spec,) = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    names, *drawn = json.loads(spec)["datasets"]["rows"]
    layers = [row[names.index("layer")] for row in drawn]
    assert layers.count("rung") == pd.read_csv(runs)["flops"].nunique()
    made = text[text.index("command") :]
    assert f"crossover {shlex.join(command)}" in made
    assert date.today().isoformat() in made
    assert xo.compare(runs, pair="seed", only=[("slow", "steep")]).digest in made


def test_tables_read_well_where_no_terminal_is(runs: Path) -> None:
    """Nothing is cut off, and the answer is in the first lines."""
    shown = crossover(runs.parent, "compare", runs.name, "--pair", "seed", "--only", "slow,steep").stdout
    assert "steep against slow: crosses" in shown
    assert "plain ranking at the largest common size, 1e18: steep" in shown
    assert "…" not in shown
    shown = crossover(runs.parent, "fit", runs.name, "--x", "flops", "--where", "recipe == 'slow'").stdout
    assert "power_floor: E + A x^-a" in shown
    assert "each rung from those below" in shown
    assert "left out: 1 row(s), a value is missing or infinite" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "{}", "--x", "flop"], "no column is called 'flop'; did you mean 'flops'"),
        (["fit", "{}"], "law 'power_floor' needs --x"),
        (["fit", "{}", "--x", "flops", "--n", "flops"], "has no use for --n"),
        (["fit", "{}", "--x", "flops", "--law", "powr"], "did you mean 'power'"),
        (["fit", "{}", "--x", "flops", "--by", "recipe", "--objective", "huber"], "did you mean 'huber_log'"),
        (["fit", "{}", "--x", "flops", "--at", "y=3"], "'y' is no input"),
        (["fit", "{}", "--x", "flops", "--at", "x=three"], "'three' is no number"),
        (["fit", "{}", "--x", "flops", "--where", "flops > 1e30"], "keeps none of 45 rows"),
        (
            ["fit", "{}", "--x", "flops", "--where", "seed == 0 and recipe == 'slow' and flops < 1e16"],
            "fewer than the 3",
        ),
        (["fit", "{}", "--x", "flops", "--by", "recipe", "--plot", "law.gif"], "--plot law.gif must end in"),
        (["compare", "{}", "--pair", "lr"], "two runs at x = 1e\\+15"),
        (["compare", "{}", "--pair", "seed", "--only", "slow"], "must name two recipes"),
        (["compare", "{}", "--pair", "seed", "--where", "recipe == 'slow'"], "needs two recipes"),
        (["compare", "{}", "--pair", "seed", "--law", "chinchilla"], "no law of one input"),
        (["optimum", "{}"], "name what makes a cell"),
        (["optimum", "{}", "--x", "width", "--by", "none"], "no cell has three learning rates"),
        (["fit", "absent.csv", "--x", "flops"], "absent.csv does not exist"),
        (["compare", "{}", "--pair", "seed", "--html", "{}"], "must end in .html"),
        (["compare", "{}", "--pair", "seed", "--plot", "/proc/x.png"], "/proc/x.png cannot be written"),
        (["compare", "{}", "--pair", "seed", "--at", "x=1e18", "--at", "x=1e19"], "--at was given 2 times"),
        (["compare", "{}", "--by", "none"], "needs the column that names the recipe"),
        (
            ["fit", "{}", "--x", "flops", "--by", "recipe", "--where", "flops < 3e15"],
            "recipe 'slow': .* fewer than the 3",
        ),
    ],
)
def test_mistakes_name_the_remedy(runs: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, [part.replace("{}", str(runs)) for part in arguments])
    assert isinstance(result.exception, UsageError)
    with pytest.raises(UsageError, match=said):
        raise result.exception


def test_a_mistake_is_one_line_and_exit_code_two(runs: Path) -> None:
    done = crossover(runs.parent, "fit", runs.name, "--x", "flop")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no column is called 'flop'; did you mean 'flops'?\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flops,loss,loss\n1,2,3\n", "two columns are called 'loss'"),
        ("flops;loss\n1;2\n1;2;3\n", "line 3 has 3 cells, more than the 2 of its header"),
        ("flops,loss\n1,2,3\n", "line 2 has 3 cells, more than the 2 of its header"),
    ],
)
def test_a_table_that_would_be_misread_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    result = CliRunner().invoke(app, ["fit", str(path), "--x", "flops"])
    with pytest.raises(UsageError, match=said):
        raise result.exception or AssertionError


def test_a_page_never_replaces_the_runs_it_is_about(tmp_path: Path) -> None:
    path = tmp_path / "runs.html"
    path.write_text("flops,loss\n1,2\n")
    result = CliRunner().invoke(app, ["fit", str(path), "--x", "flops", "--html", str(path)])
    assert "is what is read" in str(result.exception)
    assert path.read_text().startswith("flops")


def test_an_optimum_at_the_edge_of_the_batches_shows_its_learning_rate(tmp_path: Path) -> None:
    rows = [
        {"lr": lr, "batch": batch, "x": 8, "loss": 3 + 0.02 * np.log2(lr * 100) ** 2 + 0.1 * np.log2(batch)}
        for lr in 2.0 ** np.arange(-9, -3) for batch in (8, 16, 32)
    ]  # fmt: skip
    path = tmp_path / "sweep.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    said = (
        CliRunner().invoke(app, ["optimum", str(path), "--x", "x", "--batch", "batch"], catch_exceptions=False).stdout
    )
    assert re.search(r"0\.00781 tried +at the edge", said)
