"""What claims measure, each from the tables of one scale: an effect with its interval, and the groups behind it.

Every function takes the tables, the claim's study and the arguments of its `given`; it raises `NotMeasurableError`,
with the reason, where the runs do not hold the answer. Losses are nats per token, learning rates and batches octaves.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stages.fit.estimates import Estimate, interval
from stages.verdicts.groups import Groups, NotMeasurableError
from stages.verdicts.tables import Tables, grouped, paired, tuned, vertices


@dataclass(frozen=True)
class Measured:
    """An effect, its degrees of freedom, the groups it came from and what should be known about it."""

    effect: Estimate
    dof: int
    groups: Groups
    notes: list[str] = field(default_factory=list)


def _mean(groups: Groups, extra_variance: float = 0.0, notes: list[str] | None = None) -> Measured:
    return Measured(groups.mean(extra_variance), groups.dof, groups, notes or [])


def _slope(groups: Groups) -> Measured:
    """Per doubling of the groups' width."""
    place = {name: math.log2(float(str(name))) for name in groups.values}
    return Measured(groups.slope(place), groups.dof, groups)


def gap(tables: Tables, study: str, recipe: str, at: dict[str, Any] | None = None) -> Measured:
    """Loss on text of the training stream that was never seen, less loss on text that was, over all widths.

    The seeds share most of that text, so the standard errors over text are added once per width, not per run.
    """
    rows = tables.rows(study, [recipe], at)
    rows = rows.assign(value=rows["loss_fresh"] - rows["loss_seen"])
    text = rows.assign(v=rows["loss_fresh_se"] ** 2 + rows["loss_seen_se"] ** 2).groupby("width")["v"].mean()
    return _mean(grouped(rows, "width"), float(text.sum()) / len(text) ** 2)


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
    place = {"N": 1, "D": 2}[along]
    variance = float(((y - x @ solution) ** 2).sum()) / dof * np.linalg.inv(x.T @ x)[place, place]
    groups = grouped(rows.assign(value=y), "width")
    return Measured(interval(float(solution[place]), math.sqrt(variance), dof), dof, groups)


def _select(groups: Groups, where: str, pivot: list[int]) -> Groups:
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
    return Groups({name: groups.values[name] for name in widths if chosen[where](name)})


def _meeting_widths(rows: pd.DataFrame) -> list[int]:
    """Widths at which the recipes in the table are the same run."""
    return sorted({int(width) for width in rows.loc[rows.duplicated("fingerprint", keep=False), "width"]})


def paired_difference(
    tables: Tables, study: str, a: str, b: str, where: str = "all", at: dict[str, Any] | None = None,
    loss: str = "loss_validation",
) -> Measured:  # fmt: skip
    """loss(b) - loss(a), seed by seed, mean over the widths `where`: all, largest, above or below the meeting point."""
    rows = tables.rows(study, [a, b], at)
    groups = paired(rows, a, b, loss)
    chosen = _select(groups, where, _meeting_widths(rows))
    if not chosen.values:
        raise NotMeasurableError(f"no width lies {where} the one where the two are the same run")
    effect = groups.contrast(dict.fromkeys(chosen.values, 1 / len(chosen.values)))
    return Measured(effect, groups.dof, chosen, _lost(tables.whole(study, [a, b], at)))


def _lost(rows: pd.DataFrame) -> list[str]:
    lost = rows[rows["status"] != "done"].groupby(["recipe", "width"]).size()
    return [f"{count} run(s) of {recipe} at width {width} diverged" for (recipe, width), count in lost.items()]


def trend(tables: Tables, study: str, a: str, b: str, where: str = "all", at: dict[str, Any] | None = None) -> Measured:
    """Change of loss(b) - loss(a) per doubling of width, over widths where the two differ."""
    rows = tables.rows(study, [a, b], at)
    return _slope(_select(paired(rows, a, b, "loss_validation"), where, _meeting_widths(rows)))


def _tuned_difference(tables: Tables, study: str, a: str, b: list[str]) -> Groups:
    rows = tables.rows(study, [a, *b])
    keys = ["width", "seed"]
    first, second = (tuned(rows, names).set_index(keys)["value"] for names in ([a], b))
    return grouped((second - first).dropna().reset_index(), "width")


def tuned_difference(tables: Tables, study: str, a: str, b: list[str]) -> Measured:
    """loss of the best of `b` less that of `a`, both tuned over the study's axes on other seeds, mean over widths."""
    return _mean(_tuned_difference(tables, study, a, b))


