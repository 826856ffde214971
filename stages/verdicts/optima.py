"""What claims measure of learning rates and batches: best ones, how broad they are, and the law by which they move.

Places are octaves, losses nats per token; as everywhere, each function takes the tables, the study and its arguments.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from stages.verdicts.groups import Groups, Measured, NotMeasurableError
from stages.verdicts.tables import Tables, diverged, edge_note, grouped, tuned, vertices


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
        losses = group.pivot_table(index="seed", columns="batch", values="value")
        for seed in losses.index:
            best = losses.drop(index=seed).mean()[batches[1:-1]].idxmin()
            found.append({"width": width, "value": losses.loc[seed, end] - losses.loc[seed, best]})
    groups = replace(grouped(pd.DataFrame(found), "width"), cross_fitted=True)
    return replace(groups.mean(), notes=[*diverged(tables.whole(study, [recipe])), *edge_note(table, "tuned choices")])


def batch_shift(tables: Tables, study: str, recipe: str) -> Measured:
    """log2 of the best batch per doubling of width, learning rates tuned."""
    table = _tuned_by_batch(tables, study, recipe).assign(recipe=recipe)
    places = vertices(table, "batch", "value")
    return _unless_at_edge(grouped(places, "width").per_doubling(), places)


def optimum_slope(tables: Tables, study: str, recipe: str, along: str) -> Measured:
    """Exponent of the best learning rate in width or batch, from the vertex of each seed."""
    rows = tables.rows(study, [recipe])
    if along == "width":
        places = vertices(rows, "lr")
        return _unless_at_edge(grouped(places, "width").per_doubling(), places)
    places = pd.concat(vertices(group, "lr").assign(batch=batch) for batch, group in rows.groupby("batch"))
    level = places.groupby("width")["value"].transform("mean") - places["value"].mean()
    by_batch = grouped(places.assign(value=places["value"] - level), "batch")
    return _unless_at_edge(by_batch.per_doubling(), places)


def sensitivity(tables: Tables, study: str, a: str, b: str, recipes: list[str]) -> Measured:
    """Learning-rate sensitivity of b less that of a; noise pooled over `recipes`.

    The mean over learning rates of min(loss, loss at initialisation) less the best loss (Wortsman et al. 2309.14322).
    """
    rows = tables.capped(study, recipes)
    capped = rows["loss_validation"].clip(upper=rows["loss_init"])
    by_run = rows.assign(capped=capped).groupby(["recipe", "width", "seed"])["capped"]
    groups = grouped((by_run.mean() - by_run.min()).reset_index(name="value"), "recipe")
    spikes = rows[rows["recipe"].isin([a, b])].groupby("recipe")["n_spikes"].sum()
    lost = (rows["status"] != "done").groupby(rows["recipe"]).sum()
    notes = [f"{name}: {int(lost[name])} diverged runs, {int(spikes[name])} spikes" for name in (a, b)]
    return replace(groups.contrast({b: 1.0, a: -1.0}), notes=notes)
