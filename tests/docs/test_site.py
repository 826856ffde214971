"""The site: built with no network and no warning, every link there, and nothing asked of another host by its pages."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from ruamel.yaml import YAML

from tests.conftest import REPOSITORY
from tests.report.test_browser import CHROMIUM


def nav() -> list[str]:
    """Pages, in their order."""
    loaded = YAML(typ="safe").load(REPOSITORY / "mkdocs.yml")

    def pages(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        values = part.values() if isinstance(part, dict) else part
        return [name for value in values for name in pages(value)]

    return pages(loaded["nav"])


def test_every_page_has_a_place_and_is_named_for_programs() -> None:
    assert set(nav()) == {path.name for path in (REPOSITORY / "docs").glob("*.md")}
    named = re.findall(r"\]\(([^)]+)\)", (REPOSITORY / "docs/llms.txt").read_text())
    assert named == ["./" if name == "index.md" else name.removesuffix(".md") + "/" for name in nav()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout; a warning fails it (`strict`)."""
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_it_builds_without_a_warning_and_has_every_page(site: Path) -> None:
    for name in nav():
        place = site / ("index.html" if name == "index.md" else f"{name.removesuffix('.md')}/index.html")
        assert place.exists(), name
    assert (site / "llms.txt").exists()
    reference = (site / "python/index.html").read_text()
    assert all(f'id="crossover.api.{name}.{name}"' in reference for name in ("compare", "predict", "advise", "keep"))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_its_pages_ask_nothing_of_another_host(site: Path) -> None:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = opened.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for name in ("", "gallery/", "python/", "answers/"):
            page.goto((site / name / "index.html").as_uri())
            page.wait_for_timeout(300)
            broken = page.locator("img").evaluate_all("all => all.filter(one => !one.naturalWidth).map(one => one.src)")
            assert broken == []
        opened.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
