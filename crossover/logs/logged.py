"""A logged run, whatever wrote it: values known once, and curves over the steps of training."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Scalar = bool | int | float | str
_LONGEST = 300
"""Characters of a text worth a column; longer ones are prompts, notes or whole files."""

_SHOWN = 5


@dataclass
class LoggedRun:
    """One training run as its log tells it."""

    name: str
    source: Path
    facts: dict[str, Scalar] = field(default_factory=dict)
    """Settings and other values known once."""
    curves: dict[str, dict[float, float]] = field(default_factory=dict)
    """Per metric its value by step, in the order of the steps."""
    notes: list[str] = field(default_factory=list)
    """What the reader wants to be known, such as a log that was cut."""

    def log(self, metric: str, step: float, value: float) -> None:
        """Add a point; what was logged later at the same step counts."""
        self.curves.setdefault(metric, {})[step] = value

    def tidy(self) -> None:
        """Bring the points of every curve into the order of their steps, and names and texts into one line each."""
        self.name = one_line(self.name)
        self.facts = {
            one_line(name): one_line(value) if isinstance(value, str) else value for name, value in self.facts.items()
        }
        self.curves = {one_line(name): dict(sorted(points.items())) for name, points in self.curves.items()}


def one_line(text: str) -> str:
    """A text with a blank for every character that cannot be printed, such as a line's end or half a surrogate."""
    return text if text.isprintable() else "".join(mark if mark.isprintable() else " " for mark in text)


def flatten(value: Any, prefix: str = "") -> dict[str, Scalar]:
    """The scalars of nested mappings by their path, as `optimizer.lr`; lists, nulls and long texts are left out."""
    if isinstance(value, dict):
        found: dict[str, Scalar] = {}
        for key, item in value.items():
            found |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(value, str) and len(value) > _LONGEST:
        return {}
    return {prefix: value} if isinstance(value, (bool, int, float, str)) and prefix else {}


def as_number(value: Any) -> float | None:
    """A number as a float, NaN and infinity included (also as the texts JSON writers use); None for anything else."""
    if isinstance(value, str) and value.lower() in ("nan", "infinity", "-infinity", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def parse_json(content: str | bytes) -> Any:
    """JSON, or `ValueError` whatever is wrong with it."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def name_apart(runs: Iterable[LoggedRun]) -> list[LoggedRun]:
    """The runs made tidy, those of equal names told apart by a number."""
    runs, seen = list(runs), set[str]()
    for run in runs:
        run.tidy()
        name, number = run.name, 1
        while run.name in seen:
            number += 1
            run.name = f"{name}#{number}"
        seen.add(run.name)
    return runs
