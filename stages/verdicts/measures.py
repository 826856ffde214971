"""What claims measure, each from the tables of one scale: an effect with its interval, and the groups behind it.

Every function takes the tables, the claim's study and the arguments of its `given`; it raises `NotMeasurableError`,
with the reason, where the runs do not hold the answer. Losses are nats per token, learning rates and batches octaves.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from crossover.runs.estimates import interval
from crossover.runs.groups import Groups, Measured, NotMeasurableError
from stages.verdicts import optima
from stages.verdicts.tables import Tables, complete, diverged, edge_note, grouped, paired, tuned


def gap(tables: Tables, study: str, recipe: str, at: dict[str, Any] | None = None) -> Measured:
    """Loss on text of the training stream that was never seen, less loss on text that was, mean over widths.

    The seeds share most of that text, and the widths some of it, so the standard error over text is added to that over
    seeds once, not per run.
    """
    rows = tables.rows(study, [recipe], at)
    rows = rows.assign(value=rows["loss_fresh"] - rows["loss_seen"])
    text = rows.assign(v=rows["loss_fresh_se"] ** 2 + rows["loss_seen_se"] ** 2).groupby("width")["v"].mean()
    groups = grouped(rows, "width")
    parts = {width: groups.contrast({width: 1.0}, float(text[width])) for width in groups.values}
    whole = groups.contrast(dict.fromkeys(parts, 1 / len(parts)), float(text.mean()))
    return replace(whole, parts=parts, notes=diverged(tables.whole(study, [recipe], at)))


def slope(tables: Tables, study: str, recipe: str, along: str, widths: int = 2) -> Measured:
    """Change of the loss per doubling of parameters (N) or tokens (D) at the ladder's end: its last widths.

    Least squares of the loss on log2 N and log2 D together.
    """
    rows = tables.rows(study, [recipe])
    rows = rows[rows["width"].isin(sorted(set(rows["width"]))[-widths:])]
    x = np.column_stack([np.ones(len(rows)), np.log2(rows["n_nonembedding"]), np.log2(rows["tokens"])])
    y = rows["loss_validation"].to_numpy(float)
    if np.linalg.matrix_rank(x) < 3:
        raise NotMeasurableError("N and D do not vary apart from each other at the ladder's end")
    solution, dof = np.linalg.lstsq(x, y, rcond=None)[0], len(y) - 3
    if dof < 1:
        raise NotMeasurableError("four finished runs at the ladder's end are needed")
    place = {"N": 1, "D": 2}[along]
    variance = float(((y - x @ solution) ** 2).sum()) / dof * np.linalg.inv(x.T @ x)[place, place]
    groups = grouped(rows.assign(value=y), "width")
    effect = interval(float(solution[place]), math.sqrt(variance), dof)
    return Measured(effect, dof, groups, diverged(tables.whole(study, [recipe])))


def _select(groups: Groups, where: str, pivot: list[int]) -> list[Hashable]:
    """All groups, the largest width, or those on one side of the widths where the two are the same run."""
    widths = sorted(groups.values, key=lambda name: float(str(name)))
    if where in ("above", "below") and not pivot:
        raise NotMeasurableError("the two recipes are nowhere the same run, so there are no sides")
    chosen: dict[str, Callable[[Any], bool]] = {
        "all": lambda _: True,
        "largest": lambda width: width == widths[-1],
        "above": lambda width: width > max(pivot),
        "below": lambda width: width < min(pivot),
    }
    found = [name for name in widths if chosen[where](name)]
    if not found:
        raise NotMeasurableError(f"no width lies {where} the one where the two are the same run")
    return found


def _meeting_widths(rows: pd.DataFrame) -> list[int]:
    """Widths at which the recipes in the table are the same run."""
    return sorted({int(width) for width in rows.loc[rows.duplicated("fingerprint", keep=False), "width"]})


def paired_difference(
    tables: Tables, study: str, a: str, b: str, where: str = "all", at: dict[str, Any] | None = None,
    loss: str = "loss_validation",
) -> Measured:  # fmt: skip
    """loss(b) - loss(a), seed by seed, mean over the widths `where`: all, largest, above or below the meeting point."""
    rows = tables.capped(study, [a, b], at)
    groups = paired(rows, a, b, loss)
    return replace(groups.mean(_select(groups, where, _meeting_widths(rows))), notes=diverged(rows))


def trend(
    tables: Tables, study: str, a: str, b: str, where: str = "all", at: dict[str, Any] | None = None,
    premise: str = "",
) -> Measured:  # fmt: skip
    """Change of loss(b) - loss(a) per doubling of width, over widths where the two differ.

    `premise` is what the difference must be for its change to mean what the claim says: "smallest above" for a gain
    that shrinks, "largest below" for a lead that grows.
    """
    rows = tables.capped(study, [a, b], at)
    groups = paired(rows, a, b, "loss_validation")
    chosen = _select(groups, where, _meeting_widths(rows))
    groups = replace(groups, values={name: groups.values[name] for name in chosen})
    return _with_premise(replace(groups.per_doubling(), notes=diverged(rows)), premise)


def _with_premise(measured: Measured, premise: str) -> Measured:
    """A trend with the lead or gain that it starts from or ends at; blocked where there is none to shrink or grow."""
    if not premise:
        return measured
    end, side = premise.split()
    groups = measured.groups
    width = {"smallest": min, "largest": max}[end](groups.values, key=lambda name: float(str(name)))
    there = groups.contrast({width: 1.0}).effect
    low, high = there.ci or (None, None)
    span = "no interval" if low is None or high is None else f"[{low:+.3f}, {high:+.3f}]"
    said = f"the difference at width {width} is {there.value:+.3f} {span}"
    if there.sign == {"above": 1, "below": -1}[side]:
        return replace(measured, notes=[said, *measured.notes])
    what = {"smallest": "gain that could shrink", "largest": "lead that could have grown"}[end]
    return replace(measured, blocked=f"there is no {what}: {said}")


def _tuned_difference(tables: Tables, study: str, a: str, b: list[str]) -> tuple[Groups, list[str]]:
    rows = tables.capped(study, [a, *b])
    keys = ["width", "seed"]
    free = complete(rows[~rows["width"].isin(_meeting_widths(rows))])
    if free.empty:
        raise NotMeasurableError(f"{a} and {', '.join(b)} are the same run at every width")
    first, second = (tuned(free, names).set_index(keys) for names in ([a], b))
    difference = (second["value"] - first["value"]).dropna().reset_index()
    notes = [*diverged(rows), *edge_note(pd.concat([first, second]), "tuned choices")]
    return replace(grouped(difference, "width"), cross_fitted=True), notes


def tuned_difference(tables: Tables, study: str, a: str, b: list[str]) -> Measured:
    """loss of the best of `b` less that of `a`, both tuned over the study's axes on other seeds, mean over widths."""
    groups, notes = _tuned_difference(tables, study, a, b)
    return replace(groups.mean(), notes=notes)


