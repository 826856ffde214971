"""May a change be kept? Recipe B, a change of A, asked after every run: keep, discard, or run more, and which run.

    keep(x, loss, recipe, "base", "base + z-loss", pair=seed, settings=Asked(target=1e20))

Two things are asked of a change that is kept. The runs must show a gain: the e-value of all sizes
(`crossover.answers.keeping.evidence`), which may be looked at after every run, must reach 1 / level. And the gain must
hold at the target, the largest size that either recipe was run at where none is named: by the belief that `compare`
asks (`crossover.belief.difference`) B is better there with P of .9 or more, after a run at every size on the way that A
was run at; where that is the target itself, its runs alone must reach an e-value of 10. A gain that the runs show and
the belief denies "holds at the small size only".

A change is discarded by the evidence against a gain that is worth it, which must reach 1 / miss; with several sizes, by
the belief at the target; or where its runs diverge and A's do not. There is no decision without a noise floor: a size
counts once a recipe, any of the table, was repeated there or the noise was told.

Per change at most `level` false keeps; what that is in a series of changes is for `crossover.answers.keeping.series`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crossover.answers.compare import Settings, compare
from crossover.answers.keeping.change import SAME_X, Asked, AtSize, NextRuns, State, Tried
from crossover.answers.keeping.evidence import contrast
from crossover.answers.keeping.series import Place
from crossover.answers.ladders import COPIED, LOST, without_copies
from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.hints import nearest
from crossover.base.numerals import short
from crossover.plots.answer import Answer
from crossover.plots.blocks import Block
from crossover.runs.estimates import Estimate, digest_arrays, interval, plain
from crossover.runs.grouping import centres, group_log
from crossover.runs.rows import require_positive, same_length
from crossover.runs.table import LeftOut

if TYPE_CHECKING:
    from crossover.answers.comparison import Comparisons, Gap
    from crossover.plots.house import Figure


@dataclass(frozen=True)
class Keep(Answer):
    """The answer."""

    a: str
    b: str
    verdict: str
    why: str
    target: float
    evidence: float
    """E-value for a gain, of all sizes."""
    needed: float
    """What it must reach."""
    p_b_beats_a: float | None
    """At the target by the belief; None where the recipes share fewer than two sizes."""
    gap: "Gap | None"
    worth: float | None
    next: NextRuns | None
    sizes: list[AtSize]
    names: tuple[str, str]
    """What x and loss are called."""
    n_rows: int
    left_out: list[LeftOut]
    digest: str
    flags: list[str] = field(default_factory=list)
    series: Place | None = None
    """Where the change stands in the series of the log."""
    pair: str | None = None
    """What pairs are called."""
    comparisons: "Comparisons | None" = field(default=None, repr=False, compare=False)
    """What was asked of the belief, for the figure; not part of the JSON."""

    def said(self) -> Iterator[Block]:
        """The verdict and its reason, what to run, and the sizes."""
        from crossover.answers.words import keep_said

        return keep_said(self)

    def draw(self) -> "Figure":
        """The difference along x; of fewer than two common sizes what was measured at each."""
        from crossover.plots.difference import Apart, draw_apart

        if self.comparisons is not None:
            return self.comparisons.draw()
        rungs = [
            {"name": short(item.x, 6), "x": item.x, "structural": False, "difference": plain(item.difference)}
            for item in self.sizes if item.difference
        ]  # fmt: skip
        pair = {
            "a": self.a,
            "b": self.b,
            "rungs": rungs,
            "curve": [],
            "gap": None,
            "crossover": None,
            "p_b_beats_a": [],
        }
        return draw_apart(Apart([pair], self.names, recipes=[self.a, self.b]), "compare", "Difference between recipes")


def keep(
    x: Floats,
    loss: Floats,
    recipe: Sequence[str] | npt.NDArray[Any],
    a: str,
    b: str,
    *,
    pair: Sequence[Any] | npt.NDArray[Any] | None = None,
    cost: Floats | None = None,
    asked: Asked | None = None,
    names: tuple[str, str] = ("x", "loss"),
) -> Keep:
    """Whether B may replace A.

    Args:
        x: n positive sizes; equal to 1e-6 means the same size.
        loss: n losses; NaN or infinity marks a diverged run.
        recipe: n names; runs of others than A and B tell of the noise.
        a: the recipe as it is.
        b: the recipe with the change.
        pair: n labels (a seed) that recipes share.
        cost: n costs of runs; x where absent.
        asked: what is asked.
        names: what x and loss are called.

    Raises:
        UsageError: an unknown recipe, a value that is not positive.
    """
    chosen = asked or Asked()
    runs, copies = _without_copies(_read(x, loss, recipe, pair, cost, names))
    _require(runs, a, b, chosen)
    done = runs.on(np.isfinite(runs.loss))
    _require_single(done, names[0])
    tried = np.unique(runs.size[(runs.recipe == a) | (runs.recipe == b)]).tolist()
    sizes = [_at_size(done, runs, size, a, b, chosen) for size in tried]
    target = chosen.target or sizes[-1].x
    found = _believe(done, a, b, target, names)
    state = State(a, b, chosen, runs, done, sizes, target, None if found is None else found.pairs[0].gap)
    verdict, why, following = state.judge()
    return Keep(
        a=a,
        b=b,
        verdict=verdict,
        why=why,
        target=target,
        evidence=state.evidence,
        needed=1 / chosen.level,
        p_b_beats_a=None if state.gap is None else state.gap.p_b_beats_a,
        gap=state.gap,
        worth=state.worth,
        next=following,
        sizes=sizes,
        names=names,
        n_rows=len(done.x),
        left_out=[LeftOut(why, rows) for why, rows in ((LOST, len(runs.x) - len(done.x)), (COPIED, copies)) if rows],
        digest=digest_arrays(done.x, done.loss),
        comparisons=found,
    )


def _read(
    x: Floats, loss: Floats, recipe: Sequence[str] | npt.NDArray[Any], pair: Any, cost: Floats | None,
    names: tuple[str, str],
) -> Tried:  # fmt: skip
    x, loss, price = same_length({names[0]: x, names[1]: loss, "cost": x if cost is None else cost})
    require_positive({names[0]: x, "cost": price})
    if not (np.isfinite(x).all() and np.isfinite(price).all()):
        raise UsageError(f"{names[0]} or the cost is missing or infinite in some rows; filter them out")
    label = np.array([str(name) for name in recipe], object)
    seed = None if pair is None else np.array([str(name) for name in pair], object)
    for what, column in (("recipe", label), ("pair", seed)):
        if column is not None and len(column) != len(x):
            raise UsageError(f"{what} has {len(column)} entries, and {names[0]} has {len(x)}")
    size = group_log(x, SAME_X)
    return Tried(centres(x, size)[size] if len(x) else x, loss, label, seed, price, size)


def _without_copies(runs: Tried) -> tuple[Tried, int]:
    """Runs without those that were logged twice, and how many these are."""
    stays, finite = np.ones(len(runs.x), bool), np.isfinite(runs.loss)
    stays[finite] = without_copies(runs.x[finite], runs.loss[finite], runs.recipe[finite])
    return runs.on(stays), int((~stays).sum())


def _require(runs: Tried, a: str, b: str, asked: Asked) -> None:
    if a == b:
        raise UsageError(f"a change is another recipe than the one it changes; got '{a}' twice")
    for name in (a, b):
        if not runs.count(name):
            known = list(dict.fromkeys(runs.recipe.tolist()))
            raise UsageError(f"no run of a recipe called '{name}'; {nearest(name, known)}")
    for what, value in (("target", asked.target), ("worth", asked.worth), ("noise", asked.noise)):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{what} must be positive and finite; got {value:g}")
    for what, value in (("level", asked.level), ("miss", asked.miss)):
        if not 0 < value < 1:
            raise UsageError(f"{what} is a probability between 0 and 1; got {value:g}")


def _require_single(done: Tried, x: str) -> None:
    """Two runs of one recipe, size and pair label are one that was made again, and would count as two."""
    if done.pair is None:
        return
    keys = list(zip(done.recipe.tolist(), done.size.tolist(), done.pair.tolist(), strict=True))
    if len(set(keys)) < len(keys):
        at = next(i for i, key in enumerate(keys) if keys.index(key) < i)
        what = f"recipe '{done.recipe[at]}' has two runs at {x} = {done.x[at]:g} with the pair label '{done.pair[at]}'"
        raise UsageError(f"{what}; drop one, or name a column that tells them apart")


def _at_size(done: Tried, runs: Tried, size: int, a: str, b: str, asked: Asked) -> AtSize:
    here = done.on(done.size == size)
    found = contrast(here.loss, here.recipe, here.pair, a, b)
    if same := _same_runs(here, a, b):
        found = replace(found, pairs=0.0)
    every = runs.on(runs.size == size)
    sd, dof = (found.sd, found.dof) if asked.noise is None else (math.sqrt(2) * asked.noise, math.inf)
    known = found.pairs > 0 and sd > 0
    difference = interval(-found.gain, sd / math.sqrt(found.pairs), dof) if known else Estimate(-found.gain)
    return AtSize(
        x=float(runs.x[runs.size == size][0]),
        runs_a=here.count(a),
        runs_b=here.count(b),
        difference=difference if found.pairs else None,
        sd=sd if sd > 0 else None,
        dof=found.dof,
        evidence=math.exp(found.evidence(0.0, asked.noise)),
        against=math.exp(found.reversed().evidence(-(asked.worth or (sd if known else 0.0)), asked.noise)),
        lost_a=every.count(a) - here.count(a),
        lost_b=every.count(b) - here.count(b),
        same=same,
    )


def _same_runs(here: Tried, a: str, b: str) -> bool:
    """Whether the two recipes are one run there, by construction: pair by pair the same loss to every digit."""
    if here.pair is None:
        return False
    of_a, of_b = (
        dict(zip(here.pair[rows], here.loss[rows], strict=True)) for rows in (here.recipe == a, here.recipe == b)
    )
    shared = of_a.keys() & of_b.keys()
    return bool(shared) and all(of_a[label] == of_b[label] for label in shared)


def _believe(done: Tried, a: str, b: str, target: float, names: tuple[str, str]) -> "Comparisons | None":
    """What `compare` says of the two at the target; None where they share fewer than two sizes."""
    ours = done.on((done.recipe == a) | (done.recipe == b))
    common = set(ours.size[ours.recipe == a].tolist()) & set(ours.size[ours.recipe == b].tolist())
    if len(common) < 2:
        return None
    settings = Settings(target=target, sensitivity=False)
    return compare(ours.x, ours.loss, ours.recipe, pair=ours.pair, pairs=[(a, b)], settings=settings, names=names)
