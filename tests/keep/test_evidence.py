"""The e-value of a gain: against densities integrated by SciPy, dense least squares, and what a martingale must do."""

import numpy as np
import pytest
from scipy import integrate, stats

from crossover.answers.keeping.evidence import contrast, log_evalue, together

TAU = 2.0


@pytest.mark.parametrize(
    ("t", "pairs", "dof"), [(2.0, 3, 4), (5.0, 2.5, 10), (-1.0, 6, 8), (0.0, 1, 1), (8.0, 4, 30), (-3.0, 4, 6)]
)
def test_the_closed_form_is_the_ratio_of_densities_integrated(t: float, pairs: float, dof: int) -> None:
    def under(delta: float) -> float:
        density = stats.nct.pdf(t, dof, delta * np.sqrt(pairs)) if delta else stats.t.pdf(t, dof)
        return float(2 * stats.norm.pdf(delta / TAU) / TAU * density)

    expected = integrate.quad(under, 0, 20, limit=500)[0] / stats.t.pdf(t, dof)
    assert np.exp(log_evalue(np.array(t), pairs, dof)) == pytest.approx(expected, rel=1e-8)


def test_with_a_known_noise_it_is_that_of_a_normal_mean() -> None:
    """2 N(0, 1 + n tau^2) / N(0, 1), of the half that is positive."""
    z, share = 3.0, 4 * TAU**2 / (1 + 4 * TAU**2)
    ratio = stats.norm.pdf(z, 0, np.sqrt(1 + 4 * TAU**2)) / stats.norm.pdf(z)
    expected = 2 * ratio * stats.norm.cdf(z * np.sqrt(share))
    assert np.exp(log_evalue(np.array(z), 4, 1e7)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("draw", range(6))
def test_contrasts_are_those_of_dense_least_squares(draw: int) -> None:
    generator = np.random.default_rng(draw)
    recipe, seed = generator.integers(0, 5, 30), generator.integers(0, 4, 30)
    loss = generator.normal(size=30)
    design = np.concatenate([np.eye(5)[recipe], np.eye(4)[seed]], 1)
    solution, _, rank, _ = np.linalg.lstsq(design, loss, rcond=None)
    weights = np.array([1, -1] + [0] * 7)
    found = contrast(loss, recipe.astype(str).astype(object), seed.astype(str).astype(object), "0", "1")
    assert found.gain == pytest.approx(solution[0] - solution[1])
    assert found.squares == pytest.approx(((loss - design @ solution) ** 2).sum())
    assert found.dof == 30 - rank
    assert 2 / found.pairs == pytest.approx(weights @ np.linalg.pinv(design.T @ design) @ weights)


def test_seeds_that_no_run_ties_together_tell_nothing_of_a_gain() -> None:
    recipe, seed = np.array(["a", "a", "b", "b"], object), np.array(["0", "1", "2", "3"], object)
    found = contrast(np.array([3.0, 3.1, 2.0, 2.1]), recipe, seed, "a", "b")
    assert (found.pairs, found.dof, found.evidence()) == (0.0, 0, 0.0)
    assert contrast(np.array([3.0, 3.1, 2.0, 2.1]), recipe, None, "a", "b").pairs == pytest.approx(2.0)


def test_where_there_is_no_gain_it_is_one_on_average_after_however_many_runs() -> None:
    """Of pairs whose noise is measured by themselves; with a loss it is less."""
    generator = np.random.default_rng(0)
    for gain, most in ((0.0, 1.15), (-0.5, 0.5)):
        off = generator.normal(gain, 1.0, (40_000, 8))
        t = off.mean(1) / off.std(1, ddof=1) * np.sqrt(8)
        mean = float(np.exp(log_evalue(t, 8, 7)).mean())
        assert mean < most
        assert gain or mean > 0.85


def test_that_it_ever_reaches_twenty_has_a_probability_of_a_twentieth_at_most() -> None:
    """Looked at after every pair of 60; a t test at a twentieth, so looked at, is wrong two times in five."""
    generator = np.random.default_rng(1)
    off = generator.normal(size=(4000, 60))
    ever, tested = np.zeros(4000, bool), np.zeros(4000, bool)
    for n in range(2, 61):
        t = off[:, :n].mean(1) / off[:, :n].std(1, ddof=1) * np.sqrt(n)
        ever |= np.exp(log_evalue(t, n, n - 1)) >= 20
        tested |= t > stats.t.ppf(0.95, n - 1)
    assert ever.mean() < 0.05
    assert tested.mean() > 0.25


def test_sizes_together_are_a_mean_that_is_one_where_each_is() -> None:
    assert together(np.zeros(1)) == pytest.approx(0.0)
    assert together(np.zeros(4)) == pytest.approx(0.0)
    one = np.exp(together(np.log([100.0])))
    assert one == pytest.approx(0.7 * 100 + 0.3)
    late = np.exp(together(np.log([0.01, 100.0])))  # worse below, better above
    assert late == pytest.approx(0.7 * 1 + 0.15 * 100 + 0.15)
