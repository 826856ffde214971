"""Fits against planted truths, published numbers, SciPy and textbook statistics."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats

from crossover.base.errors import UsageError
from crossover.laws.fit import fit
from crossover.laws.intervals import bootstrap_weights
from crossover.laws.laws import LAWS, get_law
from crossover.laws.objectives import get_objective
from crossover.laws.solver import Problem, minimise
from tests.conftest import SHARED
from tests.laws.test_laws import THETAS


def planted(name: str, rows: int = 40) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs and exact losses of a law at a known theta."""
    law = get_law(name)
    log_x = np.random.default_rng(1).uniform(0.0, 5.0, (len(law.inputs), rows))
    loss = np.exp(law.log_loss(log_x, np.array(THETAS[name])[None])[0])
    return dict(zip(law.inputs, np.exp(log_x), strict=True)), loss


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("objective", ["squares_log", "squares", "huber_log", "expectile_log"])
def test_a_planted_law_is_recovered(name: str, objective: str) -> None:
    inputs, loss = planted(name)
    law, truth = get_law(name), get_law(name).report(np.array(THETAS[name]))
    result = fit(name, inputs, loss, objective=objective, roll_out=False)
    tolerance = 1e-4 if name in ("m4", "bnsl") else 1e-5
    assert [result.params[key].value for key in law.params] == pytest.approx(list(truth), rel=tolerance)
    assert result.rms_residual < 1e-6


def noisy(seed: int = 0, rows: int = 60) -> tuple[dict[str, np.ndarray], np.ndarray]:
    generator = np.random.default_rng(seed)
    n, d = 10 ** generator.uniform(7, 10, rows), 10 ** generator.uniform(9, 12, rows)
    loss = (1.8 + 480 / n**0.35 + 2100 / d**0.37) * np.exp(generator.normal(0, 0.01, rows))
    return {"N": n, "D": d}, loss


def test_squares_equal_scipys_least_squares() -> None:
    """Values and covariance against `curve_fit`, which uses another algorithm and no logarithms of parameters."""
    inputs, loss = noisy()
    ours = fit("chinchilla", inputs, loss, objective="squares", roll_out=False)

    def model(x: np.ndarray, e: float, a: float, b: float, alpha: float, beta: float) -> np.ndarray:
        return e + a / x[0] ** alpha + b / x[1] ** beta

    start = [ours.params[name].value * 1.02 for name in ("E", "A", "B", "a", "b")]
    x = np.array([inputs["N"], inputs["D"]])
    values, covariance = optimize.curve_fit(
        model, x, loss, p0=start, x_scale=start, method="trf", xtol=1e-14, ftol=1e-14
    )
    assert [ours.params[name].value for name in ("E", "A", "B", "a", "b")] == pytest.approx(values, rel=1e-5)
    errors = [ours.params[name].se for name in ("E", "A", "B", "a", "b")]
    assert errors == pytest.approx(list(np.sqrt(np.diag(covariance))), rel=1e-3)


@pytest.mark.parametrize("name", ["huber_log", "expectile_log", "lad_log"])
def test_robust_minima_are_no_worse_than_scipys(name: str) -> None:
    inputs, loss = noisy(2)
    ours = fit("chinchilla", inputs, loss, objective=name, roll_out=False)
    logs = np.log(np.array([inputs["N"], inputs["D"]]))
    problem = Problem(get_law("chinchilla"), get_objective(name), logs, np.log(loss), np.ones(len(loss)))
    best = min(
        optimize.minimize(
            lambda theta: float(problem.value(theta[None])[0]) * 1e3, start, method="Nelder-Mead",
            options={"maxiter": 20000, "maxfev": 20000, "xatol": 1e-9, "fatol": 1e-13},
        ).fun / 1e3
        for start in np.random.default_rng(0).normal([0.6, 6.2, 7.6, 0.35, 0.37], 0.02, (3, 5))
    )  # fmt: skip
    assert ours.objective.value <= best * (1 + 1e-6)


