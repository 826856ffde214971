"""Fenced blocks of a page under docs/, so that a test can do what the page says."""

import re
from pathlib import Path

from tests.conftest import REPOSITORY

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> dict[str, list[str]]:
    """The page's blocks by language, in order."""
    text, found = Path(REPOSITORY / "docs" / page).read_text(), {}
    for language, body in _FENCE.findall(text):
        found.setdefault(language, []).append(body)
    return found
