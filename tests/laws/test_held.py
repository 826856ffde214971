"""Parameters that are held, and a third input: against fits that have them, closed forms, and simulated truth."""

import numpy as np
import pandas as pd
import pytest

import crossover as xo
from crossover.api.fixed import read_fixed
from crossover.base.errors import UsageError
from crossover.laws.fit import fit
from tests.conftest import SHARED

X = np.repeat(np.geomspace(1e18, 1e21, 6), 3)


def losses(generator: np.random.Generator, noise: float = 0.005) -> np.ndarray:
    return (1.7 + 300 * X**-0.12) * np.exp(generator.normal(0, noise, len(X)))


def test_a_floor_that_is_held_at_its_fitted_value_changes_nothing_else() -> None:
    y = losses(np.random.default_rng(0))
    free = fit("power_floor", {"x": X}, y, roll_out=False)
    held = fit("power_floor", {"x": X}, y, fixed={"E": free.params["E"].value}, roll_out=False)
    for name in ("E", "A", "a"):
        assert held.params[name].value == pytest.approx(free.params[name].value, rel=1e-5)
    assert (held.held, held.dof, free.dof) == (["E"], 16, 15)
    assert held.params["a"].se < free.params["a"].se


def test_no_floor_is_a_straight_line_in_logarithms() -> None:
    y = losses(np.random.default_rng(1))
    line = np.polyfit(np.log(X), np.log(y), 1)
    held = fit("power_floor", {"x": X}, y, fixed={"E": 0.0}, roll_out=False)
    assert held.params["a"].value == pytest.approx(-line[0], rel=1e-4)
    assert held.params["A"].value == pytest.approx(np.exp(line[1]), rel=1e-3)


def test_the_uncertainty_of_what_is_held_is_carried() -> None:
    """To first order a prediction moves with E by 1 - dA.../dE, here by finite differences of whole fits."""
    y, at = losses(np.random.default_rng(2)), [{"x": 1e24}]

    def ask(value: "float | tuple[float, float]") -> "xo.api.fit.Predicted":  # type: ignore[name-defined]
        return fit("power_floor", {"x": X}, y, fixed={"E": value}, roll_out=False, predict=at).predictions[0]

    moved = (ask(1.72).loss.value - ask(1.68).loss.value) / 2
    alone, carried = ask(1.7).loss.se, ask((1.7, 0.02)).loss.se
    assert carried == pytest.approx(np.hypot(alone, moved), rel=0.01)
    own = fit("power_floor", {"x": X}, y, fixed={"E": (1.7, 0.02)}, roll_out=False).params["E"]
    assert own.ci == pytest.approx((1.7 - 1.645 * 0.02, 1.7 + 1.645 * 0.02), rel=1e-3)
    assert own.se == pytest.approx(0.02)


def test_a_bootstrap_draws_what_is_held() -> None:
    y = losses(np.random.default_rng(3))
    found = fit("power_floor", {"x": X}, y, fixed={"E": (1.7, 0.03)}, bootstrap=400, roll_out=False)
    assert found.params["E"].se == pytest.approx(0.03, rel=0.15)
    assert found.params["a"].se > fit("power_floor", {"x": X}, y, fixed={"E": 1.7}, bootstrap=400).params["a"].se


def test_intervals_hold_the_truth_where_the_floor_was_measured_elsewhere() -> None:
    generator = np.random.default_rng(36)
    inside = []
    for _ in range(200):
        told = 1.7 + generator.normal(0, 0.05)
        found = fit(
            "power_floor", {"x": X}, losses(generator), fixed={"E": (told, 0.05)}, roll_out=False, predict=[{"x": 1e24}]
        )
        truths = [(found.params["E"], 1.7), (found.params["A"], 300), (found.params["a"], 0.12)]
        truths.append((found.predictions[0].loss, 1.7 + 300 * 1e24**-0.12))
        inside.append([item.ci[0] <= value <= item.ci[1] for item, value in truths])
    assert all(0.85 <= share <= 0.95 for share in np.mean(inside, axis=0))


def test_a_third_input_is_recovered_and_its_intervals_hold() -> None:
    generator = np.random.default_rng(37)
    n, ratio, z = (part.ravel() for part in np.meshgrid(np.geomspace(1e7, 1e9, 4), [5, 20, 80], [4e3, 1.6e4, 6.4e4]))
    d = n * ratio
    exact = 1.7 + 400 * n**-0.34 + 1500 * d**-0.36 + 5 * z**-0.25
    truth = {"E": 1.7, "A": 400, "B": 1500, "C": 5, "a": 0.34, "b": 0.36, "c": 0.25}
    inside = []
    for _ in range(60):
        y = exact * np.exp(generator.normal(0, 0.005, len(exact)))
        found = fit("chinchilla_z", {"N": n, "D": d, "Z": z}, y, roll_out=False, starts=16)
        ends = [(found.params[name].ci, value) for name, value in truth.items()]
        inside += [(low is None or low <= value) and (high is None or value <= high) for (low, high), value in ends]
    assert 0.85 <= np.mean(inside) <= 0.95


@pytest.mark.skipif(not SHARED.exists(), reason="the published data are not here")
def test_vocabulary_as_the_third_input_of_published_runs() -> None:
    """Checkpoints of arXiv 2407.13623 (losses below zero, so shifted): at fixed N the largest vocabularies cost.

    Loss by vocabulary is a bowl, and its falling side the smaller one; one term can take the rising side alone.
    """
    runs = pd.read_csv(SHARED / "decide/scaling_with_vocab/runs.csv")
    runs = runs[runs["ladder"].str.startswith("tokens@N=")]
    n = runs["ladder"].str.removeprefix("tokens@N=").astype(float).to_numpy()
    z = runs["recipe"].str.removeprefix("V").astype(float).to_numpy()
    inputs = {"N": n, "D": runs["x"].to_numpy(float), "Z": z}
    y = runs["loss"].to_numpy(float) + 8.0
    plain = fit("chinchilla", inputs, y, objective="squares", roll_out=False)
    found = fit("chinchilla_z", inputs, y, objective="squares", roll_out=False)
    assert found.objective.value < plain.objective.value
    assert found.params["c"].ci[1] < 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("F=1.6", "'F' is no parameter of 'power_floor'"), ("E", "write E=1.6"), ("E=x", "write E=1.6"),
        ("E=-1", "is positive and cannot be held at -1"), ("E=0±1", "has no standard deviation"),
        ("E=1,E=2", "holds E twice"), ("E=1±-1", "standard deviation that is not negative"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_says_so(text: str, said: str) -> None:
    table = {"x": X, "loss": losses(np.random.default_rng(0))}
    with pytest.raises(UsageError, match="(?s).*" + said.replace("'", ".")):
        xo.fit(table, x="x", fix=text)


def test_a_parameter_that_hangs_on_others_cannot_be_held() -> None:
    with pytest.raises(UsageError, match="hangs on other parameters"):
        fit("m4", {"x": X}, losses(np.random.default_rng(0)), fixed={"beta": 1.0})


def test_ways_to_write_it() -> None:
    assert read_fixed(["E=1.6+-0.05", "a = 0.3"]) == {"E": (1.6, 0.05), "a": 0.3}
    assert read_fixed(None) == {}
