"""The page: one file, no network, nothing a name can break out of, and the numbers of the fit."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossover.base.files import write_json
from crossover.ledger.scoring import score_all
from stages.fit.study import fit_study
from stages.report.figures import study_figures
from stages.report.page import findings, render
from stages.report.regimes import on_one_map, regimes
from stages.report.results import StudyResults
from stages.report.words import _best_rate, answers, crossing, headline
from stages.study.params import Study, load_params
from tests.conftest import REPOSITORY
from tests.fit.test_study import losses
from tests.ledger.test_chain import forecast
from tests.ledger.test_scoring import CAME


def results(title: str = "Which?", exponent: float = 0.32, meeting: int | None = 24) -> StudyResults:
    table = losses({"a": 0.3, "b": exponent}, meeting=meeting)
    table = table.assign(tokens=1000, tokenizer_digest="t", evaluation_digest="e")
    curves = pd.DataFrame(
        [
            {"fingerprint": name, "step": step, "loss": 6 - 2 * (step / 99) ** 0.5}
            for name in sorted(set(table["fingerprint"]))
            for step in range(100)
        ]
    )
    study = Study.model_validate({"title": title, "recipes": {"a": {"label": "<b>A</b>"}, "b": {}}})
    gate = {"passed": True, "rules": [{"rule": "r", "passed": True, "stops": True, "offenders": []}]}
    scale = load_params(REPOSITORY / "params.yaml").scale("pocket")
    return StudyResults("s-c", study, scale, table, fit_study(table, curves=curves).to_json(), gate)


def part(name: str, value: float, **changes: Any) -> dict[str, Any]:
    fields = {"name": name, "value": value, "runs": 3, "effect": None, "dof": None, "verdict": "", "direction": "",
              "size": ""}  # fmt: skip
    return {**fields, **changes}


def verdict(**changes: Any) -> dict[str, Any]:
    fields = {
        "id": "C6", "scale": "pocket", "study": "s", "statement": "<i>b</i> wins", "paper": "yes", "differs": "text",
        "measure": "paired", "what": "loss(b) - loss(a).", "expects": "below", "centre": 0.0, "unit": "nats",
        "verdict": "SUPPORTED", "direction": "lower", "size": "meaningful", "published": -0.1, "dof": 6.0, "p": 0.001,
        "effect": {"value": -0.0861, "se": 0.01, "ci": [-0.105, -0.067]}, "text_se": 0.004, "alike": 0.4,
        "interest": 0.03, "interest_from": "1.1 times the compute", "detectable": 0.02, "holm": True,
        "power": 0.96, "power_at": -0.03, "power_published": 0.99, "cells": 21, "machine_hours": 0.11, "why": "",
        "notes": [], "parts": [part("width 32", -0.05)],
    }  # fmt: skip
    return {**fields, **changes}


VERDICTS = [
    verdict(),
    verdict(id="C6b", expects="none", centre=-1.0, unit="octaves", verdict="INCONCLUSIVE", interest=0.5, power=0.4,
            direction="higher", size="open", effect={"value": 0.3, "se": 0.1, "ci": [0.1, 0.8]}, power_at=0.0,
            published=None, power_published=None, why="the interval reaches across"),
    verdict(id="C10", verdict="INCONCLUSIVE", direction="open", size="open", effect=None, interest=None, power=None,
            power_at=None, power_published=None, detectable=None, p=None, holm=False, parts=[],
            why="not measurable here: no pair crosses"),
    verdict(id="R1", verdict="MIXED", direction="mixed", size="mixed", effect=None, parts=[
        part("width 16", -0.9, effect={"value": -0.9, "se": 0.1, "ci": [-1.1, -0.7]}, dof=2.0, verdict="SUPPORTED"),
        part("width 32", 3.1, effect={"value": 3.1, "se": 0.1, "ci": [2.9, 3.3]}, dof=2.0, verdict="REFUTED"),
    ]),
    verdict(id="C9", verdict="REFUTED", direction="open", size="negligible"),
]  # fmt: skip


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith(("data:", "#"))]


@pytest.fixture(scope="module")
def page() -> str:
    return render([results("<script>alert(1)</script>")], {"passed": True, "rules": []}, VERDICTS, [])


def test_self_contained_and_escaped(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert links.outside == []
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;A&lt;/b&gt;" in page
    assert "<b>A" not in page.replace("\\u003cb>A", "")  # nor in the data of a figure
    assert page.count("<figure ") == page.count("<figcaption>") == 6
    assert len(page) < 1.3e6


def test_the_policy_admits_these_scripts_and_nothing_else(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))


def test_verdicts_lead_the_page(page: str) -> None:
    assert page.index("Claims and verdicts") < page.index("Cells: mean held-out loss")
    assert "5 claims: 1 supported, 1 refuted, 1 different from group to group, 2 inconclusive; 3 had a power" in page
    assert "of the 4 that could be asked up to 0.2; 4 hold all at once (Holm)" in page
    assert "&lt;i&gt;b&lt;/i&gt; wins" in page
    assert (
        '<td class="verdict supported">SUPPORTED</td><td>lower</td><td>meaningful</td>'
        "<td>-0.0861 [-0.105, -0.067] nats</td><td>yes (-0.1 nats)</td><td>0.96 at -0.03, 0.99 at the paper" in page
    )
    assert "<td>higher than -1</td>" in page
    assert "-0.7 [-0.9, -0.2] octaves" in page  # an effect is shown where it is, not less the claim's centre
    assert "width 16 -0.9 [-1.1, -0.7], width 32 +3.1 [+2.9, +3.3] nats" in page  # and no mean of widths that differ
    assert "By group: width 16 -0.9 SUPPORTED, width 32 +3.1 REFUTED." in page
    assert "standard error 0.01, of which the text" in page
    assert "Not decided: not measurable here: no pair crosses." in page
    order = [page.index(f"{name} (pocket):") for name in ("C9", "R1", "C6", "C6b", "C10")]
    assert order == sorted(order)  # what is refuted stands first


def test_findings_say_the_same_in_markdown() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    params = params.model_copy(update={"active": {"lr_crossover-pocket": params.active["lr_crossover-pocket"]}})
    text = findings(params, VERDICTS, figure=True)
    assert "| C6: <i>b</i> wins | **SUPPORTED** | lower | meaningful | -0.0861 [-0.105, -0.067] nats |" in text
    assert "| C9: <i>b</i> wins (differs from the paper: text) | **REFUTED** | open | negligible |" in text
    assert "`pocket`: 1.1 times the compute" in text
    assert "![Three regimes on one map](regimes.png)" in text
    assert "Not decided: not measurable here: no pair crosses." in text
    assert "priced for 2 CPU cores" in text


def test_the_map_of_regimes_needs_its_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert regimes({"regimes": results()}, VERDICTS) == []
    table = losses({"base": 0.3})
    table = table.assign(loss_fresh=table["loss_validation"], loss_seen=table["loss_validation"], tokens=640)
    table = table.assign(unique_tokens=640)
    shown = replace(results(), losses=table)
    errors = {
        kind: {part: {"mean": [1.0, 5.0, 0.9]} for part in ("train", "test")}
        for kind in ("ridgeless", "fixed", "tuned")
    }
    write_json(
        Path("data/results/ridge.json"), {"samples": 10, "features": [5, 10, 20], "fixed_penalty": 1e-4, **errors}
    )
    cures = [verdict(id=f"R_{cure}_{regime}") for cure in ("l2", "lr", "batch") for regime in ("small", "fresh")]
    panels = regimes(dict.fromkeys(("regimes", "skydiving", "fresh"), shown), cures)
    assert [figure.title[:3] for figure in panels] == ["(a)", "(b)", "(c)", "(d)"]
    whole = on_one_map(panels)
    assert whole.png().startswith(b"\x89PNG")
    titles = [[part["title"] for part in row["hconcat"]] for row in whole.chart.to_dict()["vconcat"]]
    assert titles == [[figure.title for figure in panels[:2]], [figure.title for figure in panels[2:]]]


def test_the_answer_says_who_leads_above_the_meeting_point_and_whether_that_grows() -> None:
    shown = results()
    assert headline(shown).startswith("Above width 24, where the two are one run, b is better by 0.0")
    assert "and the lead grows by 0.010 nats per doubling of compute [0.009, 0.011]" in headline(shown)
    shown.fit["comparisons"][0]["trend"] = {"value": 0.01, "se": 0.001, "ci": [0.005, 0.015]}
    assert "and the lead shrinks by 0.010 nats per doubling of compute [0.005, 0.015]" in headline(shown)
    shown.fit["comparisons"][0]["trend"] = {"value": 0.01, "se": 0.02, "ci": [-0.03, 0.05]}
    assert "whether that lead grows is open (-0.010 nats per doubling of compute [-0.050, +0.030])" in headline(shown)


def test_answers_state_side_size_and_reach() -> None:
    text = " ".join(answers(results()))
    assert "b is better by 0.0" in text
    assert "<b>A</b> is better by 0.0" in text
    assert "The sign changes across width 24, where the two are the same run by construction." in text
    assert "Nothing is claimed beyond width 48." in text
    assert "undecided" in " ".join(answers(results(exponent=0.3)))


def test_a_crossover_is_told_with_its_set_and_its_widths() -> None:
    shown = results(exponent=0.4, meeting=None)
    text = " ".join(answers(shown))
    assert re.search(r"They cross near 3\.\d?e\+10 FLOP \[[\d.e+]+, [\d.e+]+\]; the sign changes between widths", text)
    html = render([shown], {"passed": True, "rules": []}, VERDICTS, [])
    assert "without the rung at " in html
    assert "counting head and attention: crosses" in html
    assert re.search(r"\d\.\d\d% off in \d+ run", html)


def test_the_choice_beyond_the_runs_is_told_with_its_price_and_its_distance() -> None:
    shown = results(exponent=0.4, meeting=None)
    (pair,) = shown.fit["comparisons"]
    gap = pair["gap"]
    assert gap["x"] == 10 * shown.losses["flops_6n"].max()
    assert gap["lever_arm_decades"] == pytest.approx(1.0)
    html = render([shown], {"passed": True, "rules": []}, VERDICTS, [])
    assert "Which to choose at ten times the compute" in html
    assert (
        f"choose b: P = {'above 0.999' if gap['decision']['p'] > 0.999 else format(gap['decision']['p'], '.3g')}"
        in html
    )
    shown.fit["comparisons"] = [{**pair, "gap": None}]  # as in results of before
    assert "Which to choose" not in render([shown], {"passed": True, "rules": []}, VERDICTS, [])


def test_the_record_of_forecasts_is_shown_where_there_is_one() -> None:
    tokens = {"passed": True, "rules": []}
    for nothing in (None, score_all([], lambda _: {})):
        assert 'id="forecasts"' not in render([results()], tokens, VERDICTS, [], nothing)
    record = score_all([forecast("<b>bold</b>"), forecast("later")], lambda f: CAME if f.name != "later" else {})
    html = render([results()], tokens, VERDICTS, [], record)
    assert html.index("Forecasts, and how they did") < html.index('<section id="s-c">')
    assert "2 forecast(s): 1 scored, 1 pending, 0 refused. 1 of 2 losses came inside their 90% interval" in html
    assert "<td>3.0000 [2.9000, 3.1000]</td><td>3.0500</td><td>+0.0500</td><td>+1.00</td>" in html
    assert "Brier 0.640" in html
    assert "&lt;b&gt;bold" in html
    assert "<b>bold" not in html


def test_a_crossover_outside_the_runs_is_told_with_its_distance() -> None:
    table = losses({"a": 0.3, "b": 0.34})
    table["loss_validation"] += 0.09 * (table["recipe"] == "b")  # all but met at the largest width
    shown = replace(results(), losses=table, fit=fit_study(table).to_json())
    shown.fit["comparisons"][0]["verdict"] = "no crossing in range"
    text = " ".join(answers(shown))
    place = shown.fit["comparisons"][0]["crossover"]
    assert f"vanishes near {place['value']:.2g} FLOP [" in text
    assert f"{place['lever_arm_decades']:.1f} decades outside the runs" in text
    place["ci"] = [None, 5e12]
    shown.fit["comparisons"][0]["verdict"] = "undecided"
    assert f"is undecided; if they do, near {place['value']:.2g} FLOP [no bound, 5e+12]." in " ".join(answers(shown))


def test_a_sweep_shows_its_optima() -> None:
    table = losses({"a": 0.3}, lrs=(0.005, 0.01, 0.02, 0.04, 0.08))
    shown = replace(results(), losses=table, fit=fit_study(table).to_json())
    text = " ".join(answers(shown))
    assert "best learning rate 0.0200" in text
    assert "goes as width^" in text
    assert "when each width is left out of its law" in text
    shown.fit["optima"]["a"]["law"]["params"]["p"]["ci"][0] = None
    assert re.search(r"goes as width\^\S+ \[no bound, -?\d", " ".join(answers(shown)))
    assert [f.name for f in study_figures(shown)] == ["s-c-laws", "s-c-bowls", "s-c-optima"]


def test_figures_repeat_exactly_in_every_format() -> None:
    first, second = study_figures(results()), study_figures(results())
    names = ["laws", "difference", "gap", "regret", "curves", "collapse"]
    assert [f.name for f in first] == [f"s-c-{name}" for name in names]
    assert [f.spec() for f in first] == [f.spec() for f in second]
    assert [f.svg() for f in first] == [f.svg() for f in second]
    assert all(f.png().startswith(b"\x89PNG") and f.pdf().startswith(b"%PDF") for f in first)


def test_a_figure_s_csv_holds_the_numbers_of_the_fit() -> None:
    shown = results()
    figure = next(f for f in study_figures(shown) if f.name == "s-c-difference")
    table = pd.read_csv(io.StringIO(figure.csv()))
    rungs = {int(rung["name"]): rung["difference"] for rung in shown.fit["comparisons"][0]["rungs"]}
    means = table[table["layer"] == "mean"].set_index("width")
    assert means["difference"].to_dict() == {w: d["value"] for w, d in rungs.items() if w != 24}
    assert means.loc[48, ["low", "high"]].tolist() == rungs[48]["ci"]
    assert table[table["layer"] == "met"]["width"].tolist() == [24]
    assert len(table[table["layer"] == "seed"]) == 9


def test_regret_is_what_the_choice_at_one_width_loses_at_another() -> None:
    shown = results(exponent=0.4, meeting=None)
    figure = next(f for f in study_figures(shown) if f.name == "s-c-regret")
    means = shown.losses.pivot_table(index="width", columns="recipe", values="loss_validation")
    assert (means.loc[16].idxmin(), means.loc[48].idxmin()) == ("a", "b")
    found = {(row["chosen_at"], row["used_at"]): row["regret"] for row in figure.rows}
    assert found[16, 48] == pytest.approx(means.loc[48, "a"] - means.loc[48, "b"])
    assert found[48, 16] == pytest.approx(means.loc[16, "b"] - means.loc[16, "a"])
    assert found[48, 48] == 0


@pytest.mark.parametrize(
    ("place", "bracket", "says"),
    [
        (None, None, "They cross; the sign changes along the ladder."),
        ({"value": 1e9, "ci": None, "lever_arm_decades": 0.4}, (2.0, 8.0),
         "They cross; the sign changes between widths 16 and 24."),
        ({"value": 1e9, "ci": (5e8, None), "lever_arm_decades": 0.0}, (2.0, 8.0),
         "They cross near 1e+09 FLOP [5e+08, no bound]; the sign changes between widths 16 and 24."),
    ],
)  # fmt: skip
def test_a_crossing_is_told_with_its_place_only_inside_the_runs(place: Any, bracket: Any, says: str) -> None:
    rungs = [{"x": 2.0, "name": 16, "structural": False}, {"x": 8.0, "name": 24, "structural": False}]
    assert crossing({"verdict": "crosses", "rungs": rungs, "crossover": place, "bracket": bracket}) == says


def test_other_pairs_that_cross_are_named_in_the_headline() -> None:
    shown = results()
    pair = shown.fit["comparisons"][0]
    other = {**pair, "verdict": "crosses", "crossover": {"value": 5.3e10, "ci": [2e10, 9e10], "lever_arm_decades": 0.0}}
    both = replace(shown, fit={**shown.fit, "comparisons": [{**pair, "verdict": "undecided"}, other]})
    assert headline(both).endswith("Of the 1 other pairs 1 cross: b, against <b>A</b> (at 5.3e+10 FLOP).")


def test_studies_of_two_scales_are_told_apart() -> None:
    shown = results()
    small = replace(shown, scale=shown.scale.model_copy(update={"name": "small"}))
    tokens = {"passed": True, "rules": []}
    assert "(<code>small</code>)" in render([shown, small], tokens, [], [])
    assert "(<code>small</code>)" not in render([small], tokens, [], [])


@pytest.mark.parametrize(
    ("broad", "said"),
    [
        ((0.01, 0.01), "no other rate tried is within 0.25% of the best loss"),
        ((0.005, 0.02), "rates tried from 0.0050 to 0.0200 are within 0.25% of the best loss"),
    ],
)
def test_how_broad_the_best_rate_is(broad: tuple[float, float], said: str) -> None:
    cell = {"optimum": 0.01, "loss_at_optimum": 3.1234, "broad": broad}
    assert _best_rate(cell) == f"best learning rate 0.0100, loss 3.123 nats; {said}"
    assert _best_rate({"optimum": None}) == "the best learning rate lies at the edge of the grid; widen it"
