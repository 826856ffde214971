"""The page: one file, no network, nothing a name can break out of, and the numbers of the fit."""

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossover.base.files import write_json
from crossover.base.numerals import short
from crossover.ledger.scoring import score_all
from crossover.plots.house import COLOURS
from stages.fit.study import fit_study
from stages.report.card import Card, make_card
from stages.report.figures import study_figures
from stages.report.page import findings, render
from stages.report.regimes import on_one_map, regimes
from stages.report.results import StudyResults
from stages.report.tables import laws_table, rates_table
from stages.report.words import crossing, headline
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


PARAMS = load_params(REPOSITORY / "params.yaml")
TOKENS: dict[str, Any] = {"passed": True, "rules": []}


def card(shown: StudyResults, verdicts: list[dict[str, Any]] | None = None) -> Card:
    return make_card(shown, verdicts or [], PARAMS)


@pytest.fixture(scope="module")
def page() -> str:
    return render([results("<script>alert(1)</script>")], TOKENS, VERDICTS, [], PARAMS)


def test_self_contained_and_escaped(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert links.outside == []
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;A&lt;/b&gt;" in page
    assert "<b>A" not in page.replace("\\u003cb>A", "")  # nor in the data of a figure
    assert page.count("<figure ") == page.count("<figcaption>") == 6  # one that answers, five that are folded
    assert len(page) < 1.3e6


def test_the_policy_admits_these_scripts_and_nothing_else(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))


def test_the_answer_leads_the_page_and_claims_come_as_a_forest(page: str) -> None:
    order = [
        page.index(text) for text in ('class="badge', "Next:", 'id="s-c-lead"', "Figures and tables", 'id="claims"')
    ]
    assert order == sorted(order)
    assert "5 claims: 1 supported, 1 refuted, 1 different from group to group, 2 inconclusive; 3 had a power" in page
    assert "of the 4 that could be asked up to 0.2; 4 hold all at once (Holm)" in page
    assert "&lt;i&gt;b&lt;/i&gt; wins" in page
    assert "Paper: yes (-0.1 nats). Power 0.96 at -0.03, 0.99 at the paper" in page
    assert '<td>-0.0861 [-0.105, -0.067] nats</td><td class="verdict supported">SUPPORTED</td>' in page
    assert "<td>-0.7 [-0.9, -0.2] octaves</td>" in page  # an effect is shown where it is, not less the claim's centre
    assert "Open: not measurable here: no pair crosses." in page


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


def test_the_record_of_forecasts_is_shown_where_there_is_one() -> None:
    for nothing in (None, score_all([], lambda _: {})):
        assert 'id="forecasts"' not in render([results()], TOKENS, VERDICTS, [], PARAMS, nothing)
    record = score_all([forecast("first"), forecast("later")], lambda f: CAME if f.name != "later" else {})
    html = render([results()], TOKENS, VERDICTS, [], PARAMS, record)
    assert "2 forecast(s): 1 scored, 1 pending, 0 refused. 1 of 2 losses came inside their 90% interval" in html


def test_a_crossover_outside_the_runs_is_told_with_its_distance() -> None:
    table = losses({"a": 0.3, "b": 0.34})
    table["loss_validation"] += 0.09 * (table["recipe"] == "b")  # all but met at the largest width
    shown = replace(results(), losses=table, fit=fit_study(table).to_json())
    shown.fit["comparisons"][0]["verdict"] = "no crossing in range"
    text = headline(shown)
    place = shown.fit["comparisons"][0]["crossover"]
    assert f"vanishes near {short(place['value'], 2)} FLOP [" in text
    assert f"{place['lever_arm_decades']:.1f} decades outside the runs" in text
    place["ci"] = [None, 5e12]
    shown.fit["comparisons"][0]["verdict"] = "undecided"
    assert f"is undecided; if they do, near {short(place['value'], 2)} FLOP [no bound, 5e12]." in headline(shown)