def test_many_problems_together_equal_each_alone() -> None:
    inputs, loss = noisy(3)
    logs = np.log(np.array([inputs["N"], inputs["D"]]))
    problem = Problem(get_law("chinchilla"), get_objective("huber_log"), logs, np.log(loss), np.ones(len(loss)))
    theta = np.array([0.6, 6.2, 7.6, 0.35, 0.37])
    weights = bootstrap_weights(np.arange(len(loss)), 7, seed=4)
    together = minimise(problem, np.tile(theta, (7, 1)), weights)
    for k in range(7):
        alone = minimise(problem, theta[None], weights[k : k + 1])
        assert together.theta[k] == pytest.approx(alone.theta[0], rel=1e-9)
    assert together.converged.all()


def test_resampling_weights_count_draws_of_whole_clusters() -> None:
    clusters = np.array([0, 0, 1, 2, 2, 2])
    weights = bootstrap_weights(clusters, 500, seed=1)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all()
    legacy = np.random.RandomState(1).choice(3, (500, 3))
    assert (weights[:, 2] == (legacy == 1).sum(1)).all()


def test_bootstrap_agrees_with_the_covariance_and_repeats_by_seed() -> None:
    inputs, loss = noisy(5, rows=400)
    plain = fit("chinchilla", inputs, loss, roll_out=False)
    drawn = [fit("chinchilla", inputs, loss, bootstrap=400, seed=seed, roll_out=False) for seed in (1, 1, 2)]
    for name in ("a", "b"):
        assert drawn[0].params[name].se == pytest.approx(plain.params[name].se, rel=0.2)
    assert drawn[0].params == drawn[1].params
    assert drawn[0].params != drawn[2].params


def test_a_line_in_logs_has_the_textbook_intervals() -> None:
    generator = np.random.default_rng(6)
    x = np.geomspace(1e9, 1e12, 7)
    loss = 30 * x**-0.08 * np.exp(generator.normal(0, 0.01, 7))
    result = fit("power", {"x": x}, loss)
    line = stats.linregress(np.log(x), np.log(loss))
    assert result.params["a"].value == pytest.approx(-line.slope)
    assert result.params["a"].se == pytest.approx(line.stderr)
    reach = stats.t.ppf(0.95, 5) * line.stderr
    assert result.params["a"].ci == pytest.approx((-line.slope - reach, -line.slope + reach), rel=1e-4)
    assert result.params["A"].value == pytest.approx(math.exp(line.intercept))


@pytest.mark.parametrize(("rungs", "law", "floor"), [(4, "power", 0.0), (7, "power_floor", 2.0)])
def test_exponent_intervals_cover_at_their_nominal_rate(rungs: int, law: str, floor: float) -> None:
    """90% intervals over 400 noisy ladders, to the binomial 99.9% bounds."""
    generator, hits = np.random.default_rng(rungs), 0
    x = np.geomspace(1e9, 1e12, rungs)
    truth = floor + 30 * x**-0.15
    for _ in range(400):
        low, high = fit(law, {"x": x}, truth + generator.normal(0, 0.003, rungs), roll_out=False).params["a"].ci
        hits += (low or -np.inf) <= 0.15 <= (high or np.inf)
    low, high = stats.binom.ppf([0.0005, 0.9995], 400, 0.9)
    assert low <= hits <= high


def test_profile_interval_is_where_a_refit_misses_by_the_f_threshold() -> None:
    """At the ends of the exponent's interval the best fit with it held there has SSE (1 + t^2/dof) of the minimum."""
    generator = np.random.default_rng(8)
    x = np.geomspace(1, 1e4, 9)
    loss = 1.5 + 2 * x**-0.3 + generator.normal(0, 0.02, 9)
    result = fit("power_floor", {"x": x}, loss, objective="squares")
    limit = result.objective.value * (1 + stats.t.ppf(0.95, 6) ** 2 / 6)
    for end in result.params["a"].ci:
        design = np.column_stack([np.ones(9), x**-end])
        assert optimize.nnls(design, loss)[1] ** 2 == pytest.approx(limit, rel=1e-3)


def test_an_interval_without_an_end_says_so() -> None:
    """Over half a decade a steep law and a steeper one with a lower floor look alike: the exponent has no upper end."""
    x = np.geomspace(1, 4, 6)
    result = fit("power_floor", {"x": x}, 2 + 0.3 * x**-1.5 + np.random.default_rng(2).normal(0, 0.03, 6))
    low, high = result.params["a"].ci
    assert low < 1.5
    assert high is None
    assert "the interval of a has no end on one side" in result.flags
    assert result.params["E"].ci[0] == 0.0  # a coefficient is positive, so its set ends there


