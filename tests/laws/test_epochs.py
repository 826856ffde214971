"""Repeated data against a published fit, limits in closed form, and simulated truth."""

import numpy as np
import pandas as pd
import pytest

from crossover.laws.fit import fit
from crossover.laws.laws import get_law
from crossover.laws.objectives import get_objective
from crossover.laws.solver import Problem
from tests.conftest import REPOSITORY

TRUTH = np.array([np.log(1.87), 6.255414, 7.3049974, 0.3526596, 0.3526596, np.log(15.387756), np.log(5.309743)])
"""Of arXiv 2305.16264, appendix A."""


def loss_at(n: float, d: float, u: float, theta: np.ndarray = TRUTH) -> float:
    return float(np.exp(get_law("epochs").log_loss(np.log([[n], [d], [u]]), theta[None])[0, 0]))


def published() -> pd.DataFrame:
    return pd.read_csv(REPOSITORY / "docs/examples/epochs.csv")


def test_data_seen_once_are_the_chinchilla_law() -> None:
    e, a, b = np.exp(TRUTH[:3])
    small = e + a / 1e7 ** TRUTH[3] + b / 1e10 ** TRUTH[4]
    assert loss_at(1e7, 1e10, 1e10) == pytest.approx(small, rel=1e-12)
    assert loss_at(1e7, 1e10, 1e12) == pytest.approx(small, rel=1e-12)  # more text than was read is no more data


def test_endless_repetition_is_worth_a_data_set_so_many_times_larger() -> None:
    """Section 3.1: D' goes to U (1 + R_D)."""
    once = np.exp(get_law("chinchilla").log_loss(np.log([[1e7], [1e9 * (1 + 15.387756)]]), TRUTH[None, :5])[0, 0])
    assert loss_at(1e7, 1e15, 1e9) == pytest.approx(float(once), rel=1e-6)


def test_four_epochs_are_nearly_as_good_as_fresh_data_and_forty_are_not() -> None:
    """The paper's abstract: up to four epochs change little, at many times that nothing is left to gain."""
    assert 0 < loss_at(1e8, 4e10, 1e10) - loss_at(1e8, 4e10, 4e10) < 0.01
    assert loss_at(1e8, 4e11, 1e10) - loss_at(1e8, 4e11, 4e11) > 0.03


def test_parameters_beyond_what_the_data_need_are_worth_less() -> None:
    """n is where N and D gain alike: a A n^-a = b B U^-b; up to it the law is Chinchilla's, beyond it lies above."""
    _, a, b = np.exp(TRUTH[:3])
    enough = (TRUTH[3] * a / (TRUTH[4] * b)) ** (1 / TRUTH[3]) * 1e10 ** (TRUTH[4] / TRUTH[3])
    assert enough == pytest.approx(0.051 * 1e10, rel=0.01)  # U_N = 0.051 U_D, equation 17
    plain = get_law("chinchilla")
    for n, above in ((enough * 0.99, 0.0), (enough * 10, 0.004)):
        gap = loss_at(n, 1e10, 1e10) - float(np.exp(plain.log_loss(np.log([[n], [1e10]]), TRUTH[None, :5])[0, 0]))
        assert gap == pytest.approx(0, abs=1e-12) if above == 0 else gap > above


def test_the_published_fit_of_up_to_two_and_a_half_epochs() -> None:
    """62 runs, tied exponents, Huber: log A 6.4526014, log B 8.022968, log E .63987476, exponent .3595363.

    The published search stopped early; ours ends lower than their parameters, and within 1% of them.
    """
    runs = published()
    runs = runs[runs["tokens"] <= 2.5 * runs["unique_tokens"]]
    assert len(runs) == 62
    inputs = {"N": runs["params"].to_numpy(float), "D": runs["tokens"].to_numpy(float)}
    loss = runs["loss"].to_numpy(float)
    found = fit("chinchilla_shared", inputs, loss, objective="huber_log", roll_out=False)
    theirs = np.array([0.63987476, 6.4526014, 8.022968, 0.3595363])
    logs = np.log(list(inputs.values()))
    problem = Problem(get_law("chinchilla_shared"), get_objective("huber_log"), logs, np.log(loss), np.ones(62))
    assert found.objective.value <= float(problem.value(theirs[None])[0])
    assert found.objective.value == pytest.approx(0.0012, abs=5e-5)
    expected = dict(zip(("E", "A", "B"), np.exp(theirs[:3]), strict=True)) | {"a": theirs[3]}
    assert {name: item.value for name, item in found.params.items()} == pytest.approx(expected, rel=0.01)


def test_runs_that_more_epochs_did_not_hurt() -> None:
    """On the 197 published runs that no run with fewer parameters and tokens of the same text beats by .01.

    The authors held all but R at other runs' values and left out runs by eye; with nothing held theirs, 15.4, lies
    below ours, and 5.3 below ours too.
    """
    runs = published()
    kept = [_unhurt(runs, row) for _, row in runs.iterrows()]
    assert sum(kept) == 197
    inputs = {"N": "params", "D": "tokens", "U": "unique_tokens"}
    columns = {key: runs[name][kept].to_numpy(float) for key, name in inputs.items()}
    found = fit("epochs", columns, runs["loss"][kept].to_numpy(float), roll_out=False)
    low, high = found.params["R_D"].ci
    assert 15.4 < low < 65 < high < 200
    assert found.params["R_N"].ci[0] > 5.3


def _unhurt(runs: pd.DataFrame, row: "pd.Series") -> bool:
    same = runs["unique_tokens"] == row["unique_tokens"]
    fewer = (runs["params"] <= row["params"]) & (runs["tokens"] <= row["tokens"])
    return bool(row["loss"] <= runs["loss"][same & fewer].min() + 0.01)


@pytest.mark.slow
def test_intervals_hold_a_planted_law() -> None:
    generator = np.random.default_rng(36)
    n = np.repeat(np.geomspace(1e7, 3e9, 5), 12)
    u = np.tile(np.repeat([1e8, 1e9, 1e10], 4), 5)
    d = u * np.tile([1, 4, 16, 64], 15)
    law = get_law("epochs")
    exact = np.exp(law.log_loss(np.log([n, d, u]), TRUTH[None])[0])
    at, truth = {"N": 7e9, "D": 1e12, "U": 2e10}, loss_at(7e9, 1e12, 2e10)
    planted = dict(zip(law.params, law.report(TRUTH), strict=True))
    inside = []
    for _ in range(60):
        noisy = exact * np.exp(generator.normal(0, 0.01, len(exact)))
        found = fit("epochs", {"N": n, "D": d, "U": u}, noisy, roll_out=False, predict=[at], starts=16)
        told = [(found.params[name].ci, value) for name, value in planted.items()]
        told.append((found.predictions[0].loss.ci, truth))
        inside += [(low is None or low <= value) and (high is None or value <= high) for (low, high), value in told]
    assert 0.85 <= np.mean(inside) <= 0.95