def tuned_trend(tables: Tables, study: str, a: str, b: list[str]) -> Measured:
    """Change of that difference per doubling of width."""
    return _slope(_tuned_difference(tables, study, a, b))


def change(tables: Tables, study: str, a: str, b: str, at: dict[str, Any] | None = None) -> Measured:
    """How much more b moves the loss on unseen text than on seen text: the change of the gap from a to b."""
    rows = tables.rows(study, [a, b], at)
    return _mean(paired(rows.assign(gap=rows["loss_fresh"] - rows["loss_seen"]), a, b, "gap"))


def stable_range(tables: Tables, study: str, recipes: list[str]) -> Measured:
    """Octaves from the best learning rate to the largest that did not diverge: by recipe and seed, then the mean."""
    rows = tables.whole(study, recipes)
    best = vertices(rows[rows["status"] == "done"], "lr").set_index(["recipe", "width", "seed"])["value"]
    found, censored = [], set()
    for key, group in rows.groupby(["recipe", "width", "seed"]):
        rates = np.sort(np.log2(group["lr"].to_numpy(float)))
        lost = np.log2(group.loc[group["status"] != "done", "lr"].to_numpy(float))
        stable = rates[rates < lost.min()] if len(lost) else rates
        if not len(lost):
            censored.add(str(key[0]))
        if len(stable):
            found.append({"recipe": key[0], "value": float(stable.max() - best[key])})
    notes = [f"{name} never diverged: its range is at least that wide" for name in sorted(censored)]
    groups = grouped(pd.DataFrame(found), "recipe")
    return _mean(groups, notes=notes)


def optimum_shift(tables: Tables, study: str, a: str, b: str, recipes: list[str]) -> Measured:
    """log2 of the best learning rate of b over that of a; noise pooled over `recipes`."""
    places = vertices(tables.rows(study, recipes), "lr")
    groups = grouped(places, "recipe")
    return Measured(
        groups.contrast({b: 1.0, a: -1.0}), groups.dof, groups, _edges(places[places["recipe"].isin([a, b])])
    )


def _edges(places: pd.DataFrame) -> list[str]:
    count = int(places["edge"].sum())
    return [f"{count} of {len(places)} optima lie at the edge of their grid"] if count else []


def best_cost(tables: Tables, study: str, a: str, b: str, recipes: list[str]) -> Measured:
    """Tuned loss of b less tuned loss of a; noise pooled over the differences of all `recipes` from a."""
    rows = tables.rows(study, recipes)
    keys = ["width", "seed"]
    base = tuned(rows, [a]).set_index(keys)["value"]
    others: dict[Hashable, Any] = {
        name: (tuned(rows, [name]).set_index(keys)["value"] - base).to_numpy(float) for name in recipes if name != a
    }
    groups = Groups(others)
    return Measured(groups.contrast({b: 1.0}), groups.dof, groups)


def _tuned_by_batch(tables: Tables, study: str, recipe: str) -> pd.DataFrame:
    """Tuned loss per width, batch and seed."""
    rows = tables.rows(study, [recipe])
    parts = [tuned(group, [recipe]).assign(batch=batch) for batch, group in rows.groupby("batch")]
    return pd.concat(parts)


def batch_side(tables: Tables, study: str, recipe: str, side: str) -> Measured:
    """Loss at the smallest or largest batch less loss at the best batch between them, learning rates tuned.

    The best batch is chosen on the other seeds too, so that it is not merely the luckiest.
    """
    table = _tuned_by_batch(tables, study, recipe)
    batches = sorted(set(table["batch"]))
    end = {"small": batches[0], "large": batches[-1]}[side]
    found = []
    for width, group in table.groupby("width"):
        losses = group.pivot_table(index="seed", columns="batch", values="value").dropna()
        for seed in losses.index:
            best = losses.drop(index=seed).mean()[batches[1:-1]].idxmin()
            found.append({"width": width, "value": losses.loc[seed, end] - losses.loc[seed, best]})
    return _mean(grouped(pd.DataFrame(found), "width"))


def batch_shift(tables: Tables, study: str, recipe: str) -> Measured:
    """log2 of the best batch per doubling of width, learning rates tuned."""
    table = _tuned_by_batch(tables, study, recipe).assign(recipe=recipe)
    places = vertices(table, "batch", "value")
    measured = _slope(grouped(places, "width"))
    return Measured(measured.effect, measured.dof, measured.groups, _edges(places))