def test_predictions_held_out_rows_and_roll_out() -> None:
    x = np.geomspace(1e9, 1e13, 9)
    loss = 1.7 + 3000 * x**-0.35
    result = fit("power_floor", {"x": x[:7]}, loss[:7], predict=[{"x": 1e14}], heldout=({"x": x[7:]}, loss[7:]))
    assert result.predictions[0].loss.value == pytest.approx(1.7 + 3000 * 1e14**-0.35, rel=1e-6)
    assert result.predictions[0].at == {"x": 1e14}
    assert [row.at["x"] for row in result.heldout.rows] == list(x[7:])
    assert result.heldout.mean_absolute_relative_error < 1e-6
    assert [row.at["x"] for row in result.rollout.rows] == pytest.approx(list(x[4:7]))
    assert result.rollout.mean_absolute_relative_error < 1e-5


def test_roll_out_covers_at_its_nominal_rate() -> None:
    generator, inside = np.random.default_rng(0), []
    x = np.geomspace(1, 1e4, 10)
    for _ in range(60):
        rollout = fit("power", {"x": x}, 3 * x**-0.1 * np.exp(generator.normal(0, 0.01, 10))).rollout
        inside.append(rollout.covered)
    assert 0.85 < np.mean(inside) < 0.95


X = np.geomspace(1, 100, 6)


