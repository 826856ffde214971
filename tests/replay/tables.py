"""Published runs as a pool to choose from, and the runs that are held out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.conftest import SHARED

EXAMS = SHARED / "exams"
_SETTINGS = 12  # runs per size of Step Law: those nearest to its published optimum


@dataclass(frozen=True)
class Pool:
    """n runs that may be chosen and m that are held out; cost is 6 N D."""

    name: str
    n: np.ndarray
    d: np.ndarray
    loss: np.ndarray
    held: np.ndarray
    """Which rows are held out; they are never chosen."""

    @property
    def cost(self) -> np.ndarray:
        return 6 * self.n * self.d

    @property
    def open(self) -> np.ndarray:
        """Rows that may be chosen, cheapest first."""
        rows = np.argsort(self.cost, kind="stable")
        return rows[~np.isin(rows, self.held)]

    @property
    def full(self) -> float:
        """Cost of all rows that may be chosen."""
        return float(self.cost[self.open].sum())


def chinchilla() -> Pool:
    """The 240 points of Besiroglu et al. 2024; held out: the twelve of most compute."""
    runs = pd.read_csv(EXAMS / "chinchilla_points.csv")
    runs = runs[runs["loss"] < 3.44]
    n = runs["Model Size"].to_numpy(float)
    d = runs["Training FLOP"].to_numpy(float) / (6 * n)
    return Pool("Chinchilla", n, d, runs["loss"].to_numpy(float), np.argsort(n * d, kind="stable")[-12:])


def gadre() -> list[Pool]:
    """Gadre et al.'s models by their training set, loss on C4; held out: the four of most compute of each."""
    models = pd.read_csv(EXAMS / "gadre_testbed.csv").astype({"N": float, "D": float})
    pools = []
    for name, rows in models.groupby("train_dataset"):
        held = (rows["N"] * rows["D"]).rank(method="first") > len(rows) - 4
        pools.append(_pool(f"Gadre, {name}", rows["N"], rows["D"], rows["loss_c4_val"], held))
    return pools


def untouched() -> list[Pool]:
    """Tables by which nothing in the belief was chosen; held out: OLMo's 7B and 13B, and Marin's models of 1.2B."""
    olmo = pd.read_csv(EXAMS / "olmo_ladder_c4.csv").astype({"N": float, "D": float})
    pools = [_pool("OLMo ladder", olmo["N"], olmo["D"], olmo["c4_ma5"], olmo["N"] > 5e9)]
    marin = pd.read_csv(EXAMS / "marin_optimizers.csv")
    for name, rows in marin.groupby("optimizer"):
        large = rows["N_nominal"] > 1e9
        if large.any() and not large.all():
            pools.append(_pool(f"Marin, {name}", rows["N_nominal"], rows["tokens"], rows["c4_en_loss"], large))
    return pools


def _pool(name: str, n: pd.Series, d: pd.Series, loss: pd.Series, held: pd.Series) -> Pool:
    return Pool(name, n.to_numpy(float), d.to_numpy(float), loss.to_numpy(float), np.flatnonzero(held))


def steplaw() -> Pool:
    """Step Law's dense sweeps, at every size the runs nearest to its published optimum; held out: the two largest.

    Nearest in log learning rate and log batch to 1.79 N^-.713 D^.307 and .58 D^.571 tokens, whatever their loss.
    """
    runs = pd.read_csv(EXAMS / "steplaw_dense.csv").astype({"N": float, "D": float})
    lr, tokens = 1.79 * runs["N"] ** -0.713 * runs["D"] ** 0.307, 0.58 * runs["D"] ** 0.571
    away = np.log(runs["lr"] / lr) ** 2 + np.log(runs["bs"] * 2048 / tokens) ** 2
    runs = runs.assign(away=away).sort_values("away", kind="stable").groupby(["N", "D"]).head(_SETTINGS)
    n, d = runs["N"].to_numpy(), runs["D"].to_numpy()
    return Pool("Step Law", n, d, runs["loss"].to_numpy(float), np.flatnonzero(6 * n * d > 1.5e20))