def optimum_slope(tables: Tables, study: str, recipe: str, along: str) -> Measured:
    """Exponent of the best learning rate in width or batch, from the vertex of each seed."""
    rows = tables.rows(study, [recipe])
    if along == "width":
        places = vertices(rows, "lr")
        measured = _slope(grouped(places, "width"))
        return Measured(measured.effect, measured.dof, measured.groups, _edges(places))
    places = pd.concat(vertices(group, "lr").assign(batch=batch) for batch, group in rows.groupby("batch"))
    level = places.groupby("width")["value"].transform("mean") - places["value"].mean()
    measured = _slope(grouped(places.assign(value=places["value"] - level), "batch"))
    return Measured(measured.effect, measured.dof, measured.groups, _edges(places))


def sensitivity(tables: Tables, study: str, a: str, b: str, recipes: list[str]) -> Measured:
    """Learning-rate sensitivity of b less that of a; noise pooled over `recipes`.

    The mean over learning rates of min(loss, loss at initialisation) less the best loss (Wortsman et al. 2309.14322).
    """
    rows = tables.whole(study, recipes)
    capped = rows["loss_validation"].fillna(np.inf).clip(upper=rows["loss_init"])
    by_run = rows.assign(capped=capped).groupby(["recipe", "width", "seed"])["capped"]
    groups = grouped((by_run.mean() - by_run.min()).reset_index(name="value"), "recipe")
    spikes = rows[rows["recipe"].isin([a, b])].groupby("recipe")["n_spikes"].sum()
    lost = (rows["status"] != "done").groupby(rows["recipe"]).sum()
    notes = [f"{name}: {int(lost[name])} diverged runs, {int(spikes[name])} spikes" for name in (a, b)]
    return Measured(groups.contrast({b: 1.0, a: -1.0}), groups.dof, groups, notes)


def extrapolation(tables: Tables, study: str, pairs: list[tuple[str, str]]) -> Measured:
    """log10 of the crossover predicted by power laws fitted below it over the measured one, for pairs that cross.

    Only crossings between recipes that differ everywhere count: where two rules are the same run, the place is known.
    """
    found: dict[Hashable, Any] = {}
    for pair in tables.fit(study)["comparisons"]:
        place = pair["crossover"]
        met = any(rung["structural"] for rung in pair["rungs"])
        if (pair["a"], pair["b"]) not in map(tuple, pairs) or pair["verdict"] != "crosses" or met or place is None:
            continue
        rows = tables.rows(study, [pair["a"], pair["b"]])
        below = rows[rows["flops_6n"] < place["value"]]
        if below["width"].nunique() >= 2:
            ratios = [_predicted(group, pair["a"], pair["b"]) for _, group in below.groupby("seed")]
            found[f"{pair['b']} - {pair['a']}"] = np.log10(ratios) - math.log10(place["value"])
    if not found:
        raise NotMeasurableError("no pair crosses on this ladder apart from where two rules are the same run")
    return _mean(Groups(found))


def _predicted(rows: pd.DataFrame, a: str, b: str) -> float:
    """Where the power laws of two recipes meet."""
    lines = []
    for name in (a, b):
        mine = rows[rows["recipe"] == name]
        lines.append(np.polyfit(np.log(mine["flops_6n"]), np.log(mine["loss_validation"]), 1))
    return float(np.exp((lines[1][1] - lines[0][1]) / (lines[0][0] - lines[1][0])))


def collapse(tables: Tables, study: str, a: str, b: str, widths: int) -> Measured:
    """Collapse deviation of b less that of a over the ladder's first `widths` widths, seed by seed."""
    found = [entry for entry in tables.fit(study)["collapse"] if len(entry["widths"]) == widths]
    by = {(entry["recipe"], entry["seed"]): entry["deviation"] for entry in found}
    seeds = sorted({seed for _, seed in by})
    values = [by[b, seed] - by[a, seed] for seed in seeds if (a, seed) in by and (b, seed) in by]
    if not values:
        raise NotMeasurableError(f"no training curves of both recipes over {widths} widths")
    tables.whole(study, [a, b])
    return _mean(Groups({f"first {widths} widths": np.array(values)}))


MEASURES: dict[str, Callable[..., Measured]] = {
    "gap": gap,
    "slope": slope,
    "paired": paired_difference,
    "trend": trend,
    "tuned": tuned_difference,
    "tuned_trend": tuned_trend,
    "change": change,
    "stable_range": stable_range,
    "optimum_shift": optimum_shift,
    "best_cost": best_cost,
    "batch_side": batch_side,
    "batch_shift": batch_shift,
    "optimum_slope": optimum_slope,
    "sensitivity": sensitivity,
    "extrapolation": extrapolation,
    "collapse": collapse,
}
"""By the names that `params.yaml` uses."""
