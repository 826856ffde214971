"""Two snapshots against each other: every quantity with the interval of its difference, cells, parameters, verdicts.

A quantity has moved when the 90% interval of its difference excludes zero. Losses are differenced seed by seed where
the seeds are the same, and told by the noise of their own width (`stages.diff.shifts`); of other quantities both
commits' errors are taken together, degrees of freedom after Welch and Satterthwaite. Runs that both commits share make
that interval too wide, never too narrow.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import pandas as pd

from crossover.runs.estimates import CONFIDENCE, Estimate, Serialisable, interval
from stages.diff.quantities import Quantity, Said, read
from stages.diff.shifts import Shifts, shifts
from stages.diff.snapshot import Snapshot, StudySnapshot

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
    """Cells of a study that are new, gone, named otherwise, or trained anew, with what made them differ."""

    study: str
    added: list[str]
    removed: list[str]
    renamed: list[str]
    """The same runs in another place."""
    retrained: dict[str, list[str]]
    """By reason: the columns that differ, or the training code."""


@dataclass(frozen=True)
class Verdict:
    """A conclusion that is not what it was; None where it was not drawn."""

    study: str
    what: str
    old: str | None
    new: str | None
    because: str = ""
    """What moved it: the rule (what is claimed, or the code that measures and judges), the runs, or either."""

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
    """Values of params.yaml by dotted name: before, after; None where there was none. Branches count their values."""
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
        anew = (
            f"Of {moved + still} quantities measured anew {moved} moved, where chance would move {chance:.0f} at most"
            if moved + still
            else "Nothing was measured anew on the same basis"
        )
        return f"{verdicts}. {anew}; {apart} cannot be compared, {self.count('identical')} are identical."


def compare(old: Snapshot, new: Snapshot) -> Diff:
    """Compare two snapshots."""
    keys = list(dict.fromkeys([*new.studies, *old.studies]))
    codes = _codes(old, new)
    said = {key: (_said(key, old), _said(key, new)) for key in keys}
    shared = [key for key in new.studies if key in old.studies]
    return Diff(
        old=old.name,
        new=new.name,
        quantities=[row for key in keys for row in _quantities(key, *said[key], old, new, codes)],
        cells=[found for key in shared if (found := _cells(key, old.studies[key], new.studies[key]))],
        verdicts=[item for key in keys for item in _verdicts(key, *said[key], _movers(key, old, new, codes))],
        params=_params(old.params, new.params),
        notes=[*_notes(codes), *_unread(said, old, new)],
    )


def _said(key: str, side: Snapshot) -> Said:
    return read(side.studies[key]) if key in side.studies else Said({}, {}, {})


def _params(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Leaves that differ; a branch that one side lacks as a whole is one entry."""
    branches = [{name[:end] for name in side for end in _ends(name)} for side in (old, new)]
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) == new.get(name):
            continue
        top = next((name[:end] for end in _ends(name) if not all(name[:end] in side for side in branches)), name)
        counts = [sum(leaf == top or leaf.startswith(f"{top}.") for leaf in side) for side in (old, new)]
        if max(counts) > 1:
            was, now = (f"{count} values" if count else None for count in counts)
            found[top] = was, now
        else:
            found[name] = old.get(name), new.get(name)
    return found


def _ends(name: str) -> list[int]:
    """Where the dotted parts of a name end."""
    return [*(place for place, letter in enumerate(name) if letter == "."), len(name)]


def _codes(old: Snapshot, new: Snapshot) -> dict[str, list[str]]:
    """Code that differs, by the kind of quantity that rests on it."""
    fit, judge = (old.codes[name] != new.codes[name] for name in ("fit", "verdicts"))
    changed = {kind: ["fitting code"] for kind in ("law", "difference", "crossover", "optimum") if fit}
    names = [name for name, differs in (("fitting code", fit), ("judging code", judge)) if differs]
    return changed | ({"claim": names} if names else {})


def _notes(codes: dict[str, list[str]]) -> list[str]:
    if not codes:
        return []
    what = " and ".join(dict.fromkeys(name for names in codes.values() for name in names))
    return [f"the {what} changed: what rests on it is compared only where it gave the same"]


def _unread(said: dict[str, tuple[Said, Said]], old: Snapshot, new: Snapshot) -> Iterator[str]:
    for place, side in enumerate((old, new)):
        files = dict.fromkeys(file for both in said.values() for file in both[place].unread.values())
        if files:
            yield f"{', '.join(files)} of {side.name}: the format is another version's and cannot be compared"


