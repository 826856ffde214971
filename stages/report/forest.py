"""Claims as a forest plot: each effect with its interval against the smallest effect of interest, in place of a table.

An effect is shown as a multiple of the smallest one of interest, so that claims of all units share one axis; it is
linear near zero and logarithmic beyond. Claims without such an effect are shown in half-widths of their own interval.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stages.verdicts.words import Line, lines

WIDTH, LINE = 220, 11
"""Of a picture and of one mark in it, in pixels."""
_MOST = 40.0  # multiples at the edge


@dataclass(frozen=True)
class Mark:
    """An interval with its value, in pixels from the left; y from the top."""

    low: float
    value: float
    high: float
    y: float
    verdict: str


@dataclass(frozen=True)
class Row:
    """A claim: its words, its marks, and what it sorts by."""

    line: Line
    marks: list[Mark]
    height: float
    band: bool
    """Whether a smallest effect of interest is drawn."""
    place: float
    """The effect in its multiples."""


def at(multiple: float) -> float:
    """Pixels of a multiple of the smallest effect of interest."""
    share = math.copysign(math.log1p(abs(multiple)) / math.log1p(_MOST), multiple)
    return WIDTH / 2 * (1 + max(-1.0, min(1.0, share)))


def forest(verdicts: Sequence[dict[str, Any]]) -> dict[str, list[Row]]:
    """Rows by study, what is refuted first in each."""
    by: dict[str, list[Row]] = {}
    items = {(item["id"], item["scale"]): item for item in verdicts}
    for line in lines(list(verdicts)):
        item = items[line.id, line.scale]
        by.setdefault(f"{line.study}-{line.scale}", []).append(_row(line, item))
    return by


def _row(line: Line, item: dict[str, Any]) -> Row:
    shown = list(_effects(item))
    unit = item["interest"] or max((_half(effect) for effect, _ in shown), default=1.0) or 1.0
    marks = []
    for i, (effect, verdict) in enumerate(shown):
        low, high = effect["ci"] or (effect["value"], effect["value"])
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        left, middle, right = (at(end / unit) for end in (low, effect["value"], high))
        marks.append(Mark(left, middle, right, LINE * (i + 0.5), verdict.lower()))
    place = shown[0][0]["value"] / unit if shown else 0.0
    return Row(line, marks, LINE * max(len(marks), 1), bool(item["interest"]), place)


def _effects(item: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The effect, or that of every group where groups differ."""
    if item["effect"] is not None:
        yield item["effect"], item["verdict"]
        return
    yield from ((part["effect"], part["verdict"]) for part in item["parts"] if part["effect"])


def _half(effect: dict[str, Any]) -> float:
    low, high = effect["ci"] or (None, None)
    return float(abs(effect["value"]) if low is None or high is None else (high - low) / 2)
