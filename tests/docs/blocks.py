"""Fenced blocks of a page under docs/, so that a test can do what the page says."""

import re
from pathlib import Path

from tests.conftest import REPOSITORY

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fences(page: str) -> list[tuple[str, str]]:
    """Language (empty for what a program prints) and text of the page's blocks, in order."""
    return _FENCE.findall(Path(REPOSITORY / "docs" / page).read_text())


def blocks(page: str) -> dict[str, list[str]]:
    """The page's blocks by language, in order."""
    found: dict[str, list[str]] = {}
    for language, body in fences(page):
        found.setdefault(language, []).append(body)
    return found
