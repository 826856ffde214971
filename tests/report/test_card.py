"""What is read first of a study: its card in words, the tables below it, and claims as a forest."""

import re
from dataclasses import replace

import pytest

from stages.report.forest import WIDTH, at, forest
from stages.report.page import render
from stages.report.tables import cells_table, pairs_table
from stages.report.words import headline
from tests.report.test_page import PARAMS, TOKENS, VERDICTS, card, results, verdict


def test_the_answer_says_who_leads_above_the_meeting_point_and_whether_that_grows() -> None:
    shown = results()
    assert headline(shown).startswith("Above width 24, where the two are one run, b is better than <b>A</b> by 0.0")
    assert "and the lead grows by 0.010 nats per doubling of compute [0.009, 0.011]" in headline(shown)
    shown.fit["comparisons"][0]["trend"] = {"value": 0.01, "se": 0.001, "ci": [0.005, 0.015]}
    assert "and the lead shrinks by 0.010 nats per doubling of compute [0.005, 0.015]" in headline(shown)
    shown.fit["comparisons"][0]["trend"] = {"value": 0.01, "se": 0.02, "ci": [-0.03, 0.05]}
    assert "whether that lead grows is open (-0.010 nats per doubling of compute [-0.050, +0.030])" in headline(shown)


def test_a_card_states_side_size_and_what_next() -> None:
    found = card(results())
    assert re.fullmatch(r"b beats <b>A</b> by 0\.0\d\d nats", found.badge)
    assert found.sure
    assert "b is better than <b>A</b> by 0.0" in found.answer
    assert "The sign changes across width 24, where the two are the same run by construction." in found.answer
    assert re.fullmatch(
        r"At 10 times the compute, beyond the runs, b is ahead by 0\.\d{3} nats \[-?0\.\d{3}, 0\.\d{3}\], "
        r"P\(better\) (= 0\.\d{3}|above 0\.999)\.",
        found.confidence,
    )
    assert "on average over widths 32, 48" in found.answer
    assert found.colour == 1  # that of b
    assert found.next
    assert found.said() == [found.answer, found.confidence, f"Next: {found.next}"]
    unsure = results(exponent=0.3)
    above = next(side for side in unsure.fit["comparisons"][0]["sides"] if side["name"] == "above")
    above["difference"]["ci"] = [-0.01, 0.02]
    assert (card(unsure).badge, card(unsure).sure, card(unsure).colour) == ("no difference shown", False, None)
    assert "it is undecided whether <b>A</b> or b is better" in card(unsure).answer


def test_the_next_run_is_one_that_may_turn_the_choice() -> None:
    shown = results(exponent=0.3)
    gap = shown.fit["comparisons"][0]["gap"]
    gap["next_pair"] = {"x": shown.fit["comparisons"][0]["rungs"][-1]["x"], "regret": 0.004, "p_flip": 0.31}
    assert card(shown).next == (
        "one more seed of both at width 48; it would reverse that choice with probability 0.31 and leave an expected "
        "regret of 0.004 nats."
    )
    gap["next_pair"]["x"] *= 9
    assert "9 times the largest" in card(shown).next
    gap["next_pair"] = None
    assert (
        card(shown).next == "nothing more at this scale; `crossover plan --study s-c --scale desk` prices the next one."
    )


def test_a_study_of_claims_is_answered_by_them() -> None:
    shown = replace(results(), key="lr_crossover-pocket", fit={**results().fit, "comparisons": []})
    own = [verdict(study="lr_crossover"), verdict(id="C7", study="lr_crossover", verdict="INCONCLUSIVE",
           why="the interval is too wide; if the effect stays, about 3 times the seeds would decide it"),
           verdict(id="other", study="elsewhere")]  # fmt: skip
    found = card(shown, own)
    assert found.badge == "1 supported, 1 open of 2 claims"
    assert found.answer == "Supported: <i>b</i> wins (-0.0861 [-0.105, -0.067] nats)."
    assert "for C7, the interval is too wide; if the effect stays, about 3 times the seeds would" in found.next