def tuned_trend(tables: Tables, study: str, a: str, b: list[str], premise: str = "") -> Measured:
    """Change of that difference per doubling of width; `premise` as for an untuned trend."""
    groups, notes = _tuned_difference(tables, study, a, b)
    return _with_premise(replace(groups.per_doubling(), notes=notes), premise)


def change(tables: Tables, study: str, a: str, b: str, at: dict[str, Any] | None = None) -> Measured:
    """How much more b moves the loss on unseen text than on seen text: the change of the gap from a to b."""
    rows = tables.rows(study, [a, b], at)
    measured = paired(rows.assign(gap=rows["loss_fresh"] - rows["loss_seen"]), a, b, "gap").mean()
    return replace(measured, notes=diverged(tables.whole(study, [a, b], at)))


def extrapolation(tables: Tables, study: str, pairs: list[tuple[str, str]]) -> Measured:
    """Decades, up or down, between the crossover that power laws fitted below it predict and the measured one.

    By pair and seed, for pairs that cross; the uncertainty of the measured place is added. Only crossings between
    recipes that differ everywhere count: where two rules are the same run, the place is known.
    """
    found: dict[Hashable, Any] = {}
    variance = 0.0
    for pair in _crossings(tables.fit(study)["comparisons"], pairs):
        place = pair["crossover"]
        rows = tables.rows(study, [pair["a"], pair["b"]])
        below = rows[rows["flops_6n"] < place["value"]]
        predicted = [_predicted(group, pair["a"], pair["b"]) for _, group in below.groupby("seed")]
        places = [at for at in predicted if at is not None]
        if places:
            errors = np.array(places) - math.log10(place["value"])
            found[f"{pair['b']} - {pair['a']}"] = errors * np.sign(errors.mean())
            variance += _decades(place["ci"]) ** 2
    if not found:
        raise NotMeasurableError("no pair crosses, with a bounded place and two widths below it, on this ladder")
    return Groups(found).contrast(dict.fromkeys(found, 1 / len(found)), variance / len(found) ** 2)


