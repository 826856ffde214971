"""The tables of all studies at one scale, as measurements need them: axes as columns, tuned and paired losses.

All runs are measured on the same held-out text, so its choice is an error that they share, and that more seeds do not
lessen. It is told by leaving blocks of text out, one after another, and measuring again (the jackknife of Quenouille
and Tukey): whatever a measurement does with the losses, the blocks that its runs have in common stay in common.
"""

import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crossover.base.arrays import Floats
from crossover.base.errors import UsageError
from crossover.base.files import read_json
from crossover.base.hints import nearest
from crossover.runs.groups import Groups, NotMeasurableError
from stages.fit.study import trained
from stages.study.costs import row_seconds
from stages.study.params import Scale
from stages.study.tables import LOSSES, read_csv


@dataclass
class Tables:
    """Losses and fits of the studies at one scale, and the cells that a measurement has used."""

    losses: dict[str, pd.DataFrame]
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    blocks: pd.DataFrame | None = None
    """Tokens and losses by fingerprint, text and block; None where none are at hand."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each cell is predicted to take on the scale's machine, by fingerprint."""
    used: set[str] = field(default_factory=set)
    failed: dict[str, int] = field(default_factory=dict)
    """Runs of each study that crashed, and are left out."""

    def rows(self, study: str, recipes: list[str], at: dict[str, Any] | None = None) -> pd.DataFrame:
        """Finished runs of recipes, where axes are as `at` says. Raises `NotMeasurableError` where one has none."""
        table = self.whole(study, recipes, at)
        done = table[table["status"] == "done"]
        if lost := set(recipes) - set(done["recipe"]):
            raise NotMeasurableError(f"no run of {', '.join(sorted(lost))} in study {study} has finished")
        return done

    def capped(self, study: str, recipes: list[str], at: dict[str, Any] | None = None) -> pd.DataFrame:
        """All runs; a diverged one has the loss it started from (the convention of Wortsman et al. 2309.14322).

        A comparison that left diverged runs out would call a recipe that breaks as good as one that does not.
        """
        table = self.whole(study, recipes, at)
        done = table["status"] == "done"
        names = ("loss_validation", "loss_seen", "loss_fresh")
        return table.assign(**{name: table[name].where(done, table["loss_init"]) for name in names})

    def whole(self, study: str, recipes: list[str], at: dict[str, Any] | None = None) -> pd.DataFrame:
        """The same as `rows` with diverged runs. Raises `UsageError` for an axis that the study does not have."""
        if study not in self.losses:
            raise NotMeasurableError(f"study {study} has not been run at this scale")
        table = self.losses[study]
        table = table[table["recipe"].isin(recipes)]
        for name, value in (at or {}).items():
            if f"axis_{name}" not in table:
                known = [column.removeprefix("axis_") for column in table if column.startswith("axis_")]
                raise UsageError(f"a claim on study {study} asks for axis '{name}'; {nearest(name, known)}")
            table = table[np.isclose(table[f"axis_{name}"].astype(float), value)]
        if missing := set(recipes) - set(table["recipe"]):
            raise NotMeasurableError(f"study {study} has no runs of {', '.join(sorted(missing))}")
        self.used |= set(table["fingerprint"])
        return table

    @cached_property
    def without_block(self) -> "list[Tables]":
        """The same tables by texts that lack one block each; none where blocks of a finished run that was used lack."""
        if self.blocks is None:
            return []
        tokens, sums = (self.blocks[name].unstack("block") for name in ("tokens", "nats"))
        less = {k: (sums.sum(axis=1) - sums[k]) / (tokens.sum(axis=1) - tokens[k]) for k in tokens}
        return [Tables({study: _by(table, means) for study, table in self.losses.items()}, self.fits)
                for means in less.values()]  # fmt: skip

    def has_text(self) -> bool:
        """Whether blocks of all finished runs that were used are at hand."""
        known = set() if self.blocks is None else set(self.blocks.index.get_level_values("fingerprint"))
        done = {name for table in self.losses.values() for name in table.loc[table["status"] == "done", "fingerprint"]}
        return bool(self.used) and self.used & done <= known

    def fit(self, study: str) -> dict[str, Any]:
        """fit.json of a study."""
        if study not in self.fits:
            raise NotMeasurableError(f"study {study} has not been run at this scale")
        return self.fits[study]


def _by(table: pd.DataFrame, means: "pd.Series[float]") -> pd.DataFrame:
    """A table of losses with the means of other texts, where they are known."""
    found = {
        f"loss_{text}": table["fingerprint"].map(means.xs(text, level="text")).fillna(table[f"loss_{text}"])
        for text in set(means.index.get_level_values("text"))
    }
    return table.assign(**found)


def read_tables(root: Path, keys: dict[str, str], scale: Scale | None = None) -> Tables:
    """The results of studies by name; `keys` gives the folder of each below `root`, the `scale` their prices."""
    tables = read_losses(root, keys)
    tables.blocks = read_blocks([root / key / "blocks.parquet" for key in keys.values()])
    for study, key in keys.items():
        folder, remedy = root / key, f"run `dvc repro fit@{key}`"
        tables.fits[study] = read_json(folder / "fit.json", remedy)
    if scale is not None:
        rows = [row for table in tables.losses.values() for row in table.itertuples()]
        tables.seconds = {str(row.fingerprint): row_seconds(row, scale) for row in rows}
    return tables