@pytest.mark.parametrize(
    ("law", "inputs", "loss", "said"),
    [
        ("chinchilla", {"N": X[:4], "D": X[3::-1]}, X[:4], "4 usable rows are fewer than the 5 parameters"),
        ("power", {"x": np.full(6, 3.0)}, X, "x is the same in every row"),
        ("power", {"x": X}, -X, "loss has 6 value"),
        ("power", {"x": np.append(X[:5], 0.0)}, X, "x has 1 value"),
        ("chinchilla", {"N": X}, X, "needs input D"),
        ("power", {"x": X[:3]}, X, "equally long"),
    ],
)
def test_bad_rows_are_a_clear_error(law: str, inputs: dict[str, np.ndarray], loss: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fit(law, inputs, loss)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"starts": 0}, "starts must be positive"),
        ({"bootstrap": -1}, "resamples not negative"),
        ({"bootstrap": 2}, "ask for 100 or more"),
        ({"predict": [{"x": np.inf}]}, "positive, finite x"),
        ({"heldout": ({}, X)}, "held-out rows need input x"),
        ({"heldout": ({"x": X}, X * np.nan)}, "held-out rows must exist"),
    ],
)
def test_bad_options_are_a_clear_error(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fit("power", {"x": X}, 2 * X**-0.1, **options)


@pytest.mark.parametrize("objective", ["squares", "squares_log", "huber_log", "expectile_log", "lad_log"])
@pytest.mark.parametrize("law", ["m4", "bnsl", "power_floor"])
def test_no_data_upsets_the_solver(law: str, objective: str) -> None:
    """Losses that rise, or jump: an answer with flags, and no warning (which the suite turns into an error)."""
    x = np.geomspace(1e3, 1e9, 8)
    for loss in (2 + 0.1 * np.log(x), 3 - (x > 1e6) * 1.0, 1e-8 * x**-0.1):
        assert np.isfinite(fit(law, {"x": x}, loss, objective=objective, roll_out=False).rms_residual)


def test_clusters_follow_the_rows_that_are_used() -> None:
    x, generator = np.geomspace(1, 1e3, 24), np.random.default_rng(0)
    loss, weights = 3 * x**-0.1 * np.exp(generator.normal(0, 0.01, 24)), np.ones(24)
    loss[3], weights[5] = np.nan, 0.0
    clusters = np.arange(24) // 2
    result = fit("power", {"x": x}, loss, weights=weights, clusters=clusters, bootstrap=100)
    assert (result.n_rows, [item.rows for item in result.left_out]) == (22, [1, 1])


def test_a_huber_fit_that_passes_through_its_rows_has_no_sandwich_interval() -> None:
    x, generator = np.geomspace(1, 1e3, 24), np.random.default_rng(0)
    loss = 3 * x**-0.1 * np.exp(generator.normal(0, 0.02, 24))
    assert fit("power", {"x": x}, loss, objective="huber_log", delta=1e-9).params["a"].ci is None
    wide = fit("power", {"x": x[:9]}, loss[:9], objective="huber_log", delta=0.1)
    assert wide.params["a"].ci is not None
    assert any("too narrow" in flag for flag in wide.flags)


def test_missing_rows_are_left_out_and_counted() -> None:
    loss = 2 * X**-0.1
    loss[2], x = np.nan, X.copy()
    x[4] = np.inf
    result = fit("power", {"x": x}, loss)
    assert (result.n_rows, result.left_out[0].rows) == (4, 2)
    assert result.params["a"].value == pytest.approx(0.1)


def test_flags_name_what_deserves_doubt() -> None:
    x = np.geomspace(1, 1e3, 4)
    exact = fit("power_floor", {"x": x[:3]}, 1 + x[:3] ** -0.5)
    assert any("no degrees of freedom" in flag for flag in exact.flags)
    rising = fit("power_floor", {"x": x}, 1 + 0.1 * np.log(x + 1))
    assert any("bound" in flag for flag in rising.flags)
    n = np.geomspace(1e6, 1e9, 12)
    tied = fit("chinchilla", {"N": n, "D": 20 * n}, 1.8 + 100 * n**-0.3)
    assert any("move together" in flag for flag in tied.flags)
    lad = fit("power", {"x": x}, 3 * x**-0.1 * [1.01, 0.99, 1.0, 1.01], objective="lad_log")
    assert lad.params["a"].ci is None
    assert any("ask for a bootstrap" in flag for flag in lad.flags)
    with pytest.raises(UsageError, match="bootstrap over 4"):
        fit("power", {"x": x}, 3 * x**-0.1, bootstrap=100)


def test_a_law_that_misses_repeated_runs_is_flagged() -> None:
    generator = np.random.default_rng(0)
    x = np.repeat(np.geomspace(1, 1e3, 5), 4)
    noise = generator.normal(0, 0.01, 20)
    flags = [fit("power", {"x": x}, floor + 2 * x**-0.3 + noise).flags for floor in (0.0, 1.5)]
    assert [any("misses the sizes' means" in flag for flag in each) for each in flags] == [False, True]


needs_exams = pytest.mark.skipif(not (SHARED / "exams").exists(), reason="the published data are not here")


def chinchilla_points() -> tuple[dict[str, np.ndarray], np.ndarray]:
    with Path(SHARED / "exams" / "chinchilla_points.csv").open() as file:
        rows = [
            tuple(float(row[name]) for name in ("Model Size", "Training FLOP", "loss")) for row in csv.DictReader(file)
        ]
    n, flop, loss = np.array([row for row in rows if row[2] < 3.44]).T  # all but the five highest losses, in file order
    return {"N": n, "D": flop / (6 * n)}, loss


@needs_exams
def test_chinchilla_by_huber_is_besiroglus_refit() -> None:
    result = fit("chinchilla", *chinchilla_points(), objective="huber_log", bootstrap=4000, seed=42, roll_out=False)
    values = {name: item.value for name, item in result.params.items()}
    assert result.objective.value == pytest.approx(1.0182740e-3, rel=1e-7)
    assert values["E"] == pytest.approx(1.817218, rel=1e-6)
    assert (values["A"], values["B"]) == (pytest.approx(477.83, rel=1e-4), pytest.approx(2143.4, rel=1e-4))
    assert (values["a"], values["b"]) == (pytest.approx(0.347310, rel=1e-5), pytest.approx(0.367172, rel=1e-5))
    errors = [result.params[name].se for name in ("A", "B", "E", "a", "b")]
    assert errors == pytest.approx([124.5, 1293, 0.02566, 0.01540, 0.02060], rel=2e-3)


@needs_exams
def test_chinchilla_by_absolute_deviations_is_what_the_paper_prints() -> None:
    result = fit("chinchilla", *chinchilla_points(), objective="lad_log", roll_out=False)
    values = [result.params[name].value for name in ("A", "B", "E", "a", "b")]
    assert values == pytest.approx([482.01, 2085.43, 1.8169, 0.3478, 0.3659], rel=2e-4)
