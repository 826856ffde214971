"""Verdicts in the words of the page and of the findings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossover.base.files import read_json

VERDICTS = Path("data/verdicts/verdicts.json")


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
    effect: str
    asked: str
    power: str
    basis: str
    why: str
    notes: str
    parts: str
    """Mean of each group behind the effect."""

    @property
    def summary(self) -> str:
        """Verdict, statement and effect in one line."""
        return f"{self.verdict}: {self.id} ({self.scale}), {self.statement}: {self.effect}, asked {self.asked}"


def read_verdicts() -> list[dict[str, Any]]:
    """verdicts.json. Raises `DamageError` where it is missing."""
    found: list[dict[str, Any]] = read_json(VERDICTS, "run `dvc repro verdicts`")
    return found


def lines(verdicts: list[dict[str, Any]]) -> list[Line]:
    """Every verdict in words."""
    return [_line(item) for item in verdicts]


def _line(item: dict[str, Any]) -> Line:
    copied = ("id", "scale", "study", "statement", "paper", "differs", "what", "verdict", "why")
    return Line(
        **{name: item[name] for name in copied},
        effect=_effect(item),
        asked=_asked(item),
        power=_power(item),
        basis=f"{item['cells']} cells, {item['core_hours']:.2g} core-hours",
        notes="; ".join(item["notes"]),
        parts=", ".join(f"{part['name']} {part['value']:+.3g}" for part in item["parts"]),
    )


def _effect(item: dict[str, Any]) -> str:
    effect = item["effect"]
    if effect is None:
        return "–"
    values = [effect["value"], *(effect["ci"] or ())]
    value, *ends = (f"{end + item['centre']:+.3g}" if end is not None else "no bound" for end in values)
    return f"{value}{f' [{ends[0]}, {ends[1]}]' if ends else ', no interval'} {item['unit']}"


def _asked(item: dict[str, Any]) -> str:
    """What the claim expects, in the unit of the effect."""
    if item["tolerance"] is None:
        return "–"
    low, high = item["centre"] - item["tolerance"], item["centre"] + item["tolerance"]
    return {
        "above": f"above {high:.3g}",
        "below": f"below {low:.3g}",
        "not below": f"above {low:.3g}",
        "none": f"within {low:.3g} and {high:.3g}",
    }[item["expects"]]


def _power(item: dict[str, Any]) -> str:
    if item["power"] is None:
        return "–"
    return f"{item['power']:.2f} at {item['power_at'] + item['centre']:.3g}"


def counts(verdicts: list[dict[str, Any]], powered: float) -> str:
    """How many came out how, in one sentence."""
    by = {name: sum(item["verdict"] == name for item in verdicts) for name in ("SUPPORTED", "REFUTED", "INCONCLUSIVE")}
    strong = sum(item["power"] is not None and item["power"] >= powered for item in verdicts)
    return (
        f"{len(verdicts)} claims: {by['SUPPORTED']} supported, {by['REFUTED']} refuted, {by['INCONCLUSIVE']} "
        f"inconclusive; {strong} had a power of {powered:.0%} or more."
    )
