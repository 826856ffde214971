"""What claims measure of learning rates and batches: best ones, how broad they are, and the law by which they move.

Places are octaves, losses nats per token; as everywhere, each function takes the tables, the study and its arguments.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from crossover.runs.groups import Groups, Measured, NotMeasurableError
from stages.verdicts.tables import Tables, complete, diverged, edge_note, grouped, tuned, vertices

_LAW = 4
"""Places that a law of optima needs: a line through two or three fits whatever is so."""


def stable_range(tables: Tables, study: str, recipes: list[str]) -> Measured:
    """Octaves from the best learning rate to the largest that did not diverge: by recipe and seed, then the mean."""
    rows = tables.whole(study, recipes)
    best = vertices(tables.rows(study, recipes), "lr").set_index(["recipe", "width", "seed"])["value"]
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
    return replace(groups.mean(), notes=notes)


def optimum_shift(tables: Tables, study: str, a: str, b: str, recipes: list[str]) -> Measured:
    """log2 of the best learning rate of b over that of a; noise pooled over `recipes`."""
    places = vertices(tables.rows(study, recipes), "lr")
    found = grouped(places, "recipe").contrast({b: 1.0, a: -1.0})
    return _unless_at_edge(found, places[places["recipe"].isin([a, b])])


def _unless_at_edge(measured: Measured, places: pd.DataFrame) -> Measured:
    """Blocked where an optimum lies at the edge of its grid: then its place is a bound, not a measurement."""
    return replace(measured, blocked="".join(f"{note}: widen it" for note in edge_note(places, "optima")))


def best_cost(tables: Tables, study: str, a: str, b: str, recipes: list[str]) -> Measured:
    """Tuned loss of b less tuned loss of a; noise pooled over the tuned losses of all `recipes`."""
    rows = tables.capped(study, recipes)
    rows = complete(rows)
    places = {name: tuned(rows, [name]) for name in recipes}
    groups = Groups({name: found["value"].to_numpy(float) for name, found in places.items()}, cross_fitted=True)
    notes = edge_note(pd.concat([places[a], places[b]]), "tuned choices")
    return replace(groups.contrast({b: 1.0, a: -1.0}), notes=[*diverged(rows[rows["recipe"].isin([a, b])]), *notes])


def _tuned_by_batch(tables: Tables, study: str, recipe: str) -> pd.DataFrame:
    """Tuned loss per width, batch and seed."""
    rows = tables.capped(study, [recipe])
    parts = [tuned(group, [recipe]).assign(batch=batch) for batch, group in rows.groupby("batch")]
    return pd.concat(parts)


def batch_side(tables: Tables, study: str, recipe: str, side: str) -> Measured:
    """Loss at the smallest or largest batch less loss at the best batch between them, learning rates tuned.

    The best batch is chosen on the other seeds too, so that it is not merely the luckiest.
    """
    table = _tuned_by_batch(tables, study, recipe)
    batches = sorted(set(table["batch"]))
    if len(batches) < 3:
        raise NotMeasurableError("a batch between the smallest and the largest is needed")
    end = {"small": batches[0], "large": batches[-1]}[side]
    found = []
    for width, group in table.groupby("width"):
        losses = group.pivot_table(index="seed", columns="batch", values="value").dropna(axis=1)
        between = [batch for batch in batches[1:-1] if batch in losses]
        if end not in losses or not between:
            continue  # what failed there cannot be told
        for seed in losses.index:
            best = losses.drop(index=seed).mean()[between].idxmin()
            found.append({"width": width, "value": losses.loc[seed, end] - losses.loc[seed, best]})
    if not found:
        words = {"small": "smallest", "large": "largest"}[side]
        raise NotMeasurableError(f"the {words} batch, and one between, have finished with every seed at no width")
    groups = replace(grouped(pd.DataFrame(found), "width"), cross_fitted=True)
    notes = [*diverged(tables.whole(study, [recipe])), *edge_note(table, "tuned choices"), *_best_batches(table)]
    return replace(groups.mean(), notes=notes)


def _best_batches(table: pd.DataFrame) -> list[str]:
    """At which widths the best batch of the grid is its smallest or largest, so that a better one may lie beyond."""
    means = table.groupby(["width", "batch"])["value"].mean().unstack("batch")
    best, ends = means.idxmin(axis=1), (means.columns.min(), means.columns.max())
    return [
        f"at width {width} the best batch, {batch}, is at the edge" for width, batch in best.items() if batch in ends
    ]


def batch_shift(tables: Tables, study: str, recipe: str) -> Measured:
    """log2 of the best batch per doubling of width, learning rates tuned, where it lies inside the grid."""
    table = _tuned_by_batch(tables, study, recipe).assign(recipe=recipe)
    inside, notes = _inside(vertices(table, "batch", "value"), "width", "best batch", 2)
    return replace(grouped(inside, "width").per_doubling(), notes=notes)


def optimum_slope(tables: Tables, study: str, recipe: str, along: str) -> Measured:
    """Exponent of the best learning rate in width or batch, from the vertex of each seed; no law through few points."""
    rows = tables.rows(study, [recipe])
    if along == "width":
        inside, notes = _inside(vertices(rows, "lr"), "width", "best learning rate", _LAW)
        return replace(grouped(inside, "width").per_doubling(), notes=notes)
    places = pd.concat(vertices(group, "lr").assign(batch=batch) for batch, group in rows.groupby("batch"))
    everywhere = places.groupby("batch")["width"].transform("nunique") == places["width"].nunique()
    inside, notes = _inside(places[everywhere], "batch", "best learning rate", _LAW)
    level = inside.groupby("width")["value"].transform("mean") - inside["value"].mean()
    by_batch = grouped(inside.assign(value=inside["value"] - level), "batch")
    return replace(by_batch.per_doubling(), notes=notes)


def _inside(places: pd.DataFrame, by: str, what: str, least: int) -> tuple[pd.DataFrame, list[str]]:
    """Places of the groups in which none lies at the edge of its grid, where it would be a bound and no measurement.

    Raises `NotMeasurableError`, with the answer "at the edge", where fewer than `least` groups remain.
    """
    edge = places.groupby(by)["edge"].any()
    said = [f"at {by} {name} the {what} lies at the edge of its grid" for name in edge.index[edge]]
    if (~edge).sum() < least:
        where, many = ", ".join(map(str, edge.index[~edge])) or "none", {"width": "widths", "batch": "batches"}[by]
        raise NotMeasurableError(
            f"at the edge: a {what} inside its grid is needed at {least} {many}, and is at {where}; widen the grid"
            if edge.any() else f"a {what} is needed at {least} {many}, here are {len(edge)}"
        )  # fmt: skip
    return places[~places[by].map(edge)], said


def sensitivity(tables: Tables, study: str, a: str, b: str) -> Measured:
    """Learning-rate sensitivity of b less that of a, over the rates at which neither lost a run.

    The mean over learning rates of min(loss, loss at initialisation) less the best loss (Wortsman et al. 2309.14322).
    How many runs diverged is told beside it: over a grid that holds them the answer would be how far the grid reaches.
    """
    rows = tables.capped(study, [a, b])
    rows = complete(rows)
    stable = (rows["status"] == "done").groupby(rows["axes"]).transform("all")
    kept = rows[stable]
    if kept["axes"].nunique() < 3:
        raise NotMeasurableError("three learning rates at which no run of either diverged are needed")
    capped = kept["loss_validation"].clip(upper=kept["loss_init"])
    by_run = kept.assign(capped=capped).groupby(["recipe", "width", "seed"])["capped"]
    groups = grouped((by_run.mean() - by_run.min()).reset_index(name="value"), "recipe")
    spikes = rows.groupby("recipe")["n_spikes"].sum()
    lost = (rows["status"] != "done").groupby(rows["recipe"]).sum()
    notes = [f"{name}: {int(lost[name])} diverged runs, {int(spikes[name])} spikes" for name in (a, b)]
    left = rows["axes"].nunique() - kept["axes"].nunique()
    notes += [f"{left} of {rows['axes'].nunique()} rates left out, at which a run diverged"] if left else []
    return replace(groups.contrast({b: 1.0, a: -1.0}), notes=notes)
