"""The benchmark of decisions: its questions and scores by hand, and a sample of the real ladders where they are."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crossover.answers.compare import Settings, compare
from crossover.belief.difference import PRIOR
from tests.conftest import REPOSITORY, SHARED
from tests.decide.asking import LEARNED, say, tracks
from tests.decide.ladders import Question, questions
from tests.decide.scoring import arms, prepare, score

LADDERS = SHARED / "decide"
ALL = json.loads(LEARNED.read_text())["all"]


def table() -> pd.DataFrame:
    """b is behind a until 8 and ahead from 16 on; c has no run at 16; d equals a there."""
    losses = {"a": [5, 4, 3.5, 3.2, 3.0], "b": [6, 4.8, 4.0, 3.3, 2.9], "c": [7, 6, 5.5, 5.2], "d": [5, 5, 5, 5, 3.0]}
    rows = [
        {"ladder": "one", "recipe": name, "x": 2.0**i, "loss": value}
        for name, values in losses.items() for i, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_questions_show_what_lies_below_and_ask_at_the_largest_common_size() -> None:
    asked = list(questions({"set": table()}))
    by_pair = {(row.a, row.b, row.range): (row, question.shown) for question in asked for row in question.rows}
    row, shown = by_pair["a", "b", 2]
    assert (row.target, row.last, row.truth) == (16, pytest.approx(0.1), pytest.approx(-0.1))
    assert row.trend == pytest.approx(0.1 + 0.25 * (0.1 - 0.5))  # per octave, one octave on
    assert shown["x"].max() == 8
    assert by_pair["a", "c", 2][0].target == 8
    assert ("a", "b", 8) in by_pair  # two rungs: 1 and 2
    assert ("a", "b", 16) not in by_pair
    assert not any({"a", "d"} == {row.a, row.b} for question in asked for row in question.rows)  # equal at the target


def test_a_sample_is_the_same_whenever_it_is_asked() -> None:
    def drawn() -> list[tuple[str, str, int]]:
        return [(row.a, row.b, row.range) for item in questions({"s": table()}, 5) for row in item.rows]

    assert drawn() == drawn()
    assert len(drawn()) == 5


def answered() -> pd.DataFrame:
    """Four rows: right and sure; wrong; right where the order turned; refused."""
    rows = {
        "set": "s", "ladder": ["1", "2", "3", "4"], "a": "a", "b": "b", "range": 2, "target": 16.0,
        "last": [-0.1, -0.1, 0.1, -0.2], "trend": [-0.1, 0.1, 0.1, -0.2], "truth": [-0.2, -0.1, -0.3, 0.4], "runs": 1,
        "p": [0.99, 0.4, 0.8, np.nan], "mean": [-0.2, 0.1, -0.1, np.nan], "q05": [-0.3, 0.0, -0.2, np.nan],
        "q25": [-0.25, 0.05, -0.15, np.nan], "q75": [-0.15, 0.15, -0.05, np.nan], "q95": [-0.1, 0.2, 0.0, np.nan],
        "regret": 0.0,
    }  # fmt: skip
    return pd.DataFrame(rows)


def test_scores_are_those_by_hand() -> None:
    found = {key: triple[0] for key, triple in score(answered())["s"].items()}
    assert (found["single"], found["trend"], found["ours"]) == (0.5, 0.25, 0.5)
    assert (found["caught"], found["newly_lost"]) == (0.25, 0.25)
    assert (found["c90"], found["c50"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (found["said"], found["sure_right"]) == (0.25, 1.0)
    assert found["brier"] == pytest.approx(np.mean([0.01**2, 0.6**2, 0.2**2, 0.5**2]))
    assert found["log"] == pytest.approx(np.mean(np.log([0.99, 0.4, 0.8, 0.5])))
    assert found["regret"] == pytest.approx((0.1 + 0.4) / 1.0)  # of the sum of sizes
    assert found["regret_single"] == pytest.approx((0.3 + 0.4) / 1.0)


def test_the_single_scale_has_its_chance_from_the_other_sets() -> None:
    rows = pd.concat([answered(), answered().assign(set="t", truth=[-0.2, -0.1, 0.3, -0.4])], ignore_index=True)
    prepared = prepare(rows)  # right in half of set s, and in all of set t, which is taken for .999
    assert prepared[prepared["set"] == "s"]["single_log"].tolist() == pytest.approx(
        np.log([0.999, 0.999, 0.001, 0.001])
    )
    assert prepared[prepared["set"] == "t"]["single_log"].tolist() == pytest.approx([np.log(0.5)] * 4)


def test_choosing_among_many_is_scored_by_what_was_given_away() -> None:
    rows = pd.concat([answered().iloc[:1]] * 3, ignore_index=True)
    said = {"last": [-0.1, -0.3, -0.2], "truth": [-0.4, -0.2, 0.2]}  # c leads, and b will
    for p_of_c, ours in ((0.05, 0.0), (0.2, 0.2)):
        asked = rows.assign(a=["a", "a", "b"], b=["b", "c", "c"], p=[0.9, 0.6, p_of_c], **said)
        (found,) = arms(asked).to_dict("records")
        assert (found["single"], found["ours"]) == (pytest.approx(0.2), pytest.approx(ours))
        assert found["single_share"] == pytest.approx(0.2 / (0.8 / 3))


@pytest.mark.slow
@pytest.mark.skipif(not LADDERS.exists(), reason="the published ladders are not here")
def test_a_sample_of_the_real_ladders(tmp_path: Path) -> None:
    """The benchmark runs to its end, and what it says is as sure as it may be where that was reached before."""
    out = tmp_path / "scores.json"
    command = [sys.executable, "-m", "tests.decide", "--data", LADDERS, "--sample", "2000", "--json", out]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert "| mean |" in said
    mean = json.loads(out.read_text())["all"]["mean"]
    assert mean["sure_right"][2] >= 0.95
    assert mean["d"][2] >= -0.005


def test_questions_keep_the_runs_of_other_recipes() -> None:
    """What the table says of its other recipes may be learned from."""
    asked = next(item for item in questions({"set": table()}) if any(row.b == "c" for row in item.rows))
    assert isinstance(asked, Question)
    assert set(asked.shown["recipe"]) == {"a", "b", "c", "d"}


def test_the_shipped_constants_are_those_learned_from_all_sets() -> None:
    assert asdict(PRIOR) == {key: tuple(value) if isinstance(value, list) else value for key, value in ALL.items()}


def test_what_is_asked_is_what_compare_says() -> None:
    """Of the shipped constants, on a table of ladders where some pairs share few sizes."""
    (question,) = [item for item in questions({"set": table()}) if item.target == 16 and item.rows[0].range == 2]
    shown = question.shown
    for row, track in zip(question.rows, tracks(question), strict=True):
        item = compare(
            shown["x"].to_numpy(float), shown["loss"].to_numpy(float), shown["recipe"].to_numpy(object),
            pairs=[(row.a, row.b)], settings=Settings(target=row.target),
        ).pairs[0]  # fmt: skip
        said = say(track, PRIOR, row.target, row.runs)
        assert (said.p, said.mean, said.regret) == (
            item.gap.p_one_run, item.gap.difference.value, item.gap.decision.expected_regret
        )  # fmt: skip
