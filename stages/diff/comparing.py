"""Two snapshots against each other: every quantity with the interval of its difference, cells, parameters, verdicts.

A quantity has moved when the 90% interval of its difference excludes zero: both commits' errors together, degrees of
freedom after Welch and Satterthwaite. Runs that both commits share make that interval too wide, never too narrow.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from stages.diff.quantities import Quantity, quantities
from stages.diff.snapshot import Snapshot, StudySnapshot
from stages.fit.estimates import CONFIDENCE, Estimate, Serialisable, interval

Status = Literal["identical", "within noise", "moved", "not comparable", "no interval", "new", "gone"]
_KEY = ["recipe", "axes", "width", "seed"]
_TEXT = {
    "tokenizer_digest": "tokenizer", "data_digest": "training text", "evaluation_digest": "held-out text or evaluation",
    "tokens": "tokens per cell", "unique_tokens": "distinct tokens per cell",
}  # fmt: skip
_COUNTING = {"n_nonembedding": "parameter count", "flops_6n": "FLOP count"}
_SETTINGS = ("lr", "schedule", "warmup", "beta1", "beta2", "weight_decay", "optimizer", "l2", "clip", "normalise",
             "activation", "hidden", "qk_norm", "precision", "batch", "depth", "heads", "seq_len", "steps")  # fmt: skip


@dataclass(frozen=True)
class Moved:
    """One quantity before and after; `difference` is on the scale on which its error is even."""

    study: str
    kind: str
    name: str
    unit: str
    scale: str
    old: float | None
    new: float | None
    difference: Estimate | None
    status: Status
    why: str = ""
    """What makes the two not comparable."""


@dataclass(frozen=True)
class Cells:
    """Cells of a study that are new, gone, or trained under another fingerprint, with what made them differ."""

    study: str
    added: list[str]
    removed: list[str]
    retrained: dict[str, list[str]]
    """By reason: the columns that differ, or the training code."""


@dataclass(frozen=True)
class Verdict:
    """A conclusion that is not what it was; None where it was not drawn."""

    study: str
    what: str
    old: str | None
    new: str | None

    @property
    def changed(self) -> bool:
        """Whether it was drawn before and after, and differently."""
        return self.old is not None and self.new is not None


@dataclass(frozen=True)
class Diff(Serialisable):
    """Everything between two commits of results."""

    old: str
    new: str
    quantities: list[Moved]
    cells: list[Cells]
    verdicts: list[Verdict]
    params: dict[str, tuple[Any, Any]]
    """Values of params.yaml by dotted name: before, after; None where there was none."""
    notes: list[str] = field(default_factory=list)

    def count(self, status: Status) -> int:
        """How many quantities came out so."""
        return sum(item.status == status for item in self.quantities)

    @property
    def identical(self) -> bool:
        """Whether the two say the same."""
        return not self.verdicts and all(item.status == "identical" for item in self.quantities)

    def of(self, study: str) -> "Diff":
        """What concerns one study; parameters stay."""
        return replace(
            self,
            quantities=[item for item in self.quantities if item.study == study],
            cells=[item for item in self.cells if item.study == study],
            verdicts=[item for item in self.verdicts if item.study == study],
        )

    @property
    def changed(self) -> list[Verdict]:
        """Verdicts that were drawn before and now, and differ."""
        return [item for item in self.verdicts if item.changed]

    def headline(self) -> str:
        """One sentence, with what chance alone would do."""
        if self.count("new") == len(self.quantities):
            return f"{self.new} has the first results: {len(self.quantities)} quantities."
        if self.identical:
            return f"{self.old} and {self.new} say the same: {len(self.quantities)} quantities are identical."
        moved, still, apart = (self.count(status) for status in ("moved", "within noise", "not comparable"))
        chance = (1 - CONFIDENCE) * (moved + still)
        changed = len(self.changed)
        verdicts = f"{changed or 'No'} verdict{'s' * (changed > 1)} changed"
        return (
            f"{verdicts}. Of {moved + still} quantities measured anew {moved} moved, where chance alone would move "
            f"about {chance:.0f}; {apart} cannot be compared, {self.count('identical')} are identical."
        )


def compare(old: Snapshot, new: Snapshot) -> Diff:
    """Compare two snapshots."""
    shared = [key for key in new.studies if key in old.studies]
    codes = "fitting code" if old.fit_code != new.fit_code else ""
    rows = [row for key in shared for row in _quantities(key, old.studies[key], new.studies[key], codes)]
    for side, other, status in ((new, old, "new"), (old, new, "gone")):
        rows += [
            row for key in side.studies if key not in other.studies for row in _lone(key, side.studies[key], status)
        ]
    return Diff(
        old=old.name,
        new=new.name,
        quantities=rows,
        cells=[found for key in shared if (found := _cells(key, old.studies[key], new.studies[key]))],
        verdicts=[item for key in shared for item in _verdicts(key, old.studies[key], new.studies[key])],
        params={
            name: (old.params.get(name), new.params.get(name))
            for name in dict.fromkeys([*new.params, *old.params])
            if old.params.get(name) != new.params.get(name)
        },
        notes=[f"the {codes} differs: laws, crossovers and optima are compared only where it gave the same"]
        if codes
        else [],
    )


def _quantities(key: str, old: StudySnapshot, new: StudySnapshot, codes: str) -> Iterator[Moved]:
    before, after = quantities(old), quantities(new)
    matched = old.losses.merge(new.losses, on=_KEY, suffixes=("", "_new"))
    text, counting = _differing(matched, _TEXT), _differing(matched, _COUNTING)
    for name in dict.fromkeys([*after, *before]):
        a, b = before.get(name), after.get(name)
        if a is None or b is None:
            yield _one(key, a, b)
            continue
        reasons = [*text, *((*counting, codes) if b.fitted else ()), *(["grid"] if a.grid != b.grid else [])]
        yield _two(key, a, b, [reason for reason in reasons if reason])


def _differing(matched: pd.DataFrame, columns: dict[str, str]) -> list[str]:
    """Names of columns in which cells of the same place differ; one that only a commit has is another definition."""
    return [
        words
        for column, words in columns.items()
        if column in matched and f"{column}_new" in matched and (matched[column] != matched[f"{column}_new"]).any()
    ]


def _lone(key: str, study: StudySnapshot, status: str) -> Iterator[Moved]:
    for item in quantities(study).values():
        yield _one(key, *((item, None) if status == "gone" else (None, item)))


def _one(key: str, a: Quantity | None, b: Quantity | None) -> Moved:
    item = b or a
    assert item is not None
    old, new = (None if side is None else side.shown(side.value) for side in (a, b))
    return Moved(key, item.kind, item.name, item.unit, item.scale, old, new, None, "gone" if b is None else "new")


def _two(key: str, a: Quantity, b: Quantity, reasons: list[str]) -> Moved:
    base = Moved(key, b.kind, b.name, b.unit, b.scale, a.shown(a.value), b.shown(b.value), None, "identical")
    if a.value == b.value and not reasons:
        return base
    if reasons:
        return _replaced(base, None, "not comparable", ", ".join(dict.fromkeys(reasons)))
    change = _difference(a, b)
    if change.ci is None:
        return _replaced(base, change, "no interval", "there are no repeats to tell noise by")
    return _replaced(base, change, "moved" if change.sign else "within noise", "")


def _replaced(base: Moved, difference: Estimate | None, status: Status, why: str) -> Moved:
    return Moved(base.study, base.kind, base.name, base.unit, base.scale, base.old, base.new, difference, status, why)


def _difference(a: Quantity, b: Quantity) -> Estimate:
    value = b.value - a.value
    if a.se is None or b.se is None:
        return Estimate(value)
    variances = [side.se**2 for side in (a, b) if side.se is not None]
    total = sum(variances)
    if total == 0:
        return Estimate(value)
    spread = sum(v**2 / side.dof for v, side in zip(variances, (a, b), strict=True))
    return interval(value, math.sqrt(total), total**2 / spread if spread > 0 else 1e9)


def _cells(key: str, old: StudySnapshot, new: StudySnapshot) -> Cells | None:
    a, b = (study.losses.set_index(_KEY) for study in (old, new))
    both = a.join(b, how="inner", suffixes=("", "_new"))
    again = both[both["fingerprint"] != both["fingerprint_new"]].drop_duplicates("fingerprint_new")
    retrained: dict[str, list[str]] = {}
    for index, row in again.iterrows():
        retrained.setdefault(_reason(row), []).append(_cell_name(index))
    found = Cells(
        study=key,
        added=_names_beyond(b, a),
        removed=_names_beyond(a, b),
        retrained=retrained,
    )
    return found if found.added or found.removed or found.retrained else None


def _names_beyond(rows: pd.DataFrame, others: pd.DataFrame) -> list[str]:
    """Cells in places that the others do not have; one that two recipes share is named once."""
    alone = rows.loc[rows.index.difference(others.index)]
    return [_cell_name(index) for index in alone.drop_duplicates("fingerprint").index]


def _reason(row: "pd.Series[Any]") -> str:
    names = [name for name in (*_TEXT, *_SETTINGS) if f"{name}_new" in row and _unlike(row[name], row[f"{name}_new"])]
    return ", ".join(_TEXT.get(name, name) for name in names) or "training code"


def _unlike(a: Any, b: Any) -> bool:
    return a != b and not (pd.isna(a) and pd.isna(b))


def _cell_name(index: Any) -> str:
    recipe, axes, width, seed = index
    return f"{recipe}, width {width}, " + (f"{axes}, " if axes != "{}" else "") + f"seed {seed}"


def _verdicts(key: str, old: StudySnapshot, new: StudySnapshot) -> Iterator[Verdict]:
    """Of claims; and of comparisons: do they cross, and who is better at the largest width."""
    before, after = (dict(_conclusions(study)) for study in (old, new))
    for what in dict.fromkeys([*after, *before]):
        if before.get(what) != after.get(what):
            yield Verdict(key, what, before.get(what), after.get(what))


def _conclusions(study: StudySnapshot) -> Iterator[tuple[str, str]]:
    for claim in study.claims:
        yield f"claim {claim['id']}", claim["verdict"]
    for pair in study.fit.get("comparisons", []):
        name = f"{pair['b']} - {pair['a']}"
        yield f"{name}, crossing", pair["verdict"]
        if pair["baseline"]:
            estimate = Estimate(**{key: pair["baseline"]["difference"][key] for key in ("value", "ci")})
            better = {1: f"{pair['a']} better", -1: f"{pair['b']} better", 0: "undecided"}[estimate.sign]
            yield f"{name}, at the largest common size", better


def to_json_text(diff: Diff) -> str:
    """As `--json` prints it."""
    return json.dumps(diff.to_json(), indent=1, allow_nan=False)