def read_blocks(paths: list[Path]) -> pd.DataFrame | None:
    """The blocks of all studies that have them; results of older versions do not."""
    found = [pd.read_parquet(path) for path in paths if path.exists()]
    if not found:
        return None
    blocks = pd.concat(found).drop_duplicates(["fingerprint", "text", "block"])
    blocks["nats"] = blocks["loss"] * blocks["tokens"]
    return blocks.set_index(["fingerprint", "text", "block"])[["tokens", "nats"]]


def read_losses(root: Path, keys: dict[str, str]) -> Tables:
    """Their losses alone."""
    found = {study: read_csv(root / key / "losses.csv", LOSSES).to_pandas() for study, key in keys.items()}
    failed = {study: int((table["status"] == "failed").sum()) for study, table in found.items()}
    return Tables({study: with_axes(trained(table)) for study, table in found.items()}, failed=failed)


def with_axes(losses: pd.DataFrame) -> pd.DataFrame:
    """Losses with one column `axis_NAME` per axis."""
    axes = pd.DataFrame([json.loads(text) for text in losses["axes"]], index=losses.index).add_prefix("axis_")
    return pd.concat([losses, axes], axis=1)


def paired(rows: pd.DataFrame, a: str, b: str, column: str) -> Groups:
    """loss(b) - loss(a) of runs that share width, axes and seed, by width; the same run by construction left out."""
    keys = ["width", "axes", "seed"]
    first, second = (rows[rows["recipe"] == name].set_index(keys)[[column, "fingerprint"]] for name in (a, b))
    both = first.add_suffix("_a").join(second.add_suffix("_b"), how="inner")
    both = both[both["fingerprint_a"] != both["fingerprint_b"]]
    if both.empty:
        raise NotMeasurableError(f"no pair of {a} and {b} that differ has finished")
    return grouped((both[f"{column}_b"] - both[f"{column}_a"]).reset_index(name="value"), "width")


def grouped(table: pd.DataFrame, by: str) -> Groups:
    """Groups of the column `value`."""
    return Groups({_key(name): group["value"].to_numpy(float) for name, group in table.groupby(by)})


def _key(name: Hashable) -> Hashable:
    return name.item() if isinstance(name, np.generic) else name


def complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows where every recipe has every seed: a rate that one lost to a crash is no choice of the others either."""
    least = rows["recipe"].nunique() * rows.groupby("width")["seed"].transform("nunique")
    return rows[rows.groupby(["width", "axes"])["seed"].transform("size") == least]


def tuned(rows: pd.DataFrame, recipes: list[str]) -> pd.DataFrame:
    """Loss of the best recipe and axis value at each width and seed, chosen on the *other* seeds (cross-fitting).

    Choosing and measuring on the same runs would favour whoever had more settings to choose from. With one seed there
    is nothing else to choose on, and `NotMeasurableError` is raised. `edge` marks a choice at the end of its learning
    rates, beyond which a better one may lie.
    """
    return pd.DataFrame(_cross_fitted(rows[rows["recipe"].isin(recipes)]))


def _cross_fitted(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for width, group in rows.groupby("width"):
        table = group.pivot_table(index="seed", columns=["recipe", "axes"], values="loss_validation").dropna(axis=1)
        if len(table) < 2 or table.empty:
            raise NotMeasurableError("tuning needs two seeds: one to choose on, one to measure on")
        rates = group.groupby(["recipe", "axes"])["lr"].first()[table.columns]
        for seed in table.index:
            best = table.drop(index=seed).mean().idxmin()
            ends = rates[best[0]].min(), rates[best[0]].max()
            yield {"width": int(width), "seed": int(seed), "value": float(table.loc[seed, best]),
                   "edge": ends[0] < ends[1] and rates[best] in ends}  # fmt: skip


def diverged(rows: pd.DataFrame) -> list[str]:
    """A note per recipe and width that lost runs."""
    lost = rows[rows["status"] != "done"].groupby(["recipe", "width"]).size()
    return [f"{count} run(s) of {recipe} at width {width} diverged" for (recipe, width), count in lost.items()]


def edge_note(places: pd.DataFrame, what: str) -> list[str]:
    """A note where places lie at the edge of the grid they were looked for in."""
    count = int(places["edge"].sum())
    return [f"{count} of {len(places)} {what} lie at the edge of their grid"] if count else []


def vertices(rows: pd.DataFrame, x: str, column: str = "loss_validation") -> pd.DataFrame:
    """Where the loss of each recipe, width and seed is least along log2 of a column: vertex of a local parabola."""
    found = [
        {"recipe": recipe, "width": width, "seed": seed, "value": value, "edge": edge}
        for (recipe, width, seed), group in rows.groupby(["recipe", "width", "seed"])
        for value, edge in [_vertex(np.log2(group[x].to_numpy(float)), group[column].to_numpy(float))]
    ]
    return pd.DataFrame(found)


def _vertex(x: Floats, loss: Floats) -> tuple[float, bool]:
    """The vertex through the best point and its neighbours, and whether the best is at the edge of the grid."""
    order = np.argsort(x)
    x, loss = x[order], loss[order]
    best = int(loss.argmin())
    if len(x) < 3 or best in (0, len(x) - 1):
        return float(x[best]), True
    a, b, _ = np.polyfit(x[best - 1 : best + 2] - x[best], loss[best - 1 : best + 2], 2)
    return float(x[best] - b / (2 * a)) if a > 0 else float(x[best]), False
