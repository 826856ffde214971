"""Hints for messages about names that are not known."""

import difflib


def nearest(name: str, known: list[str]) -> str:
    """A hint: the known name closest to `name`, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"
