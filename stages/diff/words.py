"""A diff as Markdown, for a pull request or a page of Prefect, and the pieces that a terminal shows too."""

import re
from collections.abc import Iterator
from typing import Any

from crossover.base.numerals import short
from stages.diff.comparing import Cells, Diff, Moved

_MANY = 60  # rows of one table
_LONG = 100  # characters of a value
_HARMLESS = {
    "&": "&amp;", "<": "&lt;", "@": "&#64;", "](": "]&#40;", "][": "]&#91;", "]:": "]&#58;", "://": ":&#47;&#47;",
    "www.": "www&#46;",
}  # fmt: skip
"""Letters that Markdown takes for more, and what it shows as them."""


def markdown(diff: Diff) -> str:
    """Headline, verdicts, what moved, what cannot be compared, cells and parameters."""
    parts = [f"### Results: {diff.old} → {diff.new}", diff.headline(), *(f"Note: {note}." for note in diff.notes)]
    if diff.changed:
        rows = [[item.study, item.what, str(item.old), f"**{item.new}**", item.because] for item in diff.changed]
        parts += ["#### Verdicts that changed", _table(["study", "verdict of", "before", "now", "moved by"], rows)]
    if moved := [item for item in diff.quantities if item.status == "moved"]:
        rows = [[item.study, f"{item.kind}: {item.name}", *numbers(item)] for item in moved]
        heads = ["study", "moved", "before", "now", "difference [90%]"]
        parts += ["#### Quantities that moved", _table(heads, rows)]
    rest = [*apart(diff), *lone_verdicts(diff), *cells(diff), *params(diff)]
    if rest:
        parts.append("\n".join(f"* {_around_code(line)}" for line in rest))
    return "\n\n".join(parts) + "\n"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows[:_MANY]]
    more = [f"\n… and {len(rows) - _MANY} more"] if len(rows) > _MANY else []
    return "\n".join(["| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines] + more)


def _around_code(line: str) -> str:
    """A line of which what stands in backticks stays as it is, if they are paired."""
    parts = re.sub("`+", "`", line).split("`")
    if len(parts) % 2 == 0:
        return _escaped(line)
    return _one_line("`".join(part if place % 2 else _harmless(part) for place, part in enumerate(parts)))


def _escaped(text: str) -> str:
    """Text on one line that ends no cell, opens no element, calls nobody by name and leads nowhere."""
    return _one_line(_harmless(text).replace("|", "\\|").replace("`", "&#96;"))


def _harmless(text: str) -> str:
    for letters, instead in _HARMLESS.items():
        text = text.replace(letters, instead)
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())


def numbers(item: Moved) -> list[str]:
    """Before, now and the difference with its interval, in words; a place on a log scale as a factor."""
    old, new = ("–" if value is None else short(value, 4) for value in (item.old, item.new))
    if item.difference is None:
        return [old, new, "–"]
    value, ends = item.difference.value, item.difference.ci
    base = {"log10": 10.0, "log2": 2.0}.get(item.scale)
    sizes = [end for end in (value, *(ends or ())) if end is not None]
    words = [f"× {short(base**size)}" if base else short(size, sign="+") for size in sizes]
    span = f" [{words[1]}, {words[2]}]" if len(words) == 3 else ""
    return [old, new, f"{words[0]}{span} {'' if base else item.unit}".rstrip()]


def apart(diff: Diff) -> Iterator[str]:
    """What cannot be compared or has no interval, counted by study and reason; studies that came or went."""
    counts: dict[tuple[str, str], int] = {}
    for item in diff.quantities:
        if item.status in ("not comparable", "no interval", "new", "gone"):
            why = f"{item.status}: {item.why}" if item.why else item.status
            counts[item.study, why] = counts.get((item.study, why), 0) + 1
    for (study, why), count in counts.items():
        yield f"{study}: {count} {'quantity' if count == 1 else 'quantities'} {why}"


def lone_verdicts(diff: Diff) -> Iterator[str]:
    """How many verdicts were drawn on one side alone, by study; those that are gone by name."""
    for study in dict.fromkeys(item.study for item in diff.verdicts if not item.changed):
        here = [item for item in diff.verdicts if item.study == study]
        if fresh := [item for item in here if item.old is None]:
            yield f"{study}: {_count(len(fresh), 'verdict')} new"
        if gone := [f"{item.what} ({item.old})" for item in here if item.new is None]:
            yield f"{study}: {_count(len(gone), 'verdict')} gone: {'; '.join(gone)}"


def cells(diff: Diff) -> Iterator[str]:
    """Cells that came, went or were trained again, and why."""
    for item in diff.cells:
        yield f"{item.study}: {'; '.join(_cells(item))}"


def _cells(item: Cells) -> Iterator[str]:
    changes = {"added": item.added, "removed": item.removed, "named otherwise": item.renamed}
    changes |= {f"under another fingerprint, different in {reason}": names for reason, names in item.retrained.items()}
    for what, names in changes.items():
        if names:
            yield f"{_count(len(names), 'cell')} {what} ({_some(names)})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}; … {names[-1]}"


def params(diff: Diff) -> Iterator[str]:
    """Parameters that changed."""
    shown = list(diff.params.items())[:_MANY]
    for name, (old, new) in shown:
        yield f"`{name}`: {_value(old)} → {_value(new)}"
    if len(diff.params) > _MANY:
        yield f"… and {len(diff.params) - _MANY} more parameters"


def _value(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
