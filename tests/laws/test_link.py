"""From loss to metric: planted curves, errors against simulation, and published models held back."""

import numpy as np
import pandas as pd
import pytest

import crossover as xo
from crossover.base.errors import UsageError
from crossover.laws.fit import fit
from crossover.laws.link import curve, fit_link, metric_of
from tests.conftest import REPOSITORY

THETAS = {"sigmoid": np.array([0.25, 0.9, 4.0, 2.6]), "exponential": np.array([0.85, 2.0, 0.72])}
N, D = (part.ravel() for part in np.meshgrid(np.geomspace(1e7, 1e9, 5), [1, 4, 16, 64]))
D = D * N * 5


@pytest.mark.parametrize("form", THETAS)
def test_a_planted_curve_is_recovered(form: str) -> None:
    loss = np.linspace(2.1, 4.0, 20)
    found = fit_link(loss, curve(form, THETAS[form], loss), form)
    assert list(found.theta) == pytest.approx(list(THETAS[form]), rel=1e-4)
    assert found.sd < 1e-6


def test_what_is_known_is_held_and_bounds_the_interval() -> None:
    generator = np.random.default_rng(0)
    loss = np.linspace(2.0, 4.0, 20)
    metric = curve("sigmoid", THETAS["sigmoid"], loss) + generator.normal(0, 0.02, 20)
    found = fit_link(loss, metric, chance=0.25, best=0.9)
    assert list(found.theta[:2]) == [0.25, 0.9]
    near, run = found.at(4.5, 0.3, 0.05)
    assert min(near.ci[0], run[0]) >= 0.25
    assert run[1] <= 0.9


def test_derivatives_are_those_of_the_formula() -> None:
    """d acc/dL = -k (best - chance) s (1 - s), by hand."""
    loss = np.linspace(2.0, 4.0, 30)
    found = fit_link(loss, curve("sigmoid", THETAS["sigmoid"], loss))
    value, _ = found.at(2.7, 0.01, 0.0)
    share = 1 / (1 + np.exp(4.0 * (2.7 - 2.6)))
    assert value.value == pytest.approx(0.25 + 0.65 * share)
    assert value.se == pytest.approx(0.01 * 4.0 * 0.65 * share * (1 - share), rel=1e-3)


@pytest.mark.parametrize("form", THETAS)
def test_intervals_hold_the_curve_and_a_run(form: str) -> None:
    generator = np.random.default_rng(36)
    place = {"N": 3e9, "D": 1e11}
    expected = 1.8 + 400 * N**-0.34 + 1500 * D**-0.36
    ahead = 1.8 + 400 * place["N"] ** -0.34 + 1500 * place["D"] ** -0.36
    theta, inside = THETAS[form], []
    for _ in range(150):
        loss = expected * np.exp(generator.normal(0, 0.01, len(N)))
        metric = curve(form, theta, loss) + generator.normal(0, 0.012, len(N))
        law = fit("chinchilla", {"N": N, "D": D}, loss, roll_out=False, predict=[place], starts=8)
        link = fit_link(loss, metric, form, chance=0.25 if form == "sigmoid" else None)
        found = metric_of(link, "acc", law.predictions, law.rms_residual / loss.mean(), len(N)).predictions[0]
        run = ahead * np.exp(generator.normal(0, 0.01))
        came = float(curve(form, theta, np.array([run]))[0]) + generator.normal(0, 0.012)
        truth = float(curve(form, theta, np.array([ahead]))[0])
        inside.append([found.loss.ci[0] <= truth <= found.loss.ci[1], found.run_ci[0] <= came <= found.run_ci[1]])
    assert all(0.85 <= share <= 0.96 for share in np.mean(inside, axis=0))


def test_the_published_models_held_back() -> None:
    """32 models of up to 412M parameters say the error of 1.4B and 6.9B (arXiv 2403.08540) within their intervals."""
    path = REPOSITORY / "docs/examples/gadre.csv"
    found = xo.fit(path, n="params", d="tokens", metric="error", heldout="params > 1e9")
    told = found.metric.heldout
    assert (found.metric.n_rows, len(told.rows), told.covered) == (32, 3, 1.0)
    assert [row.measured for row in told.rows] == [
        pytest.approx(value, abs=1e-6) for value in (0.547325, 0.475215, 0.471637)
    ]
    assert "error, held out: 3 prediction(s)" in str(found)
    other = xo.fit(path, n="params", d="tokens", metric="error", heldout="params > 1e9", link="exponential").metric
    assert other.heldout.covered == 1.0
    assert other.rms_residual == pytest.approx(found.metric.rms_residual, rel=0.05)


def test_what_cannot_be_joined_says_so() -> None:
    loss = np.linspace(2, 3, 8)
    for arguments, said in (
        ({"form": "linear"}, "no link is called 'linear'"), ({"best": 1.0, "form": "exponential"}, "has no best value"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            fit_link(loss, 1 - loss / 4, **arguments)
    with pytest.raises(UsageError, match=r"8 of 8 runs have a metric beyond 0\.25 and 1"):
        fit_link(loss, 100 - 20 * loss, chance=0.25, best=1.0)
    with pytest.raises(UsageError, match="speak of a metric"):
        xo.fit({"x": loss, "loss": loss}, x="x", chance=0.5)
    with pytest.raises(UsageError, match="is the same in every run"):
        fit_link(loss, np.ones(8))
    with pytest.raises(UsageError, match="3 runs have a metric, and the link has 4 parameters"):
        fit_link(loss[:3], loss[:3])


def test_runs_without_the_metric_are_not_scored() -> None:
    rows = pd.read_csv(REPOSITORY / "docs/examples/gadre.csv")
    rows.loc[rows.index[-1], "error"] = np.nan
    told = xo.fit(rows, n="params", d="tokens", metric="error", heldout="params > 1e9").metric.heldout
    assert (len(told.rows), told.covered) == (2, 1.0)


def test_a_metric_of_zero_has_no_relative_error() -> None:
    """A score of 0, which small models have: it is compared, and divides nothing."""
    rows = pd.read_csv(REPOSITORY / "docs/examples/gadre.csv")
    last = rows["params"] > 1e9
    rows.loc[rows[last].index[0], "error"] = 0.0
    found = xo.fit(rows, n="params", d="tokens", metric="error", heldout="params > 1e9")
    told = found.metric.heldout
    assert [row.relative_error is None for row in told.rows] == [True, False, False]
    assert told.mean_absolute_relative_error == pytest.approx(
        np.mean([abs(row.loss.value / row.measured - 1) for row in told.rows[1:]])
    )
    rows.loc[last, "error"] = 0.0
    alone = xo.fit(rows, n="params", d="tokens", metric="error", heldout="params > 1e9")
    assert alone.metric.heldout.mean_absolute_relative_error is None
    assert "mean error –" in str(alone)


def test_at_places_the_metric_is_said_beside_the_loss(tmp_path: "pytest.TempPathFactory") -> None:
    found = xo.fit(
        REPOSITORY / "docs/examples/gadre.csv", n="params", d="tokens", metric="1 - error", at="N=7e9,D=1.4e11"
    )
    assert found.metric.predictions[0].at == {"N": 7e9, "D": 1.4e11}
    assert 0.4 < found.metric.predictions[0].loss.value < 0.7
    assert found.to_json()["metric"]["link"] == "sigmoid"
    assert "predictions of 1 - error" in str(found)
    assert pd.notna(found.metric.params["k"].se)