def test_a_sweep_shows_its_optima() -> None:
    table = losses({"a": 0.3}, lrs=(0.005, 0.01, 0.02, 0.04, 0.08))
    table = table.assign(tokens=1000, tokenizer_digest="t", evaluation_digest="e")
    shown = replace(results(), losses=table, fit=fit_study(table).to_json())
    found = card(shown)
    assert found.badge.startswith("best rate goes as width^")
    assert "when each width is left out of its law" in found.answer
    assert not re.search(r"\b0\.00%", found.answer)
    first = rates_table(shown).rows[0]
    assert first[:3] == ["<b>A</b>", "16", "0.0200"]
    assert first[4] == "no other"
    shown.fit["optima"]["a"]["law"]["params"]["p"]["ci"][0] = None
    assert re.search(r"goes as width\^\S+ \[no bound, -?\d", card(shown).answer)
    assert [f.name for f in study_figures(shown)] == ["s-c-laws", "s-c-bowls", "s-c-optima"]
    shown.fit["optima"]["a"]["cells"][0]["optimum"] = None
    assert rates_table(shown).rows[0][2:] == ["at the edge", "–", "–"]


def test_figures_repeat_exactly_in_every_format() -> None:
    first, second = study_figures(results()), study_figures(results())
    names = ["difference", "gap", "regret", "curves", "collapse"]
    assert [f.name for f in first] == [f"s-c-{name}" for name in names]
    assert [f.spec() for f in first] == [f.spec() for f in second]
    assert [f.svg() for f in first] == [f.svg() for f in second]
    assert all(f.png().startswith(b"\x89PNG") and f.pdf().startswith(b"%PDF") for f in first)


def test_a_figure_s_csv_holds_the_numbers_of_the_fit() -> None:
    shown = results()
    figure = next(f for f in study_figures(shown) if f.name == "s-c-difference")
    table = pd.read_csv(io.StringIO(figure.csv()))
    rungs = {int(rung["name"]): rung["difference"] for rung in shown.fit["comparisons"][0]["rungs"]}
    means = table[table["layer"] == "rung"].astype({"size": int}).set_index("size")
    assert means["difference"].to_dict() == {w: d["value"] for w, d in rungs.items() if w != 24}
    assert means.loc[48, ["low", "high"]].tolist() == rungs[48]["ci"]
    assert table[table["layer"] == "met"]["size"].astype(int).tolist() == [24]
    assert len(table[table["layer"] == "seed"]) == 9
    cells = table[table["layer"] == "run"]
    assert set(cells["cell"]) == set(shown.losses["fingerprint"].str[:12])


def test_a_recipe_keeps_its_colour_in_every_figure() -> None:
    """Domains and ranges of all colour scales, wherever they stand in a figure's form."""
    found = [pair for figure in study_figures(results()) for pair in scales(figure.spec())]
    told = {name: {colour for domain, colours in found for n, colour in zip(domain, colours, strict=False) if n == name}
            for name in ("<b>A</b>", "b")}  # fmt: skip
    assert told == {"<b>A</b>": {COLOURS[0]}, "b": {COLOURS[1]}}


def scales(part: Any) -> Iterator[tuple[list[str], list[str]]]:
    """Of colours, below a part of a figure's form."""
    if isinstance(part, dict):
        scale = part.get("color", {})
        if isinstance(scale, dict) and {"domain", "range"} <= scale.get("scale", {}).keys():
            yield scale["scale"]["domain"], scale["scale"]["range"]
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from scales(child)


def test_no_law_is_drawn_through_two_points() -> None:
    table = losses({"a": 0.3, "b": 0.32}, meeting=None)
    table = table[table["width"].isin([16, 24])].assign(tokens=1000, tokenizer_digest="t", evaluation_digest="e")
    shown = replace(results(), losses=table, fit=fit_study(table).to_json())
    assert shown.fit["laws"]["a"]
    assert not [row for figure in study_figures(shown) for row in figure.rows if row["layer"] == "law"]
    assert laws_table(shown).rows == []


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
         "They cross near 1e9 FLOP [5e8, no bound]; the sign changes between widths 16 and 24."),
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
    assert headline(both).endswith("Of the other 1 pairs 1 crosses: b, against <b>A</b> (at 5.3e10 FLOP).")