def _basis(key: str, old: Snapshot, new: Snapshot, codes: dict[str, list[str]]) -> Callable[[str], list[str]]:
    """Reasons for which quantities of a kind cannot be compared."""
    a, b = (side.studies.get(key) for side in (old, new))
    matched = pd.DataFrame() if a is None or b is None else _matched(a, b)
    text, counting = _differing(matched, _TEXT), _differing(matched, _COUNTING)

    def reasons(kind: str) -> list[str]:
        return [*text, *(counting if kind != "loss" else ()), *codes.get(kind, ())]

    return reasons


def _quantities(
    key: str, old_said: Said, new_said: Said, old: Snapshot, new: Snapshot, codes: dict[str, list[str]]
) -> Iterator[Moved]:
    reasons, shifted = _basis(key, old, new, codes), _shifts(key, old, new)
    if shifted.together and not reasons("loss"):
        yield _together(key, shifted.together)
    for name in dict.fromkeys([*new_said.quantities, *old_said.quantities]):
        a, b = old_said.quantities.get(name), new_said.quantities.get(name)
        if a is None or b is None:
            yield _one(key, a, b, old_said, new_said)
        else:
            redefined = ["definition"] if a.definition != b.definition else []
            why = [*reasons(b.kind), *redefined, *(["grid"] if a.grid != b.grid else [])]
            yield _two(key, a, b, why, shifted.each.get(b.group) if b.group else None)


def _shifts(key: str, old: Snapshot, new: Snapshot) -> Shifts:
    """None where a side lacks the study, or its table is another version's."""
    sides = [side.studies[key].losses for side in (old, new) if key in side.studies]
    if len(sides) < 2 or not all({*_KEY, "status", "loss_validation", "fingerprint"} <= set(side) for side in sides):
        return Shifts({}, None)
    return shifts(*sides)


def _together(key: str, shift: Estimate) -> Moved:
    name, status = "all together", "moved" if shift.sign else "within noise"
    return Moved(key, "loss", name, "s.d. of a seed's shift", "linear", None, None, shift, cast(Status, status))


def _matched(old: StudySnapshot, new: StudySnapshot) -> pd.DataFrame:
    """Cells of the same place, of both tables; none where a table is another version's."""
    if not all(set(_KEY) <= set(side.losses) for side in (old, new)):
        return pd.DataFrame()
    return old.losses.merge(new.losses, on=_KEY, suffixes=("", "_new"))


def _differing(matched: pd.DataFrame, columns: dict[str, str]) -> list[str]:
    """Names of columns in which cells of the same place differ; one that only a commit has is another definition."""
    return [
        words
        for column, words in columns.items()
        if column in matched and f"{column}_new" in matched and (matched[column] != matched[f"{column}_new"]).any()
    ]


def _one(key: str, a: Quantity | None, b: Quantity | None, old: Said, new: Said) -> Moved:
    item = b or a
    assert item is not None
    before, now = (None if side is None else side.shown(side.value) for side in (a, b))
    file = (old if a is None else new).unread.get(item.kind)
    status: Status = "not comparable" if file else "gone" if b is None else "new"
    why = f"{file} is another version's" if file else ""
    return Moved(key, item.kind, item.name, item.unit, item.scale, before, now, None, status, why)


def _two(key: str, a: Quantity, b: Quantity, reasons: list[str], shift: Estimate | None) -> Moved:
    base = Moved(key, b.kind, b.name, b.unit, b.scale, a.shown(a.value), b.shown(b.value), None, "identical")
    if a.value == b.value and (b.kind == "loss" or a.se == b.se) and a.grid == b.grid and a.definition == b.definition:
        return base
    if reasons:
        return _replaced(base, None, "not comparable", ", ".join(dict.fromkeys(reasons)))
    change = shift or _difference(a, b)
    if change.ci is None:
        why = "its interval has no end" if b.kind == "crossover" else "there are no repeats to tell noise by"
        return _replaced(base, change, "no interval", why)
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
    if not all({*_KEY, "fingerprint"} <= set(side.losses) for side in (old, new)):
        return None
    a, b = (study.losses.set_index(_KEY) for study in (old, new))
    kept = set(a["fingerprint"]) & set(b["fingerprint"])
    both = a.join(b, how="inner", suffixes=("", "_new"))
    same = both["fingerprint"] == both["fingerprint_new"]
    again, stayed = both[~same & ~both["fingerprint_new"].isin(kept)], set(both["fingerprint"][same])
    retrained: dict[str, list[str]] = {}
    for index, row in again.drop_duplicates("fingerprint_new").iterrows():
        retrained.setdefault(_reason(row), []).append(_cell_name(index))
    found = Cells(key, _names_beyond(b, a, kept), _names_beyond(a, b, kept), _renamed(a, b, kept, stayed), retrained)
    return found if found.added or found.removed or found.renamed or found.retrained else None


