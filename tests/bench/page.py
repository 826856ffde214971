"""The page of a study of 2,000 cells: how long it takes to build, how large it is, how soon it answers in Chromium."""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from stages.report.page import render
from tests.bench.keeping import keep
from tests.report.test_browser import CHROMIUM, large
from tests.report.test_page import PARAMS, TOKENS


def main() -> None:
    """Measure, print and keep."""
    if CHROMIUM is None:
        sys.exit("no Chromium here; Debian: apt-get install chromium")
    study = large()
    started = time.perf_counter()
    html = render([study], TOKENS, [], [], PARAMS)
    figures = {"build_seconds": time.perf_counter() - started, "megabytes": len(html) / 1e6, **opened(html)}
    print(
        f"page of {len(study.losses):,} cells:", *(f"{name} {value:.2f}" for name, value in figures.items()), sep="\n  "
    )
    keep("page", figures)


def opened(html: str) -> dict[str, float]:
    """Seconds after opening until a fold opens at a click, until the first figure is drawn, until all in sight are."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "index.html"
        path.write_text(html)
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
        started = time.perf_counter()

        def since(selector: str) -> float:
            page.wait_for_selector(selector, state="attached")
            return time.perf_counter() - started

        page.goto(path.as_uri())
        page.locator("summary").first.click()
        return {
            "unfolds_seconds": since("details[open]"), "first_figure_seconds": since(".chart.drawn"),
            "all_figures_seconds": since("html[data-drawn=all]"),
        }  # fmt: skip


if __name__ == "__main__":
    main()
