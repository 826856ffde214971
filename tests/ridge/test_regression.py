"""Ridge regression against independent solutions and asymptotic theory."""

from types import SimpleNamespace

import numpy as np
import pytest

from crossover.base.errors import UsageError
from stages.ridge import __main__ as stage
from stages.ridge.__main__ import trace
from stages.ridge.regression import mean_squares, random_features, ridge
from stages.ridge.text import Problem, text_problem


@pytest.mark.parametrize("features", [5, 40, 90])
def test_solutions_equal_the_normal_equations_and_least_squares(features: int) -> None:
    generator = np.random.default_rng(0)
    phi, y = generator.normal(size=(40, features)), generator.normal(size=40)
    none, small, large = ridge(phi, y, [0.0, 1e-3, 0.5])
    np.testing.assert_allclose(none, np.linalg.lstsq(phi, y, rcond=None)[0], rtol=1e-8, atol=1e-8)
    for penalty, ours in ((1e-3, small), (0.5, large)):
        theirs = np.linalg.solve(phi.T @ phi + 40 * penalty * np.eye(features), phi.T @ y)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0, 4.0])
def test_risk_of_least_squares_is_the_theory_s(ratio: float) -> None:
    """Isotropic Gaussian features: Hastie et al., arXiv 1903.08560, theorem 1 (signal 1, noise 0.5 in variance)."""
    n, noise = 300, 0.5
    p = int(ratio * n)
    generator = np.random.default_rng(1)
    risks = []
    for _ in range(12):
        truth = generator.normal(size=p) / np.sqrt(p)
        truth /= np.linalg.norm(truth)
        phi = generator.normal(size=(n, p))
        (found,) = ridge(phi, phi @ truth + np.sqrt(noise) * generator.normal(size=n), [0.0])
        risks.append(np.square(found - truth).sum())
    theory = noise * ratio / (1 - ratio) if ratio < 1 else (1 - 1 / ratio) + noise / (ratio - 1)
    assert np.mean(risks) == pytest.approx(theory, rel=0.06)


def test_the_peak_is_at_interpolation_and_a_tuned_penalty_takes_it_away() -> None:
    generator = np.random.default_rng(2)
    x = generator.normal(size=(1200, 30))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    problem = Problem(x, x @ generator.normal(size=30) + 0.7 * generator.normal(size=1200))
    found = trace(problem, samples=100, test=800, draws=6)
    bare, tuned = (found[kind]["test"]["mean"] for kind in ("ridgeless", "tuned"))
    assert found["features"][int(bare.argmax())] == found["samples"]
    assert bare.max() > 5 * bare[-1]
    assert tuned.max() < 1.2 * np.var(problem.y_N)
    beyond = np.array(found["features"]) >= found["samples"]
    assert found["ridgeless"]["train"]["mean"][beyond].max() < 1e-6


def test_errors_and_features_by_hand() -> None:
    phi = random_features(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, -1.0], [-3.0, 4.0]]))
    np.testing.assert_allclose(phi, [[2.0, 0.0], [0.0, 4.0]])
    np.testing.assert_allclose(mean_squares(phi, np.array([2.0, 0.0]), np.array([[1.0, 1.0]])), [8.0])


def test_a_sample_is_a_window_and_the_topic_of_what_follows() -> None:
    """Windows aa, aa, bb, bb, ab: the one axis is a against b, and each target is where the next window lies on it."""
    problem = text_problem(np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0]), vocabulary=2, window=2, components=1, horizon=1)
    np.testing.assert_allclose(problem.x_NxC[:, 0] * np.sign(problem.x_NxC[0, 0]), [1, 1, -1, -1])
    y = np.array([1, -1, -1, 0])
    np.testing.assert_allclose(problem.y_N * np.sign(problem.y_N[0]), (y - y.mean()) / y.std())


@pytest.mark.parametrize(("windows", "enough"), [(7, False), (8, True)])
def test_two_samples_are_enough_and_one_is_not(windows: int, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a text's windows is what is regressed on."""
    scale = SimpleNamespace(text="t", tokenizer=SimpleNamespace(vocab_size=64), seq_len=16)
    params = SimpleNamespace(active={"s-c": SimpleNamespace(scale="c")}, scale=lambda _: scale)
    tokens = np.random.default_rng(0).integers(0, 64, 64 * windows)
    while len(stage.text_problem(tokens, 64, 16).y_N) > windows:
        tokens = tokens[:-1]
    assert len(stage.text_problem(tokens, 64, 16).y_N) == windows
    text, written = SimpleNamespace(train=SimpleNamespace(tokens=len(tokens))), []
    given = {"load_params": params, "read_index": SimpleNamespace(texts={"t": text}), "read_prefix": tokens}
    for name, value in given.items():
        monkeypatch.setattr(stage, name, lambda *_, value=value: value)
    monkeypatch.setattr(stage, "write_json", lambda *told: written.append(told))
    if enough:
        stage.main()
        assert written[0][1]["text"] == "t"
    else:
        with pytest.raises(UsageError, match="7 windows of 16, too few"):
            stage.main()
