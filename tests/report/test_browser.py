"""The page in a real Chromium with no network: drawn, hovered, sorted, themed, saved, printed, and read by keyboard."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from stages.fit.study import fit_study
from stages.report.page import render
from stages.report.results import StudyResults
from stages.study.params import Study
from tests.fit.test_study import losses
from tests.report.test_page import PARAMS, TOKENS, VERDICTS, results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; Debian: apt-get install chromium"),
    pytest.mark.filterwarnings("default::DeprecationWarning"),
]
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # A sandbox needs privileges that a container may not have.
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def sweep() -> StudyResults:
    """Learning rates of two recipes, one diverged run."""
    table = losses({"a": 0.3, "b": 0.4}, lrs=(0.005, 0.01, 0.02, 0.04, 0.08))
    table.loc[table.index[-1], ["status", "loss_validation"]] = ["diverged", np.nan]
    table = table.assign(tokens=1000, tokenizer_digest="t", evaluation_digest="e", study="sweep")
    return replace(results(), key="sweep-c", losses=table, fit=fit_study(table).to_json())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render([results("<i>Which?</i>"), sweep()], TOKENS, VERDICTS, [], PARAMS))
    return path


def opened(browser: Browser, path: Path, size: dict[str, int] = WIDE, **options: Any) -> tuple[Page, list[str]]:
    """The page with all figures drawn, in a browser with no network; and what its console said."""
    page = browser.new_context(viewport=size, offline=True, accept_downloads=True, **options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "blob:")) else None
    )
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    return page, said


def unfold(page: Page) -> None:
    """Open every fold, and wait until its figures are drawn."""
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    for figure in page.locator("figure").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".chart.drawn").wait_for()


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_everything_draws_with_no_network_and_no_word_on_the_console(
    browser: Browser, path: Path, size: dict[str, int]
) -> None:
    page, said = opened(browser, path, size)
    unfold(page)
    figures = page.locator("figure")
    assert figures.count() == 11
    for index in range(figures.count()):
        figure = figures.nth(index)
        assert figure.locator(".chart svg path, .chart svg line").count() > 5, figure.get_attribute("id")
        box = figure.locator(".chart svg").bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_the_first_screen_answers(browser: Browser, path: Path) -> None:
    """Who wins with the interval, how sure, what next, and the figure: within 900 pixels, wide and on a phone."""
    for size in ({"width": 1440, "height": 900}, {"width": 390, "height": 844}):
        page, _ = opened(browser, path, size)
        hero = page.locator(".hero")
        parts = {"badge": ".badge", "answer": ".lead", "sure and next": ".more >> nth=-1", "figure": "figure svg"}
        for name, selector in parts.items():
            box = hero.locator(selector).first.bounding_box()
            assert box["y"] + box["height"] <= 900, (size["width"], name, box)
        words = hero.inner_text()
        assert re.search(r"by 0\.\d{3} nats \[0\.\d{3}, 0\.\d{3}\]", words)
        assert "P(better)" in words
        assert "Next: " in words


def test_the_study_that_was_run_comes_first(browser: Browser, path: Path) -> None:
    page = browser.new_context(viewport=WIDE, offline=True).new_page()
    page.goto(f"{path.as_uri()}#sweep-c")
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    assert page.locator(".card").evaluate_all("all => all.map(one => one.id)") == ["sweep-c", "s-c"]
    assert page.locator(".hero").get_attribute("id") == "sweep-c"
    assert page.evaluate("scrollY") == 0


def test_hover_names_the_cell(browser: Browser, path: Path) -> None:
    page, _ = opened(browser, path)
    unfold(page)
    points = page.locator("#s-c-lead g.mark-symbol[class*=concat_1_layer] path")
    points.first.scroll_into_view_if_needed()
    told = []
    for index in range(points.count()):  # some lie below others
        points.nth(index).hover(force=True)
        told.append(page.locator("#vg-tooltip-element.visible").inner_text())
    assert all({"kind", "width", "seed", "cell", "loss"} <= set(words.split()) for words in told)
    assert any("<b>A</b>" in words for words in told)  # a label is text


def test_tables_sort_by_number_and_by_keyboard(browser: Browser, path: Path) -> None:
    page, _ = opened(browser, path)
    table = page.get_by_role("region", name="s-pocket, claims")
    header = table.get_by_role("columnheader").nth(2)
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    cells = table.locator("tbody tr td:nth-child(3)").all_inner_texts()
    values = [float(text.split()[0]) for text in cells if text[0] in "+-"]
    assert values == sorted(values)
    assert len(values) == 3
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    plot = table.get_by_role("columnheader", name="effect against what matters")
    plot.get_by_role("button").click()
    assert plot.get_attribute("aria-sort") == "ascending"


def test_missing_cells_sort_last_and_large_numbers_by_size(browser: Browser, path: Path) -> None:
    page, _ = opened(browser, path)
    unfold(page)
    cells = page.get_by_role("region", name="sweep-c, Held-out loss over seeds")
    button = cells.get_by_role("button", name=re.compile("^width")).last
    last = f"tbody tr td:nth-child({cells.locator('thead th').count()})"
    for _ in range(2):
        button.click()
        shown = cells.locator(last).all_inner_texts()
        assert "diverged" in shown[-1]
    values = [float(text.split(",")[0]) for text in shown[:-1]]
    assert values == sorted(values, reverse=True)


def test_a_turned_phone_draws_once_more(browser: Browser, path: Path) -> None:
    page, said = opened(browser, path, PHONE)
    for width in (740, 360, 740):
        page.set_viewport_size({"width": width, "height": 500})
    page.wait_for_timeout(1500)
    shown = page.locator("figure:not(details figure)")
    assert shown.locator(".chart svg").count() == shown.count() == 2
    assert page.locator("#s-c-lead .chart svg").bounding_box()["width"] > 400
    assert said == []


def test_themes(browser: Browser, path: Path) -> None:
    page, _ = opened(browser, path, color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    button = page.get_by_role("button", name="Theme: auto")
    button.click()
    page.get_by_role("button", name="Theme: light").wait_for()
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(colour) == dark != "rgb(255, 255, 255)"
    ink = page.locator("#s-c-lead .chart svg text").first.evaluate("node => getComputedStyle(node).fill")
    assert ink == page.evaluate("getComputedStyle(document.body).color")


def test_figures_can_be_saved_as_data_and_as_a_picture(browser: Browser, path: Path) -> None:
    page, _ = opened(browser, path)
    unfold(page)
    saved = {}
    for kind in ("CSV", "SVG"):
        with page.expect_download() as download:
            page.locator("#s-c-difference").get_by_role("button", name=kind).click()
        saved[download.value.suggested_filename] = Path(download.value.path()).read_text()
    table = pd.read_csv(path.parent / _write(path.parent / "d.csv", saved["s-c-difference.csv"]))
    assert {"rung", "seed", "met", "curve", "target", "run", "law"} <= set(table["layer"])
    assert saved["s-c-difference.svg"].startswith("<svg")


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return path.name


@pytest.mark.parametrize("theme", ["auto", "dark"])
def test_print_shows_every_figure_whole_and_in_light(browser: Browser, path: Path, theme: str) -> None:
    page, _ = opened(browser, path, color_scheme="dark")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    page.set_viewport_size({"width": 700, "height": 990})  # a sheet's width, the figures still those of the screen
    page.emulate_media(media="print")
    ends = page.locator("figure:not(details figure)").evaluate_all(
        "all => all.map(one => [one.querySelector('.chart svg').getBoundingClientRect().right,"
        " one.getBoundingClientRect().right])"
    )
    assert all(drawn <= box for drawn, box in ends)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.get_by_role("button", name="Theme: auto").is_hidden()
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_of_accessibility(browser: Browser, path: Path, scheme: str) -> None:
    page, _ = opened(browser, path, color_scheme=scheme, bypass_csp=True)
    unfold(page)
    found = Axe().run(page).response["violations"]
    serious = [item for item in found if item["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps([[item["id"], item["nodes"][0]["html"][:300]] for item in serious])


@pytest.mark.long
def test_two_thousand_cells_stay_small_and_quick(browser: Browser, tmp_path: Path) -> None:
    """20 recipes, 10 widths, 10 seeds; the time is measured by `make bench`, the size here."""
    path = tmp_path / "large.html"
    path.write_text(render([large()], TOKENS, [], [], PARAMS))
    assert path.stat().st_size < 5e6
    page, said = opened(browser, path)
    assert said == []
    unfold(page)
    assert page.locator("#large-c-difference .mark-symbol path").count() >= 1000


def large() -> StudyResults:
    """A study of 2,000 cells."""
    generator = np.random.default_rng(0)
    names = [f"recipe_{index}" for index in range(20)]
    base = losses({"a": 0.3}).iloc[0].to_dict()
    rows = [
        {**base, "recipe": name, "width": width, "seed": seed, "fingerprint": f"{name}-{width}-{seed}",
         "flops_6n": 1e5 * width**4, "flops_head": 2e4 * width**4, "structural_pair": False,
         "loss_validation": 4 * (width / 24) ** -(0.2 + 0.005 * place) + 0.01 * generator.normal()}
        for place, name in enumerate(names) for width in range(16, 176, 16) for seed in range(10)
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(tokens=1000, tokenizer_digest="t", evaluation_digest="e")
    pairs = [(names[0], name) for name in names[1:]]
    study = Study.model_validate({"title": "Large", "recipes": {name: {} for name in names}})
    fit = fit_study(table, pairs).to_json()
    return replace(results(), key="large-c", study=study, losses=table, fit=fit)
