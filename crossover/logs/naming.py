"""Settings that a sweep wrote into its runs' names, as `lr5e-02_wd0.1`, by a pattern that is stated."""

import re
from collections.abc import Sequence

from crossover.base.errors import UsageError
from crossover.base.hints import some
from crossover.logs.logged import LoggedRun
from crossover.runs.text import number

_PLACE = re.compile(r"\{(\w+)\}")


def read_names(runs: Sequence[LoggedRun], pattern: str) -> None:
    """Add what stands in the places of a pattern, as `lr{lr}_wd{decay}`, to the settings of each run.

    Anything may stand before and after. Raises `UsageError` for a pattern without a place and where no name fits.
    """
    parts = _PLACE.split(pattern)
    if len(parts) < 3 or not any(parts[::2]):
        raise UsageError(f"--names '{pattern}' names no place; write it as lr{{lr}}_wd{{decay}}")
    places = [f"(?P<{part}>[^/]+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)]
    try:
        reader = re.compile("".join(places) + (r"(?=$|[^\w.+-])" if not parts[-1] else ""))
    except re.error as error:
        raise UsageError(f"--names '{pattern}' is no pattern ({error}); name each place once") from None
    strange = []
    for run in runs:
        match = reader.search(run.name)
        if match is None:
            strange.append(run.name)
            continue
        for name, text in match.groupdict().items():
            value = number(text)
            run.facts[name] = text if value is None else value
    if len(strange) == len(runs):
        raise UsageError(f"--names '{pattern}' fits none of the runs' names: {some(strange)}")
    if strange:
        runs[0].notes.append(f"--names fits not: {some(strange)}")
