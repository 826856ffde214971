"""Hints for messages: names that are meant, and the first few of many."""

import difflib

_SHOWN = 5


def nearest(name: str, known: list[str]) -> str:
    """A hint: the known name closest to `name`, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