def _crossings(comparisons: list[dict[str, Any]], pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Those of the pairs whose crossover has a bounded set."""
    return [
        pair
        for pair in comparisons
        if (pair["a"], pair["b"]) in map(tuple, pairs)
        and pair["verdict"] == "crosses"
        and not any(rung["structural"] for rung in pair["rungs"])
        and pair["crossover"] is not None
        and pair["crossover"]["ci"] is not None
        and None not in pair["crossover"]["ci"]
    ]


def _decades(ci: list[float]) -> float:
    """Standard error of log10 of a place from its 90% set."""
    return math.log10(ci[1] / ci[0]) / (2 * 1.645)


def _predicted(rows: pd.DataFrame, a: str, b: str) -> float | None:
    """log10 of where the power laws of two recipes meet; None where one has fewer than two widths, or nowhere."""
    lines = []
    for name in (a, b):
        mine = rows[rows["recipe"] == name]
        if mine["width"].nunique() < 2:
            return None
        lines.append(np.polyfit(np.log(mine["flops_6n"]), np.log(mine["loss_validation"]), 1))
    steeper = lines[0][0] - lines[1][0]
    return float((lines[1][1] - lines[0][1]) / steeper / math.log(10)) if steeper else None


def collapse(tables: Tables, study: str, a: str, b: str, widths: int) -> Measured:
    """Collapse deviation of b less that of a over the ladder's first `widths` widths, seed by seed."""
    ladder = sorted(set(tables.whole(study, [a, b])["width"]))[:widths]
    found = [entry for entry in tables.fit(study)["collapse"] if entry["widths"] == ladder]
    by = {(entry["recipe"], entry["seed"]): entry["deviation"] for entry in found}
    seeds = sorted({seed for _, seed in by})
    values = [by[b, seed] - by[a, seed] for seed in seeds if (a, seed) in by and (b, seed) in by]
    if not values:
        raise NotMeasurableError(f"no training curves of both recipes over {widths} widths")
    bound = sum(entry["floor"] == 0 for entry in found if entry["recipe"] in (a, b))
    notes = [f"{bound} of {2 * len(values)} curves collapse best with no floor at all"] if bound else []
    return replace(Groups({f"first {widths} widths": np.array(values)}).mean(), notes=notes)


MEASURES: dict[str, Callable[..., Measured]] = {
    "gap": gap,
    "slope": slope,
    "paired": paired_difference,
    "trend": trend,
    "tuned": tuned_difference,
    "tuned_trend": tuned_trend,
    "change": change,
    "stable_range": optima.stable_range,
    "optimum_shift": optima.optimum_shift,
    "best_cost": optima.best_cost,
    "batch_side": optima.batch_side,
    "batch_shift": optima.batch_shift,
    "optimum_slope": optima.optimum_slope,
    "sensitivity": optima.sensitivity,
    "extrapolation": extrapolation,
    "collapse": collapse,
}
"""By the names that `params.yaml` uses."""

CHOICES = {
    "where": ["all", "largest", "above", "below"],
    "along": ["N", "D", "width", "batch"],
    "side": ["small", "large"],
    "premise": ["smallest above", "smallest below", "largest above", "largest below"],
}
"""What arguments that are words may be."""
