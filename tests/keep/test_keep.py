"""`crossover keep`: one case for each thing it may say, the log of a series, exit codes, and mistakes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover as xo
from crossover.cli.app import app

SIZES = (1e18, 4e18, 16e18)


def table(
    gains: dict[float, float], seeds: int = 3, noise: float = 0.002, only: tuple[float, ...] = SIZES, draw: int = 0
) -> pd.DataFrame:
    """Runs of `base` at `only`, and of `change`, better by `gains`, at the sizes that those name."""
    generator = np.random.default_rng(draw)
    rows = []
    for x in only:
        for seed in range(seeds):
            shared = generator.normal(0, 0.01)
            for recipe in ("base", "change") if x in gains else ("base",):
                loss = 3 * (x / 1e18) ** -0.05 + shared + generator.normal(0, noise)
                loss -= gains[x] if recipe == "change" else 0
                rows.append({"recipe": recipe, "flops": x, "seed": seed, "loss": loss})
    return pd.DataFrame(rows)


def ask(rows: pd.DataFrame, **options: Any) -> Any:
    return xo.keep(rows, "base", "change", pair="seed", **options)


def test_a_gain_at_all_sizes_is_kept() -> None:
    found = ask(table(dict.fromkeys(SIZES, 0.02)))
    assert found.verdict == "keep"
    assert found.evidence > found.needed == 20
    assert found.p_b_beats_a > 0.9
    assert found.next is None


def test_the_belief_is_that_of_compare() -> None:
    rows = table(dict.fromkeys(SIZES, 0.004))
    (pair,) = xo.compare(rows, pair="seed", at=64e18).pairs
    assert ask(rows, at=64e18).p_b_beats_a == pair.gap.p_b_beats_a


def test_a_gain_that_shrinks_and_turns_holds_at_the_small_size_only() -> None:
    found = ask(table({1e18: 0.04, 4e18: 0.01, 16e18: -0.02}))
    assert (found.verdict, found.why[:34]) == ("discard", "it holds at the small size only: t")
    assert found.p_b_beats_a < 0.05


def test_a_gain_at_a_small_size_is_to_be_tried_where_the_other_was_run() -> None:
    found = ask(table({1e18: 0.04}, seeds=5))
    assert (found.verdict, found.next.x, found.next.recipes, found.next.pair) == ("run more", 4e18, ["change"], "0")
    assert found.target == 16e18
    with_target = ask(table({1e18: 0.04}, seeds=5, only=(1e18,)), at=1e21)
    assert (with_target.next.x, with_target.next.recipes) == (4e18, ["base", "change"])


def test_a_change_is_tried_at_every_size_that_the_other_was_run_at() -> None:
    found = ask(table({1e18: 0.03, 4e18: 0.03}, seeds=5))
    assert found.p_b_beats_a > 0.9
    between = ask(table({1e18: 0.03, 16e18: 0.03}, seeds=5))
    assert (between.verdict, between.next.x) == ("run more", 4e18)
    assert (found.verdict, found.next.x, found.next.recipes, found.next.pair) == ("run more", 16e18, ["change"], "0")


def test_a_gain_from_some_size_on_is_not_hidden_by_what_is_below() -> None:
    found = ask(table({1e18: -0.05, 4e18: 0.01, 16e18: 0.07}, seeds=5))
    assert found.verdict == "keep"
    assert found.sizes[0].evidence < 0.2


def test_no_decision_without_a_noise_floor() -> None:
    rows = table({1e18: 0.5}, seeds=1, only=(1e18,))
    found = ask(rows)
    assert (found.verdict, found.next.recipes, found.next.pair) == ("run more", ["base", "change"], "1")
    assert "the noise floor first" in found.why
    assert ask(rows, noise=0.002).verdict == "keep"
    other = pd.DataFrame([
        {"recipe": "other", "flops": 1e18, "seed": seed, "loss": 3 + 0.002 * seed} for seed in range(7)
    ])  # fmt: skip
    assert xo.keep(pd.concat([rows, other]), "base", "change").verdict == "keep"


def test_what_is_not_worth_it_is_discarded() -> None:
    rows = table({1e18: 0.0}, seeds=8, only=(1e18,))
    assert ask(rows).verdict == "discard"
    assert ask(rows, worth=1e-4).verdict == "run more"
    assert "a gain of 0.05 is excluded" in ask(rows, worth=0.05).why


def test_a_change_that_diverges_is_discarded() -> None:
    rows = table({1e18: 0.04}, seeds=4, only=(1e18,))
    rows.loc[rows.index[-1], "loss"] = np.nan
    found = ask(rows)
    assert (found.verdict, found.why) == ("discard", "1 of 4 runs of change diverged at 1e18, and none of base")
    assert found.left_out[0].rows == 1


def lost(recipe: str, x: float, seeds: range) -> pd.DataFrame:
    return pd.DataFrame([{"recipe": recipe, "flops": x, "seed": seed, "loss": np.nan} for seed in seeds])


def test_who_diverges_is_asked_size_by_size() -> None:
    good = table({1e18: 0.05}, seeds=4, only=(1e18,))
    whole = pd.concat([good, lost("base", 1e18, range(9, 10)), lost("change", 1e18, range(10, 20))])
    assert ask(whole).why == "10 of 14 runs of change diverged at 1e18, and 1 of 5 of base"
    few = pd.concat([good, lost("base", 1e18, range(9, 11)), lost("change", 1e18, range(10, 12))])
    assert ask(few).verdict == "keep"
    two = table({1e18: 0.05, 4e18: 0.05}, seeds=4, only=SIZES)
    above = pd.concat([two, lost("change", 16e18, range(4)), lost("base", 1e18, range(9, 10))])
    assert ask(above).why == "4 of 4 runs of change diverged at 1.6e19, and none of base"


@pytest.mark.parametrize("who", [("change",), ("base",), ("base", "change")])
def test_a_size_where_nothing_came_is_no_traceback(who: tuple[str, ...]) -> None:
    rows = pd.concat([table({1e18: 0.05}, only=(1e18,)), *(lost(name, 1e19, range(1)) for name in who)])
    assert ask(rows).verdict in ("discard", "run more")
    nothing = pd.concat([lost("base", 1e18, range(2)), lost("change", 1e18, range(2))])
    assert ask(nothing).verdict == "run more"


def test_a_gain_below_the_worth_that_is_named_is_no_gain() -> None:
    assert ask(table({1e18: 0.04}, seeds=5, only=(1e18,))).verdict == "keep"
    assert ask(table({1e18: 0.04}, seeds=5, only=(1e18,)), worth=0.5).verdict == "discard"
    assert ask(table(dict.fromkeys(SIZES, 0.02)), worth=0.5).verdict == "discard"


def test_one_run_logged_twice_is_refused() -> None:
    rows = table({1e18: 0.04}, seeds=3, only=(1e18,))
    again = pd.concat([rows, rows.assign(loss=rows["loss"] + 1e-4)])
    with pytest.raises(xo.UsageError, match="has two runs at flops = 1e\\+18 with the pair label '0'"):
        ask(again)


def test_the_same_runs_and_runs_of_other_seeds_say_so() -> None:
    rows = table({1e18: 0.0}, seeds=3, only=(1e18,), noise=0.0)
    assert ask(rows).why.startswith("the two are one run wherever both were run")
    other = rows.assign(seed=np.where(rows["recipe"] == "change", rows["seed"] + 10, rows["seed"]))
    assert "share no pair label" in ask(other).why


def test_two_rules_that_meet_at_one_size_are_told_apart_at_another() -> None:
    """The pivot of a learning-rate rule, where the two are one run by construction, says nothing of other sizes."""
    meeting = table({1e18: 0.0}, seeds=2, only=(1e18,), noise=0.0)
    elsewhere = table({4e18: 0.0}, seeds=2, only=(4e18,))
    found = ask(pd.concat([meeting, elsewhere[elsewhere["recipe"] == "base"]]))
    assert (found.verdict, found.next.x, found.next.recipes) == ("run more", 4e18, ["change"])


@pytest.mark.parametrize("labels", [("--1", "--2"), ("²", "³"), ("abc", "1.0")])
def test_odd_labels_are_labels(labels: tuple[str, str]) -> None:
    rows = table({1e18: 0.005}, seeds=2, only=(1e18,), noise=0.01)
    assert ask(rows.assign(seed=rows["seed"].map(dict(enumerate(labels))))).next.pair is None


def test_the_noise_floor_costs_no_more_than_a_run() -> None:
    rows = table({1e18: 0.01}, seeds=3, only=(1e18,))
    found = ask(rows[(rows["recipe"] == "base") | (rows["seed"] == 0)])
    assert (found.verdict, found.next.recipes, found.next.pair) == ("run more", ["change"], "1")


def test_a_tiny_noise_that_is_told_does_not_overflow() -> None:
    assert ask(table({1e18: 0.08}, seeds=1, only=(1e18,)), noise=1e-300).evidence > 1e6


def test_the_next_run_completes_a_pair_and_says_its_cost() -> None:
    rows = table({1e18: 0.001}, seeds=3, only=(1e18,), noise=0.005)
    rows = rows[~((rows["recipe"] == "change") & (rows["seed"] == 1))].assign(hours=2.0)
    found = ask(rows, cost="hours")
    assert (found.next.recipes, found.next.pair, found.next.cost) == (["change"], "1", 2.0)
    whole = ask(table({1e18: 0.001}, seeds=3, only=(1e18,), noise=0.005))
    assert (whole.next.recipes, whole.next.pair, whole.next.cost) == (["base", "change"], "3", 2e18)


def test_runs_without_pairs_are_compared_by_their_means() -> None:
    rows = table({1e18: 0.05}, seeds=5, only=(1e18,)).drop(columns="seed")
    found = xo.keep(rows, "base", "change", x="1")
    assert (found.verdict, found.sizes[0].dof) == ("keep", 8)


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["keep", *arguments])


@pytest.mark.parametrize(
    ("gain", "code", "verdict"), [(0.04, 0, "keep"), (-0.04, 3, "discard"), (0.005, 4, "run more")]
)
def test_exit_codes_and_one_line_of_json(tmp_path: Path, gain: float, code: int, verdict: str) -> None:
    path = tmp_path / "runs.csv"
    table({1e18: gain}, seeds=4, only=(1e18,), noise=0.004).to_csv(path, index=False)
    done = command("base", "change", str(path), "--pair", "seed", "--json")
    assert (done.exit_code, done.stdout.count("\n")) == (code, 1)
    assert json.loads(done.stdout)["verdict"] == verdict
    said = command("base", "change", str(path), "--pair", "seed")
    assert said.stdout.startswith(f"change instead of base: {verdict}\n")


def test_a_series_asks_more_of_each_and_a_keep_stands(tmp_path: Path) -> None:
    log, rows = tmp_path / "keeps.jsonl", table({1e18: 0.018}, seeds=4, only=(1e18,), noise=0.004)
    alone = ask(rows)
    first = ask(rows, log=log)
    assert (alone.needed, first.needed) == (20, pytest.approx(500))
    assert (alone.verdict, first.verdict) == ("keep", "run more")
    better = pd.concat([rows, table({1e18: 0.018}, seeds=12, only=(1e18,), noise=0.004, draw=1).query("seed >= 4")])
    assert ask(better, log=log).verdict == "keep"
    assert ask(rows, log=log).why.endswith("and a keep stands")
    assert "a keep stands" not in ask(rows, at=1e20, log=log).why
    log.write_text(log.read_text().rstrip("\n"))  # as an editor may leave it
    other = better.replace({"recipe": {"change": "other"}})
    second = xo.keep(other, "base", "other", pair="seed", log=log)
    assert (second.series.number, second.series.keeps, second.needed) == (2, 1, pytest.approx(250))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["run more", "keep", "run more", second.verdict]


def test_a_series_that_is_full_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "keeps.jsonl"
    rows = table({1e18: 0.1}, seeds=8, only=(1e18,))
    for number in range(3):
        named = rows.replace({"recipe": {"change": f"change {number}"}})
        found = xo.keep(named, "base", f"change {number}", pair="seed", log=log, of=2)
        assert (found.series.number, found.series.keeps) == ((1, 0), (2, 1), (1, 0))[number]


def test_of_one_size_there_is_a_figure_and_the_exit_code(tmp_path: Path) -> None:
    table({1e18: 0.01}, only=(1e18,)).to_csv(tmp_path / "runs.csv", index=False)
    done = command("base", "change", str(tmp_path / "runs.csv"), "--plot", str(tmp_path / "x.png"))
    assert done.exit_code == 4
    assert "Next: " in done.stdout
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["base", "chang", "{runs}"], "did you mean 'change'"),
        (["base", "base", "{runs}"], "another recipe"),
        (["base", "change"], "name a file of runs, or --study and --scale"),
        (["base", "change", "{runs}", "--worth", "-1"], "worth must be positive"),
        (["base", "change", "{runs}", "--level", "2"], "level is a probability"),
        (["base", "change", "{runs}", "--log", "{broken}"], "line 1 is no answer that was logged"),
        (["base", "change", "{runs}", "--log", "{folder}"], "name another place with --log"),
    ],
)
def test_mistakes_name_the_remedy(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "broken.jsonl").write_text('{"a": 1}\n')
    table({1e18: 0.01}, only=(1e18,)).to_csv(tmp_path / "runs.csv", index=False)
    names = {"runs": tmp_path / "runs.csv", "broken": tmp_path / "broken.jsonl", "folder": tmp_path}
    done = command(*(text.format(**names) for text in arguments))
    assert isinstance(done.exception, (xo.CrossoverError, SystemExit))
    assert said in str(done.exception)
