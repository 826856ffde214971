"""Laws against their printed formulas and finite differences."""

import numpy as np
import pytest

from crossover.base.errors import UsageError
from crossover.laws.law import Law
from crossover.laws.laws import LAWS, get_law

GENERATOR = np.random.default_rng(0)
# theta of each law: log coefficients, then shape
THETAS = {
    "power": [1.2, 0.3],
    "power_floor": [0.5, 1.2, 0.3],
    "chinchilla": [0.5, 2.0, 3.0, 0.3, 0.4],
    "chinchilla_shared": [0.5, 2.0, 3.0, 0.35],
    "chinchilla_z": [0.5, 2.0, 3.0, 1.5, 0.3, 0.4, 0.25],
    "epochs": [0.5, 2.0, 3.0, 0.3, 0.4, 1.6, 1.1],
    "m4": [0.5, 1.0, 0.7, 2.0, 0.6],
    "bnsl": [0.5, 1.2, 0.2, 0.3, 2.0, -0.5],
    "optimum": [1.2, -0.7],
    "optimum_nd": [1.2, -0.7, 0.3],
}


def rows(law: Law) -> np.ndarray:
    return GENERATOR.uniform(0.5, 4.0, (len(law.inputs), 9))


@pytest.mark.parametrize("name", LAWS)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    law, theta = get_law(name), np.array(THETAS[name])
    log_x, step = rows(law), 1e-6
    gradient = law.at(log_x, theta[None]).gradient_Bxpxn[0]
    for j in range(len(theta)):
        move = np.eye(len(theta))[j] * step
        ahead, behind = (law.log_loss(log_x, (theta + sign * move)[None])[0] for sign in (1, -1))
        assert gradient[j] == pytest.approx((ahead - behind) / (2 * step), abs=1e-8)


@pytest.mark.parametrize(
    "name", ["power", "power_floor", "chinchilla", "chinchilla_shared", "chinchilla_z", "optimum_nd"]
)
def test_second_moment_completes_an_exact_hessian(name: str) -> None:
    law, theta = get_law(name), np.array(THETAS[name])
    log_x = rows(law)
    weights = GENERATOR.normal(size=(1, log_x.shape[1]))
    point = law.at(log_x, theta[None])
    hessian = law.second_moment(point, weights)[0] - (point.gradient_Bxpxn[0] * weights[0]) @ point.gradient_Bxpxn[0].T
    step = 1e-5

    def slope(at: np.ndarray) -> np.ndarray:
        return law.at(log_x, at[None]).gradient_Bxpxn[0] @ weights[0]

    for j in range(len(theta)):
        move = np.eye(len(theta))[j] * step
        assert hessian[j] == pytest.approx((slope(theta + move) - slope(theta - move)) / (2 * step), abs=1e-7)


def loss_of(name: str, **x: float) -> tuple[float, dict[str, float]]:
    law, theta = get_law(name), np.array(THETAS[name])
    log_x = np.log([[x[name]] for name in law.inputs])
    return float(np.exp(law.log_loss(log_x, theta[None])[0, 0])), dict(zip(law.params, law.report(theta), strict=True))


def test_power_laws_equal_their_formulas() -> None:
    loss, p = loss_of("chinchilla", N=11.0, D=7.0)
    assert loss == pytest.approx(p["E"] + p["A"] / 11 ** p["a"] + p["B"] / 7 ** p["b"], rel=1e-14)
    loss, p = loss_of("chinchilla_shared", N=11.0, D=7.0)
    assert loss == pytest.approx(p["E"] + p["A"] / 11 ** p["a"] + p["B"] / 7 ** p["a"], rel=1e-14)
    loss, p = loss_of("power_floor", x=11.0)
    assert loss == pytest.approx(p["E"] + p["A"] * 11 ** -p["a"], rel=1e-14)
    loss, p = loss_of("optimum_nd", N=11.0, D=7.0)
    assert loss == pytest.approx(p["c"] * 11 ** p["p"] * 7 ** p["q"], rel=1e-14)


@pytest.mark.parametrize("x", [1e-3, 1.0, 11.0, 1e6])
def test_m4_solves_its_implicit_equation(x: float) -> None:
    loss, p = loss_of("m4", x=x)
    left = (loss - p["E"]) / (p["E"] + p["G"] - loss) ** p["alpha"]
    assert left == pytest.approx(p["beta"] * x ** -p["c"], rel=1e-9)


@pytest.mark.parametrize("x", [0.1, 7.0, 1e4])
def test_broken_power_law_equals_its_formula(x: float) -> None:
    loss, p = loss_of("bnsl", x=x)
    bend = (1 + (x / p["d"]) ** (1 / p["f"])) ** (-p["c1"] * p["f"])
    assert loss == pytest.approx(p["E"] + p["b"] * x ** -p["c0"] * bend, rel=1e-12)


def test_every_law_names_its_source_and_an_unknown_one_the_nearest() -> None:
    assert all("arXiv" in law.source for law in LAWS.values())
    with pytest.raises(UsageError, match="did you mean 'chinchilla'"):
        get_law("chinchila")
