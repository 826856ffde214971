"""The page: one file, no network, nothing a name can break out of, and the numbers of the fit."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from stages.fit.study import fit_study
from stages.report.page import figures, render
from stages.report.results import StudyResults
from stages.report.words import answers
from stages.study.params import Study
from tests.fit.test_study import losses


def results(title: str = "Which?", exponent: float = 0.32, meeting: int | None = 24) -> StudyResults:
    table = losses({"a": 0.3, "b": exponent}, meeting=meeting)
    table = table.assign(tokens=1000, tokenizer_digest="t", evaluation_digest="e")
    runs = pd.DataFrame(
        {"fingerprint": ["x"], "device": "cpu", "host": "h", "torch": "2", "python": "3", "commit": "c", "started": "s",
         "seconds": 1.0, "tokens_per_second": 1.0}
    )  # fmt: skip
    study = Study.model_validate({"title": title, "recipes": {"a": {"label": "<b>A</b>"}, "b": {}}})
    gate = {"passed": True, "rules": [{"rule": "r", "passed": True, "stops": True, "offenders": []}]}
    return StudyResults("s-c", study, table, runs, fit_study(table).to_json(), gate)


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
    shown = results("<script>alert(1)</script>")
    return render([(shown, figures(shown))], {"passed": True, "rules": []})


def test_self_contained_and_escaped(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert links.outside == []
    assert "script" not in links.tags
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;A&lt;/b&gt;" in page
    assert page.count("<figure>") == 2
    assert all(alt for alt in re.findall(r'alt="([^"]*)"', page))


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
    html = render([(shown, figures(shown))], {"passed": True, "rules": []})
    assert "without the smallest rung: " in html
    assert "counting head and attention: crosses" in html
    assert re.search(r"\d\.\d\d% off in \d+ run", html)


def test_a_sweep_shows_its_optima() -> None:
    table = losses({"a": 0.3}, lrs=(0.005, 0.01, 0.02, 0.04, 0.08))
    shown = replace(results(), losses=table, fit=fit_study(table).to_json())
    text = " ".join(answers(shown))
    assert "best learning rate 0.0200" in text
    assert "goes as width^" in text
    assert "when each width is left out of its law" in text
    assert [f.name for f in figures(shown)] == ["s-c-loss_against_compute", "s-c-learning_rate_bowls"]


def test_figures_are_pictures_and_repeat_exactly() -> None:
    first, second = figures(results()), figures(results())
    assert [f.name for f in first] == ["s-c-loss_against_compute", "s-c-paired_difference"]
    assert all(f.png.startswith(b"\x89PNG") for f in first)
    assert [f.png for f in first] == [f.png for f in second]
