"""How what was said compares with what came, by set and over sets, with intervals.

Intervals resample recipes (a pair counts as often as both its recipes are drawn), or ladders where recipes are few, so
that pairs which share a recipe are not taken for independent. Over sets every set counts alike.
"""

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd

from crossover.answers.best import choose, contenders, draws, fit_levels, scales

Floats = npt.NDArray[np.float64]
SURE = 0.95
_FEW = 8  # recipes, below which ladders are resampled
_DRAWS = 400
_LEAST_P = 1e-3


def prepare(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with what each of the rules got right, and the log score of the single scale by what it got in other sets.

    A row without an answer counts as the order at the largest size shown, with P one half and no interval.
    """
    out = rows.copy()
    out["answered"] = out["p"].notna()
    wins = out["truth"] < 0
    out["single"] = _right(-out["last"], wins)
    out["by_trend"] = _right(-out["trend"], wins)
    out["ours"] = np.where(out["answered"], _right(out["p"] - 0.5, wins), out["single"])
    p = out["p"].fillna(0.5).clip(_LEAST_P, 1 - _LEAST_P)
    out["brier"] = (p - wins) ** 2
    out["log"] = np.log(np.where(wins, p, 1 - p))
    out["single_log"] = _single_log(out)
    out["sure"] = out["answered"] & (np.maximum(p, 1 - p) > SURE)
    for share, low, high in ((50, "q25", "q75"), (90, "q05", "q95")):
        out[f"c{share}"] = (out[low] < out["truth"]) & (out["truth"] < out[high])
    size = out["truth"].abs()
    for rule in ("single", "by_trend", "ours"):
        out[f"lost_{rule}"] = size * (1 - out[rule])
    out["size"] = size
    out["turned"] = out["single"] < 0.5
    out["caught"] = out["turned"] & (out["ours"] > 0.5)
    out["inherited"] = out["turned"] & ~out["caught"]
    out["newly_lost"] = ~out["turned"] & (out["ours"] < 0.5)
    return out


def _right(lead: pd.Series, wins: pd.Series) -> pd.Series:
    """1 where the sign of B's lead is right, 0 where it is wrong, a half where there is none."""
    return pd.Series(np.where(lead == 0, 0.5, ((lead > 0) == wins).astype(float)), index=lead.index)


def _single_log(rows: pd.DataFrame) -> Floats:
    """Log score of the order at the largest size, with its P from the other sets, range by range, sets alike."""
    share = rows.groupby(["set", "range"])["single"].mean().unstack("range")
    out = np.empty(len(rows))
    for name, group in rows.groupby("set"):
        others = share.drop(index=name)
        p = (others if len(others) else share).mean().clip(0.5, 1 - _LEAST_P)
        here = group["range"].map(p).to_numpy(float)
        out[rows.index.get_indexer(group.index)] = group["single"] * np.log(here) + (1 - group["single"]) * np.log1p(
            -here
        )
    return out


METRICS: dict[str, tuple[str, str | None]] = {
    "single": ("single", None), "trend": ("by_trend", None), "ours": ("ours", None), "brier": ("brier", None),
    "log": ("log", None), "single_log": ("single_log", None), "c50": ("c50", "answered"), "c90": ("c90", "answered"),
    "said": ("sure", None), "sure_right": ("ours", "sure"), "regret_single": ("lost_single", "size"),
    "regret_trend": ("lost_by_trend", "size"), "regret": ("lost_ours", "size"), "caught": ("caught", None),
    "newly_lost": ("newly_lost", None), "inherited": ("inherited", None),
}  # fmt: skip
"""Each the weighted mean of a column; over rows where another holds, or per unit of another's mean."""


def score(rows: pd.DataFrame, seed: int = 0) -> dict[str, dict[str, tuple[float, float, float]]]:
    """By set, and as `mean` over sets: every metric and `d`, ours less single, with 90% intervals."""
    found: dict[str, dict[str, Floats]] = {}
    for name, group in prepare(rows).groupby("set", sort=False):
        weights = _weights(group, np.random.default_rng(seed))
        found[str(name)] = _metrics(group, weights)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # draws without any row that counts
        mean = {key: np.nanmean([item[key] for item in found.values()], axis=0) for key in next(iter(found.values()))}
    return {
        name: {key: _interval(draws) for key, draws in metrics.items()}
        for name, metrics in [*found.items(), ("mean", mean)]
    }


def _weights(group: pd.DataFrame, generator: np.random.Generator) -> Floats:
    """[1 + draws, rows]: ones, then how often each row is drawn."""
    recipes = pd.unique(group[["a", "b"]].to_numpy().ravel())
    if len(recipes) >= _FEW:
        counts = generator.multinomial(len(recipes), np.full(len(recipes), 1 / len(recipes)), _DRAWS)
        place = pd.Index(recipes)
        drawn = counts[:, place.get_indexer(group["a"])] * counts[:, place.get_indexer(group["b"])]
    else:
        ladders = pd.Index(group["ladder"].unique())
        counts = generator.multinomial(len(ladders), np.full(len(ladders), 1 / len(ladders)), _DRAWS)
        drawn = counts[:, ladders.get_indexer(group["ladder"])]
    return np.concatenate([np.ones((1, len(group))), drawn])


def _metrics(group: pd.DataFrame, weights: Floats) -> dict[str, Floats]:
    out = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for key, (column, over) in METRICS.items():
            values = group[column].to_numpy(float)
            unit = np.ones(len(group)) if over is None else group[over].to_numpy(float)
            top = values if over is None or group[over].dtype != bool else values * unit
            out[key] = weights @ top / (weights @ unit)
    out["d"] = out["ours"] - out["single"]
    out["rows"] = weights.sum(1)
    out["n_sure"] = weights @ group["sure"].to_numpy(float)
    return out


def _interval(draws: Floats) -> tuple[float, float, float]:
    rest = draws[1:][np.isfinite(draws[1:])]
    low, high = np.percentile(rest, [5, 95]) if len(rest) else (np.nan, np.nan)
    return float(draws[0]), float(low), float(high)


def arms(rows: pd.DataFrame) -> pd.DataFrame:
    """Choosing among all recipes of a table: regrets of three rules, and whether the best one was not excluded."""
    out = []
    for (name, ladder, reach, _), group in rows.groupby(["set", "ladder", "range", "target"], sort=False):
        names, codes = np.unique(group[["a", "b"]].to_numpy(), return_inverse=True)
        a, b = codes.reshape(-1, 2).T
        if len(names) < 3 or len(group) < len(names) * (len(names) - 1) // 2 or group["p"].isna().any():
            continue
        truth, last = (np.nanmean(_each(len(names), a, b, group[part].to_numpy()), 1) for part in ("truth", "last"))
        chance = 0.5 + _each(len(names), a, b, group["p"].to_numpy() - 0.5)
        width = scales(group["mean"].to_numpy(), group["p"].to_numpy(), (group["q95"] - group["q05"]).to_numpy())
        level, variance = fit_levels(a, b, group["mean"].to_numpy(), width, len(names))
        loss = level + draws(len(names)) * np.sqrt(variance)
        kept = contenders(loss)
        chosen = {"single": int(last.argmin()), "ours": choose(last, chance)[1], "likeliest": kept[0]}
        regrets = {rule: truth[arm] - truth.min() for rule, arm in chosen.items()}
        size = group["truth"].abs().mean()
        out.append({"set": name, "ladder": ladder, "range": reach, **regrets}
                   | {f"{rule}_share": regret / size for rule, regret in regrets.items()}
                   | {"held": int(truth.argmin()) in kept, "contenders": len(kept) / len(names)})  # fmt: skip
    return pd.DataFrame(out)


def _each(count: int, a: np.ndarray, b: np.ndarray, of_b: np.ndarray) -> np.ndarray:
    """What is known of B against A as a matrix, B in rows; of A against B it is minus that."""
    out = np.full((count, count), np.nan)
    np.fill_diagonal(out, 0.0)
    out[b, a], out[a, b] = of_b, -of_b
    return out
