"""What a study says that two commits can be compared by: numbers, each with its error and basis, and conclusions.

Losses are measured again from the table of losses, by one code for both commits; laws, crossovers and optima are taken
from the fits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, cast

from scipy import special

from crossover.runs.estimates import CONFIDENCE, Estimate
from crossover.runs.groups import Groups
from stages.diff.snapshot import StudySnapshot

Scale = Literal["linear", "log10", "log2"]
_NORMAL = float(special.ndtri(0.5 + CONFIDENCE / 2))


@dataclass(frozen=True)
class Quantity:
    """A number of a study, on the scale on which its error is even."""

    kind: str
    """loss, law, difference, crossover, optimum or claim"""
    name: str
    value: float
    se: float | None
    dof: float
    unit: str = ""
    scale: Scale = "linear"
    grid: str = ""
    """The widths or rates it rests on; another grid makes another quantity."""
    definition: str = ""
    """What a claim measures."""
    group: tuple[str, str, int] | None = None
    """Recipe, axes and width of a loss."""

    def shown(self, value: float) -> float:
        """From the scale of comparison back to its own."""
        return float({"linear": value, "log10": 10.0**value, "log2": 2.0**value}[self.scale])


@dataclass(frozen=True)
class Said:
    """All that a study says, as far as this version can read it."""

    quantities: dict[str, Quantity]
    """By kind and name."""
    conclusions: dict[str, str]
    """Verdicts of claims; of comparisons whether they cross, and who is better at the largest width."""
    unread: dict[str, str]
    """Files in the format of another version, by the kind of quantity that they hold."""


def read(study: StudySnapshot) -> Said:
    """Read what can be read: results of an older version may lack what this one looks for."""
    said = Said({}, {}, {})
    for file, kinds, quantities, conclusions in (
        ("losses.csv", ("loss",), _losses, lambda _: ()),
        ("fit.json", ("law", "difference", "crossover", "optimum"), _fits, _rankings),
        ("verdicts.json", ("claim",), _claims, _verdicts),
    ):
        try:
            found, drawn = list(quantities(study)), dict(conclusions(study))
        except (KeyError, TypeError, AttributeError):
            said.unread.update(dict.fromkeys(kinds, file))
        else:
            said.quantities.update({f"{item.kind} {item.name}": item for item in found})
            said.conclusions.update(drawn)
    return said


def _losses(study: StudySnapshot) -> Iterator[Quantity]:
    done = study.losses[study.losses["status"] == "done"]
    groups = Groups(
        {
            key: group["loss_validation"].to_numpy(float)
            for key, group in done.groupby(["recipe", "axes", "width"], sort=False)
        }
    )
    for key in groups.values:
        measured = groups.contrast({key: 1.0})
        recipe, axes, width = cast(tuple[str, str, int], key)
        name = f"{recipe}, width {width}" + (f", {axes}" if axes != "{}" else "")
        effect = measured.effect
        yield Quantity("loss", name, effect.value, effect.se, measured.dof, "nats", group=(recipe, axes, width))


def _fits(study: StudySnapshot) -> Iterator[Quantity]:
    fit = study.fit
    for recipe, laws in fit.get("laws", {}).items():
        widths = ", ".join(str(mean["width"]) for mean in fit["means"][recipe])
        for law in laws[:1]:
            for name, estimate in law["params"].items():
                if name != "A":  # the exponent's other face
                    yield _quantity("law", f"{recipe}, {name} of {law['formula']}", estimate, law["dof"], grid=widths)
    for pair in fit.get("comparisons", []):
        yield from _pair(pair)
    for recipe, found in fit.get("optima", {}).items():
        yield from _optima(recipe, found)


def _quantity(kind: str, name: str, estimate: dict[str, Any], dof: float, unit: str = "", grid: str = "") -> Quantity:
    return Quantity(kind, name, estimate["value"], estimate["se"], dof, unit, grid=grid)


def _pair(pair: dict[str, Any]) -> Iterator[Quantity]:
    name = f"{pair['b']} - {pair['a']}"
    for rung in pair["rungs"]:
        if not rung["structural"]:
            yield _quantity("difference", f"{name}, width {rung['name']}", rung["difference"], pair["dof"], "nats")
    place = pair["crossover"]
    if place is not None:
        ends = place["ci"] or [None, None]
        se = None if None in ends else math.log10(ends[1] / ends[0]) / 2 / _NORMAL
        widths = ", ".join(str(rung["name"]) for rung in pair["rungs"])
        yield Quantity("crossover", name, math.log10(place["value"]), se, math.inf, "FLOP", "log10", widths)


def _optima(recipe: str, found: dict[str, Any]) -> Iterator[Quantity]:
    for cell in found["cells"]:
        rates = ", ".join(f"{rate:.4g}" for rate in cell["lrs"])
        if cell["optimum"] is not None:
            name, place = f"{recipe}, width {cell['at']['width']:g}", math.log2(cell["optimum"])
            yield Quantity("optimum", name, place, _breadth(cell), math.inf, "peak LR", "log2", rates)
    if found["law"] is not None:
        widths = ", ".join(f"{cell['at']['width']:g}" for cell in found["cells"])
        law = found["law"]
        yield _quantity("optimum", f"{recipe}, exponent in width", law["params"]["p"], law["dof"], grid=widths)


def _claims(study: StudySnapshot) -> Iterator[Quantity]:
    """Effects of claims; group by group where that is how one is told."""
    for claim in study.claims:
        told = [(claim["id"], claim["effect"], claim["dof"])] if claim["effect"] is not None else [
            (f"{claim['id']}, {part['name']}", part["effect"], part["dof"])
            for part in claim.get("parts", []) if part.get("effect")
        ]  # fmt: skip
        for name, effect, dof in told:
            yield replace(_quantity("claim", name, effect, dof or 0.0, claim["unit"]), definition=claim["definition"])


def _verdicts(study: StudySnapshot) -> Iterator[tuple[str, str]]:
    for claim in study.claims:
        yield f"claim {claim['id']}", claim["verdict"]


def _rankings(study: StudySnapshot) -> Iterator[tuple[str, str]]:
    for pair in study.fit.get("comparisons", []):
        name = f"{pair['b']} - {pair['a']}"
        yield f"{name}, crossing", pair["verdict"]
        if pair["baseline"]:
            estimate = Estimate(**{key: pair["baseline"]["difference"][key] for key in ("value", "ci")})
            better = {1: f"{pair['a']} better", -1: f"{pair['b']} better", 0: "undecided"}[estimate.sign]
            yield f"{name}, at the largest common size", better


def _breadth(cell: dict[str, Any]) -> float:
    """How well an optimum is known, in octaves: half of what is within 0.25% of the best loss, or half a grid step.

    No seeds stand behind a bowl's vertex; nothing finer than this is claimed to have moved.
    """
    rates = sorted(math.log2(rate) for rate in cell["lrs"])
    step = min((b - a for a, b in pairwise(rates)), default=1.0)
    low, high = (math.log2(end) for end in cell["broad"])
    return max(high - low, step) / 2 / _NORMAL
