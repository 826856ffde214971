"""The page of a study of 2,000 cells: how long it takes to build, how large it is, how soon it answers in Chromium."""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from stages.report.page import render
from tests.report.test_browser import CHROMIUM, large


def main() -> None:
    """Print the three figures."""
    study = large()
    started = time.perf_counter()
    html = render([study], {"passed": True, "rules": []}, [], [])
    print(
        f"page of {len(study.losses):,} cells: built in {time.perf_counter() - started:.1f} s, {len(html) / 1e6:.2f} MB"
    )
    if CHROMIUM is None:
        sys.exit("no Chromium here; Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "index.html"
        path.write_text(html)
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
        started = time.perf_counter()
        page.goto(path.as_uri())
        page.locator("table th button").first.click()
        page.wait_for_selector("th[aria-sort]", state="attached")
        answers = time.perf_counter() - started
        page.wait_for_selector(".chart.drawn", state="attached")
        first = time.perf_counter() - started
        page.wait_for_selector("html[data-drawn=all]", state="attached")
        print(f"in Chromium: sorts after {answers:.2f} s, first figure after {first:.2f} s, all after "
              f"{time.perf_counter() - started:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