def _names_beyond(rows: pd.DataFrame, others: pd.DataFrame, kept: set[str]) -> list[str]:
    """Runs in places that the others do not have; one that two recipes share is named once."""
    alone = rows.loc[rows.index.difference(others.index)]
    alone = alone[~alone["fingerprint"].isin(kept)]
    return [_cell_name(index) for index in alone.drop_duplicates("fingerprint").index]


def _renamed(old: pd.DataFrame, new: pd.DataFrame, kept: set[str], stayed: set[str]) -> list[str]:
    """The same runs in other places alone: a recipe that got another name."""
    before, now = (
        rows[rows["fingerprint"].isin(kept - stayed)].reset_index().drop_duplicates("fingerprint")
        for rows in (old, new)
    )
    pairs = now.merge(before, on="fingerprint", suffixes=("", "_old"))
    names = (pairs[[f"{name}{side}" for name in _KEY]].itertuples(index=False) for side in ("_old", ""))
    return [f"{_cell_name(was)} now {_cell_name(is_)}" for was, is_ in zip(*names, strict=True)]


def _reason(row: "pd.Series[Any]") -> str:
    names = [name for name in (*_TEXT, *_SETTINGS) if f"{name}_new" in row and _unlike(row[name], row[f"{name}_new"])]
    return ", ".join(_TEXT.get(name, name) for name in names) or "training code or a setting outside the table"


def _unlike(a: Any, b: Any) -> bool:
    return a != b and not (pd.isna(a) and pd.isna(b))


def _cell_name(index: Any) -> str:
    recipe, axes, width, seed = index
    return f"{recipe}, width {width}, " + (f"{axes}, " if axes != "{}" else "") + f"seed {seed}"


def _verdicts(key: str, old: Said, new: Said, movers: Callable[[str], str]) -> Iterator[Verdict]:
    for what in dict.fromkeys([*new.conclusions, *old.conclusions]):
        before, now = old.conclusions.get(what), new.conclusions.get(what)
        if before != now:
            yield Verdict(key, what, before, now, movers(what) if before and now else "")


def _movers(key: str, old: Snapshot, new: Snapshot, codes: dict[str, list[str]]) -> Callable[[str], str]:
    """What may have moved a conclusion of a study: with the same runs it was the rule, with the same rule the runs."""
    sides = [side.studies[key] for side in (old, new) if key in side.studies]
    runs = len(sides) == 2 and not _same_runs(*(side.losses for side in sides))
    rules = [{f"claim {item['id']}": item["rule"] for item in side.claims} for side in sides]
    yardsticks = {what: json.loads(rule)[1] for side in rules for what, rule in side.items()}
    scale = key.rsplit("-", 1)[-1]

    def measured_anew(what: str) -> bool:
        """Whether the runs behind it differ, or those of the law that says what matters at its scale."""
        law = f"{(yardsticks.get(what) or {}).get('study')}-{scale}"
        laws = [side.studies[law].losses for side in (old, new) if law in side.studies]
        return runs or (len(laws) == 2 and not _same_runs(*laws))

    def moved(what: str) -> str:
        kind = "claim" if what.startswith("claim ") else "difference"
        rule = bool(codes.get(kind)) or len({side.get(what) for side in rules}) > 1
        return " or ".join(name for name, differs in (("the rule", rule), ("the runs", measured_anew(what))) if differs)

    return moved


def _same_runs(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables hold the same runs with the same losses."""
    columns = [*_KEY, "fingerprint", "status", "loss_validation", "loss_seen", "loss_fresh"]
    if not all(set(columns) <= set(table) for table in (a, b)):
        return False
    first, second = (table[columns].sort_values(_KEY).reset_index(drop=True) for table in (a, b))
    return bool(first.equals(second))


def to_json_text(diff: Diff) -> str:
    """As `--json` prints it."""
    return json.dumps(diff.to_json(), indent=1, allow_nan=False)
