"""Allocations against numerical search, published constants, and simulated truth."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize
from typer.testing import CliRunner

import crossover as xo
from crossover.answers.allocating.allocate import allocate
from crossover.answers.allocating.frontier import Frontier
from crossover.answers.allocating.isoflop import find_budgets, fit_budget, through_vertices
from crossover.base.errors import UsageError
from crossover.cli.app import app
from tests.conftest import REPOSITORY, SHARED

TRUTH = Frontier(math.log(1.8172), math.log(482.01), math.log(2085.43), 0.3478, 0.3658)
"""Of arXiv 2404.10102, table 1."""
BUDGETS = np.repeat(np.geomspace(6e18, 3e21, 9), 11)
POINTS = {"n": "`Model Size`", "d": "`Training FLOP` / (6 * `Model Size`)", "flops": "`Training FLOP`"}
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="the published data are not here")


def runs(generator: np.random.Generator, noise: float, truth: Frontier = TRUTH) -> tuple[np.ndarray, ...]:
    best = np.exp([truth.log_n(c) for c in BUDGETS])
    n = best * np.tile(np.geomspace(0.3, 3.3, 11), 9) * np.exp(generator.normal(0, 0.05, len(BUDGETS)))
    d = BUDGETS / 6 / n
    exact = np.array([truth.loss(a, b) for a, b in zip(np.log(n), np.log(d), strict=True)])
    return n, d, exact * np.exp(generator.normal(0, noise, len(n)))


def test_the_best_size_is_where_a_search_finds_it() -> None:
    for c in (1e19, 5.76e23):
        found = optimize.minimize_scalar(
            lambda log_n, c=c: TRUTH.at(log_n, c), bounds=(15, 35), options={"xatol": 1e-8}
        )
        assert TRUTH.log_n(c) == pytest.approx(found.x, abs=1e-5)
        assert TRUTH.worth(TRUTH.least(c)) == pytest.approx(c, rel=1e-9)
        above = TRUTH.at(TRUTH.log_n(c) + 0.7, c)
        assert TRUTH.least(TRUTH.worth(above)) == pytest.approx(above, rel=1e-9)


def test_exact_runs_give_back_the_law_that_made_them() -> None:
    n, d, loss = runs(np.random.default_rng(0), 0.0)
    found = allocate(n, d, loss, 5.76e23, serve=1e13)
    assert found.n.value == pytest.approx(math.exp(TRUTH.log_n(5.76e23)), rel=1e-4)
    assert found.n.value * found.d.value * 6 == pytest.approx(5.76e23)
    assert found.exponent.value == pytest.approx(0.3658 / (0.3478 + 0.3658), rel=1e-5)
    double = next(item for item in found.off if item.times == 2)
    assert double.loss_lost == pytest.approx(
        TRUTH.at(TRUTH.log_n(5.76e23) + math.log(2), 5.76e23) - TRUTH.least(5.76e23)
    )
    assert double.compute_lost == pytest.approx(0.157, abs=0.002)


def test_serving_is_weighed_as_a_grid_weighs_it() -> None:
    """6 N D + 2 N T over a fine grid of N, D being what reaches the loss of the best model of the budget."""
    c, tokens = 1e22, 3e12
    loss = TRUTH.least(c)
    log_n = np.linspace(TRUTH.log_n(c) - 2, TRUTH.log_n(c), 200_001)
    rest = loss - math.exp(TRUTH.log_e) - np.exp(TRUTH.log_a - TRUTH.a * log_n)
    with np.errstate(all="ignore"):
        d = np.exp((TRUTH.log_b - np.log(rest)) / TRUTH.b)
    cost = np.where(rest > 0, 6 * np.exp(log_n) * d + 2 * np.exp(log_n) * tokens, np.inf)
    best = int(cost.argmin())
    assert TRUTH.serve(c, tokens) == pytest.approx(log_n[best], abs=1e-4)
    n, d_runs, y = runs(np.random.default_rng(0), 0.0)
    served = allocate(n, d_runs, y, c, serve=tokens).served
    before = c + 2 * math.exp(TRUTH.log_n(c)) * tokens
    assert served.saved == pytest.approx(1 - cost[best] / before, rel=1e-3)
    assert served.train == pytest.approx(6 * math.exp(log_n[best]) * d[best], rel=1e-3)
    assert served.train > c


@pytest.mark.parametrize("a", [0.3478, 0.55])
def test_the_bias_of_parabolas_is_that_of_the_law_itself(a: float) -> None:
    """Zero noise: what parabolas say is wrong by what is stated, and for unequal exponents visibly so."""
    level = 482.01 if a < 0.5 else 3e4
    truth = Frontier(math.log(1.8172), math.log(level), math.log(2085.43), a, 0.3658)
    n, d, loss = runs(np.random.default_rng(1), 0.0, truth)
    told = allocate(n, d, loss, 1e23).isoflop
    assert told.exponent.value - told.bias_exponent == pytest.approx(truth.exponent, abs=1e-5)
    assert told.n.value / told.bias_n == pytest.approx(math.exp(truth.log_n(1e23)), rel=1e-3)
    assert (abs(told.bias_n - 1) > 0.02) == (a > 0.5)


def test_a_parabola_is_the_textbooks() -> None:
    """An exact parabola in log N gives its vertex, at every budget, and a power law of vertices its exponent."""
    n = np.tile(np.geomspace(0.25, 4, 7), 5) * np.repeat(np.geomspace(1e8, 1e10, 5), 7)
    c = np.repeat(np.geomspace(1e19, 1e23, 5), 7)
    loss = 2 + 0.1 * np.log(n / np.repeat(np.geomspace(1e8, 1e10, 5), 7)) ** 2
    rows = find_budgets(c, n)
    budgets = [fit_budget(c[some], n[some], loss[some]) for some in rows]
    assert [item.n.value for item in budgets] == pytest.approx(list(np.geomspace(1e8, 1e10, 5)))
    exponent, at = through_vertices(budgets, 1e25)
    assert (exponent.value, at.value) == (pytest.approx(0.5), pytest.approx(1e11))
    upward = fit_budget(c[rows[0]], n[rows[0]], -loss[rows[0]])
    beyond = fit_budget(c[rows[0]][:4], n[rows[0]][:4] / 100, np.log(n[rows[0]][:4]) ** 2)
    assert (upward.n, upward.note) == (None, "the loss has no lowest point there")
    assert (beyond.n, beyond.note) == (None, "the lowest point is beyond the sizes that were run")


@pytest.mark.slow
def test_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(36)
    c, inside = 5.76e23, []
    truths = (TRUTH.log_n(c), math.log(c / 6) - TRUTH.log_n(c), TRUTH.exponent, TRUTH.serve(c, 1e13), TRUTH.least(c))
    for _ in range(150):
        found = allocate(*runs(generator, 0.006), c, serve=1e13)
        told = [found.n, found.d, found.exponent, found.served.n, found.loss, found.isoflop.exponent]
        values = [math.exp(truths[0]), math.exp(truths[1]), truths[2], math.exp(truths[3]), truths[4], truths[2]]
        inside.append([item.ci[0] <= value <= item.ci[1] for item, value in zip(told, values, strict=True)])
    assert all(0.84 <= share <= 0.96 for share in np.mean(inside, axis=0))


@needs_data
def test_the_published_points_give_the_published_constants() -> None:
    """Besiroglu et al. 2404.10102, as refitted: the five highest losses left out, Huber and absolute deviations."""
    path = SHARED / "exams/chinchilla_points.csv"
    found = xo.allocate(path, **POINTS, at=5.76e23, where="loss < 3.42", objective="huber_log")
    assert found.fit.n_rows == 240
    values = {name: item.value for name, item in found.fit.params.items()}
    published = {"E": 1.817218, "A": 477.83, "B": 2143.4, "a": 0.347310, "b": 0.367172}
    assert values == pytest.approx(published, rel=2e-4)
    assert found.exponent.value == pytest.approx(0.513, abs=0.001)
    lad = xo.allocate(path, **POINTS, at=5.76e23, where="loss < 3.42", objective="lad_log").fit.params
    printed = {"E": 1.8169, "A": 482.01, "B": 2085.43, "a": 0.3478, "b": 0.3659}
    assert {name: item.value for name, item in lad.items()} == pytest.approx(printed, rel=2e-4)


@needs_data
def test_approach_2_holds_what_was_published_of_it() -> None:
    """Hoffmann et al. 2203.15556, table 2: N grows as compute to the power .49 by parabolas."""
    path = SHARED / "exams/chinchilla_points.csv"
    told = xo.allocate(path, **POINTS, at=5.76e23, where="loss < 3.42", objective="huber_log").isoflop
    assert told.exponent.ci[0] < 0.49 < told.exponent.ci[1]
    assert told.exponent.ci[1] - told.exponent.ci[0] < 0.1
    assert abs(told.bias_exponent) < 0.01


def table() -> dict[str, np.ndarray]:
    n, d, loss = runs(np.random.default_rng(3), 0.005)
    return {"N": n, "D": d, "loss": loss}


def test_its_loss_is_that_of_fit_at_the_same_place() -> None:
    found = xo.allocate(table(), at="C=1e23")
    place = {"N": found.n.value, "D": found.d.value}
    assert found.loss == xo.fit(table(), n="N", d="D", at=place).predictions[0].loss


def test_a_bootstrap_and_held_parameters_go_through() -> None:
    plain, drawn = (xo.allocate(table(), at=1e23, bootstrap=count) for count in (0, 300))
    assert drawn.n.se == pytest.approx(plain.n.se, rel=0.3)
    held = xo.allocate(table(), at=1e23, fix={"a": 0.3478, "b": 0.3658})
    assert (held.exponent.value, held.exponent.se) == (pytest.approx(TRUTH.exponent), 0.0)


def test_measured_compute_says_what_a_parameter_and_a_token_cost() -> None:
    """7.5 FLOPs each: law and parabolas speak of the same unit, and so does the budget."""
    rows = table()
    plain = xo.allocate(rows, at=6e22)
    told = xo.allocate({**rows, "flops": 7.5 * rows["N"] * rows["D"]}, at=7.5e22, flops="flops")
    assert told.per == pytest.approx(7.5)
    assert told.n.value == pytest.approx(plain.n.value, rel=1e-6)
    assert told.isoflop.n.value == pytest.approx(plain.isoflop.n.value, rel=1e-6)
    with pytest.raises(UsageError, match="compute per parameter and token goes from"):
        xo.allocate({**rows, "flops": rows["N"] ** 1.5 * rows["D"]}, at=1e22, flops="flops")


def test_runs_that_cannot_tell_are_refused() -> None:
    n = np.geomspace(1e8, 1e10, 9)
    with pytest.raises(UsageError, match="N and D move together"):
        xo.allocate({"N": n, "D": 20 * n, "loss": 1.69 + 406 / n**0.34}, at=1e22)
    rows = table()
    noise = np.random.default_rng(0).normal(0, 0.01, len(rows["N"]))
    for flat in (np.full(len(noise), 3.0), 3.0 + noise):
        with pytest.raises(UsageError, match=r"does not fall with|from the runs"):
            xo.allocate({**rows, "loss": flat}, at=1e22)
    for fix in ("A=0", "a=0", "b=-0.3"):
        with pytest.raises(UsageError, match="does not fall with N, or not with D"):
            xo.allocate(rows, at=1e22, fix=fix)
    with pytest.raises(UsageError, match="they do not tell it"):
        xo.allocate(rows, at=1.0)


def test_published_constants_can_be_held_all() -> None:
    found = xo.allocate(table(), at=5.76e23, fix="E=1.8172,A=482.01,B=2085.43,a=0.3478,b=0.3658")
    assert found.n.value == pytest.approx(math.exp(TRUTH.log_n(5.76e23)))
    assert xo.allocate(table(), at=1e15).below > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"at": "C=-1"}, "needs a positive, finite C"), ({"at": "x=1e22"}, "'x' is no input"),
        ({"law": "epochs"}, "the best allocation is known for"), ({"serve_tokens": -1.0}, "tokens served must be"),
        ({"by": "recipe"}, "an allocation is of one recipe"), ({"n": "params"}, "params"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_says_so(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        xo.allocate(table(), **{"at": 1e22, **arguments})


def test_the_command_says_it_and_draws_it(tmp_path: Path) -> None:
    path, figure = REPOSITORY / "docs/examples/epochs.csv", tmp_path / "figure.svg"
    words = ["allocate", str(path), "--n", "params", "--d", "tokens", "--where", "tokens == unique_tokens"]
    done = CliRunner().invoke(app, [*words, "--at", "C=1e22", "--serve-tokens", "1e12", "--plot", str(figure)])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("at 1e22 of compute: N = ")
    assert "to serve 1e12 tokens, as good a model costs least with N = " in done.stdout
    assert figure.read_text().startswith("<svg")
    as_json = json.loads(CliRunner().invoke(app, [*words, "--at", "C=1e22", "--json"]).stdout)
    assert as_json["served"] is None
    assert 0.3 < as_json["exponent"]["value"] < 0.7
    lacking = CliRunner().invoke(app, words)
    assert "name the budget" in str(lacking.exception)
