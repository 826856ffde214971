"""Verdicts in the words of the terminal, the page and the findings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossover.base.files import read_json
from crossover.base.numerals import short
from stages.verdicts.judge import POWERED

VERDICTS = Path("data/verdicts/verdicts.json")
_ORDER = ("REFUTED", "MIXED", "SUPPORTED", "INCONCLUSIVE")


@dataclass(frozen=True)
class Line:
    """One claim in words."""

    id: str
    scale: str
    study: str
    statement: str
    paper: str
    differs: str
    what: str
    verdict: str
    direction: str
    """Of the effect, with what it is told against."""
    size: str
    effect: str
    """With its 90% interval; group by group where groups differ."""
    published: str
    """The paper's own number, in the same unit."""
    interest: str
    power: str
    basis: str
    why: str
    notes: str
    parts: str
    """Mean of each group behind the effect."""

    brief: str
    """The effect for a narrow column."""

    @property
    def summary(self) -> str:
        """Verdict, statement and both its parts in one line."""
        said = f"{self.verdict}: {self.id} ({self.scale}), {self.statement}: {self.effect}"
        return f"{said}; direction {self.direction}, size {self.size} ({self.interest})"


def read_verdicts() -> list[dict[str, Any]]:
    """verdicts.json. Raises `DamageError` where it is missing."""
    found: list[dict[str, Any]] = read_json(VERDICTS, "run `dvc repro verdicts`")
    return found


def lines(verdicts: list[dict[str, Any]]) -> list[Line]:
    """Every verdict in words, what is refuted first."""
    return [_line(item) for item in sorted(verdicts, key=lambda item: _ORDER.index(item["verdict"]))]


def _line(item: dict[str, Any]) -> Line:
    copied = ("id", "scale", "study", "statement", "paper", "differs", "what", "verdict", "size", "why")
    return Line(
        **{name: item[name] for name in copied},
        direction=_direction(item),
        effect=_effect(item),
        brief=_effect(item) if item["effect"] is not None else ", ".join(_told(part) for part in item["parts"]) or "–",
        published="" if item["published"] is None else f"{short(item['published'], sign='+')} {item['unit']}",
        interest="–" if not item["interest"] else short(item["interest"]),
        power=_power(item),
        basis=_basis(item),
        notes="; ".join(item["notes"]),
        parts=", ".join(map(_part, item["parts"])),
    )


def _direction(item: dict[str, Any]) -> str:
    known = item["direction"] in ("lower", "higher")
    return f"{item['direction']} than {item['centre']:g}" if known and item["centre"] else str(item["direction"])


def _effect(item: dict[str, Any]) -> str:
    if item["effect"] is not None:
        return f"{_span(item['effect'], item['centre'])} {item['unit']}"
    if any(part["verdict"] for part in item["parts"]):
        each = (f"{part['name']} {_span(part['effect'], item['centre'])}" for part in item["parts"])
        return f"{', '.join(each)} {item['unit']}"
    return "–"


def _span(effect: dict[str, Any], centre: float) -> str:
    values = [effect["value"], *(effect["ci"] or ())]
    value, *ends = (short(end + centre, sign="+") if end is not None else "no bound" for end in values)
    return f"{value}{f' [{ends[0]}, {ends[1]}]' if ends else ', no interval'}"


def _part(part: dict[str, Any]) -> str:
    return f"{part['name']} {short(part['value'], sign='+')}" + (f" {part['verdict']}" if part["verdict"] else "")


def _told(part: dict[str, Any]) -> str:
    return f"{part['name'].removeprefix('width ')}: {part['verdict'].lower()}" if part["verdict"] else ""


def _power(item: dict[str, Any]) -> str:
    if item["power"] is None:
        return "–"
    said = f"{item['power']:.2f} at {short(item['power_at'] + item['centre'])}"
    if item["power_published"] is None:
        return said
    return f"{said}, {item['power_published']:.2f} at the paper's {short(item['published'])}"


def _basis(item: dict[str, Any]) -> str:
    """What the verdict rests on."""
    said = [f"{item['cells']} cells, {short(item['machine_hours'], 2)} hours of the scale's machine"]
    if item["interest"] is not None:
        said.append(f"of interest: {short(item['interest'])} {item['unit']}, {item['interest_from']}")
    if item["detectable"] is not None:
        said.append(f"detectable: {short(item['detectable'])}")
    if item["text_se"] is not None and item["effect"] is not None and item["effect"]["se"]:
        said.append(
            f"standard error {short(item['effect']['se'])}, of which the text's choice {short(item['text_se'])}"
        )
    if item["alike"] is not None:
        said.append(f"its groups are alike: p {short(item['alike'], 2)}")
    return "; ".join(said)


def counts(verdicts: list[dict[str, Any]]) -> str:
    """How many came out how, how many of them chance may have made, and how many would hold all at once."""
    by = {name: sum(item["verdict"] == name for item in verdicts) for name in _ORDER}
    strong = sum(item["power"] is not None and item["power"] >= POWERED for item in verdicts)
    asked = sum(item["p"] is not None for item in verdicts)
    kept = sum(item["holm"] for item in verdicts)
    return (
        f"{len(verdicts)} claims: {by['SUPPORTED']} supported, {by['REFUTED']} refuted, {by['MIXED']} different from "
        f"group to group, {by['INCONCLUSIVE']} inconclusive; {strong} had a power of {POWERED:.0%} or more at the "
        f"smallest effect of interest. A verdict is wrong by chance in at most 5%: of the {asked} that could be asked "
        f"up to {0.05 * asked:.1f}; {kept} hold all at once (Holm)."
    )