def test_a_study_of_seeds_is_answered_by_their_spread() -> None:
    shown = results()
    alone = replace(shown, fit={**shown.fit, "comparisons": []})
    found = card(alone)
    spread = shown.losses.groupby(["recipe", "axes", "width"])["loss_validation"].std()
    assert found.badge == f"seeds alone: SD {spread.min():.3f} to {spread.max():.3f} nats"
    assert "(n = 3)" in found.answer


def test_a_crossover_is_told_with_its_set_and_its_widths() -> None:
    shown = results(exponent=0.4, meeting=None)
    said = headline(shown)
    assert re.search(r"They cross near 3\.?\d?e10 FLOP \[[\d.e]+, [\d.e]+\]; the sign changes between widths", said)
    (row,) = pairs_table(shown).rows
    assert row[0] == "b − <b>A</b>"
    assert re.fullmatch(r"[+-]0\.\d{3} \[[+-]0\.\d{3}, [+-]0\.\d{3}\]", row[1])
    assert row[-3].startswith("crosses")
    assert re.match(r"\d\.\d+e10 \[", row[-2])
    assert re.fullmatch(r"b, P (= 0\.\d{3}|above 0\.999)", row[-1])
    html = render([shown], TOKENS, VERDICTS, [], PARAMS)
    assert re.search(r"\d\.\d\d% off in \d", html)
    shown.fit["comparisons"] = [{**shown.fit["comparisons"][0], "gap": None}]  # as in results of before
    assert pairs_table(shown).rows[0][-1] == "–"
    assert card(shown).confidence == ""


def test_the_choice_beyond_the_runs_is_at_ten_times_their_compute() -> None:
    shown = results(exponent=0.4, meeting=None)
    gap = shown.fit["comparisons"][0]["gap"]
    assert gap["x"] == 10 * shown.losses["flops_6n"].max()
    assert gap["lever_arm_decades"] == pytest.approx(1.0)
    assert f"b is ahead by {-gap['difference']['value']:.3f} nats" in card(shown).confidence


def test_cells_are_told_with_their_spread_over_seeds() -> None:
    shown = results()
    values = shown.losses[(shown.losses["recipe"] == "a") & (shown.losses["width"] == 48)]["loss_validation"]
    row = next(row for row in cells_table(shown).rows if row[0] == "<b>A</b>")
    mean, sd, se, n = map(float, row[-1].split(", "))
    assert (mean, sd) == (pytest.approx(values.mean(), abs=6e-4), pytest.approx(values.std(ddof=1), abs=6e-4))
    assert (se, n) == (pytest.approx(values.std(ddof=1) / 3**0.5, abs=6e-4), 3)
    lost = shown.losses.copy()
    lost.loc[lost.index[-1], "status"] = "diverged"
    assert cells_table(replace(shown, losses=lost)).rows[-1][-1].startswith("✗ 1 of ")


def test_a_failed_gate_is_told_on_the_card() -> None:
    gate = {
        "passed": False,
        "rules": [{"rule": "losses are finite", "passed": False, "stops": True, "offenders": ["x"]}],
    }
    html = render([replace(results(), gate=gate)], TOKENS, [], [], PARAMS)
    assert "<b>The gate on losses failed:</b> losses are finite: x" in html


def test_a_forest_shows_effects_in_multiples_of_what_matters() -> None:
    rows = {row.line.id: row for row in forest(VERDICTS)["s-pocket"]}
    assert list(rows) == ["C9", "R1", "C6", "C6b", "C10"]  # what is refuted stands first
    (mark,) = rows["C6"].marks
    assert [mark.low, mark.value, mark.high] == [at(value / 0.03) for value in (-0.105, -0.0861, -0.067)]
    assert (rows["C6"].band, mark.verdict, rows["C6"].place) == (True, "supported", pytest.approx(-2.87))
    assert [mark.verdict for mark in rows["R1"].marks] == ["supported", "refuted"]  # and no mean of groups that differ
    assert rows["C10"].marks == []
    assert (at(0.0), at(1e9), at(-1e9)) == (WIDTH / 2, WIDTH, 0.0)
    assert at(1.0) - at(0.0) == pytest.approx(at(0.0) - at(-1.0))
    open_end = verdict(effect={"value": -0.03, "se": 0.1, "ci": [None, 0.0]})
    (mark,) = forest([open_end])["s-pocket"][0].marks
    assert (mark.low, mark.high) == (0.0, WIDTH / 2)
