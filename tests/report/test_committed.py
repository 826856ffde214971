"""The page that `make study` leaves, from the committed results: small, short, whole on a phone."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from crossover.base.files import read_json
from stages.report.page import render
from stages.report.regimes import regimes
from stages.report.results import RESULTS, read_results
from stages.study.params import load_params
from stages.verdicts.words import read_verdicts
from tests.conftest import REPOSITORY
from tests.report.test_browser import CHROMIUM, PHONE, WIDE, browser, opened, unfold

__all__ = ["browser"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        params = load_params()
        studies = [read_results(key, params) for key in params.active]
        verdicts = read_verdicts()
        panels = regimes({params.active[item.key].study: item for item in studies}, verdicts)
        html = render(studies, read_json(RESULTS / "tokens.check.json", ""), verdicts, panels, params)
    file = tmp_path_factory.mktemp("committed") / "index.html"
    file.write_text(html)
    return file


def test_it_is_small(path: Path) -> None:
    assert path.stat().st_size < 3e6


def test_it_is_short_on_the_screen_and_on_paper(browser: Browser, path: Path) -> None:
    page, said = opened(browser, path)
    assert said == []
    figures = page.locator("figure:not(details figure)")
    assert figures.count() == page.locator(".card").count()  # every study has one
    assert page.evaluate("document.querySelector('details').getBoundingClientRect().top") < 3 * 900
    assert len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(format="A4"))) <= 12
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    page.locator(".chart").evaluate_all("all => all.forEach(one => { one.style.visibility = 'hidden'; })")
    words = [word for word in page.locator("body").inner_text().split() if re.search("[A-Za-z]", word)]
    assert 3000 < len(words) < 9000
    assert "0.00%" not in " ".join(words)


def test_nothing_sticks_out_on_a_phone(browser: Browser, path: Path) -> None:
    page, _ = opened(browser, path, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    wide = page.locator("h2, h3, p, summary, .badge, figcaption, dd").evaluate_all(
        "all => all.filter(one => one.getBoundingClientRect().right > innerWidth"
        " || one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline')"
        ".map(one => one.textContent.slice(0, 60))"
    )
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_violation_of_accessibility(browser: Browser, path: Path, scheme: str) -> None:
    page, _ = opened(browser, path, WIDE, color_scheme=scheme, bypass_csp=True)
    page.locator("main > section details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    found = Axe().run(page).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"][:300]) for item in found] == []


def test_the_keyboard_reaches_and_opens_everything(browser: Browser, path: Path) -> None:
    page, _ = opened(browser, path)
    unfold(page)
    buttons = page.locator("button, summary, a, .wide")
    assert buttons.evaluate_all("all => all.filter(one => one.tabIndex < 0).length") == 0
    page, _ = opened(browser, path)
    page.keyboard.press("Tab")  # the theme
    for _ in range(3):  # CSV, SVG, and the fold of the first study
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator(".hero > details").get_attribute("open") is not None
