"""The judge on planted truths: right at the nominal rate, wrong no more often than 5%, silent where it should be."""

import math

import numpy as np
import pytest
from scipy import stats

from crossover.runs.estimates import Estimate
from stages.verdicts.groups import Groups, NotMeasurableError
from stages.verdicts.judge import judge, power, repeats_to_decide

DRAWS = 500
SD, SEEDS, WIDTHS, TOLERANCE = 0.012, 3, 4, 0.024


def verdicts(truth: float, expects: str, tolerance: float = TOLERANCE, sd: float = SD) -> list[str]:
    """Verdicts on the mean of four widths with three seeds each, all with the same true effect."""
    generator = np.random.default_rng([int(1e6 * abs(truth)), len(expects), int(1e4 * tolerance)])
    found = []
    for _ in range(DRAWS):
        groups = Groups({width: truth + sd * generator.normal(size=SEEDS) for width in range(WIDTHS)})
        found.append(judge(groups.mean().effect, expects, tolerance))
    return found


def bound(rate: float) -> float:
    """No more than this share in 500 draws at a true rate, with 97.5% probability."""
    return float(stats.binom.ppf(0.975, DRAWS, rate)) / DRAWS


def share(found: list[str], verdict: str) -> float:
    return found.count(verdict) / len(found)


EXACT = SD / math.sqrt(SEEDS * WIDTHS)


@pytest.mark.parametrize(
    ("expects", "supported", "edge", "refuted"),
    [
        ("above", 3 * TOLERANCE, TOLERANCE, 0.0),
        ("below", -3 * TOLERANCE, -TOLERANCE, 0.0),
        ("not below", TOLERANCE, -TOLERANCE, -3 * TOLERANCE),
        ("none", 0.0, TOLERANCE, -3 * TOLERANCE),
    ],
)
def test_planted_truths(expects: str, supported: float, edge: float, refuted: float) -> None:
    """Far from the tolerance nearly every verdict is right; on it neither side is claimed more often than 5%."""
    assert share(verdicts(supported, expects), "SUPPORTED") > 0.99
    assert share(verdicts(refuted, expects), "REFUTED") > 0.99
    on_the_edge = verdicts(edge, expects)
    assert share(on_the_edge, "SUPPORTED") <= bound(0.05)
    assert share(on_the_edge, "REFUTED") <= bound(0.05)
    assert share(on_the_edge, "INCONCLUSIVE") >= 1 - bound(0.1)


@pytest.mark.parametrize(
    ("expects", "truth"), [("above", TOLERANCE + 2.5 * EXACT), ("below", -TOLERANCE - 2.5 * EXACT),
                           ("not below", -TOLERANCE + 2.5 * EXACT), ("none", 0.0)]
)  # fmt: skip
def test_the_stated_power_is_the_rate(expects: str, truth: float) -> None:
    tolerance = 2.5 * EXACT if expects == "none" else TOLERANCE
    stated = power(expects, tolerance, truth, EXACT, SEEDS * WIDTHS - WIDTHS)
    rate = share(verdicts(truth, expects, tolerance), "SUPPORTED")
    assert 0.4 < stated < 0.9
    # Student's t shifted, not the noncentral one; and the wider of two intervals costs up to a tenth
    assert stated - 0.1 < rate < stated + 0.06


def test_an_interval_across_the_tolerance_decides_nothing() -> None:
    for expects in ("above", "not below", "none"):
        assert judge(Estimate(0.02, 0.01, (-0.04, 0.05)), expects, 0.03) == "INCONCLUSIVE"
    assert judge(Estimate(-0.02, 0.01, (-0.05, 0.04)), "below", 0.03) == "INCONCLUSIVE"
    assert judge(Estimate(1.0), "above", 0.1) == "INCONCLUSIVE"
    assert judge(Estimate(1.0, 0.1, (0.8, None)), "above", 0.1) == "INCONCLUSIVE"


def test_seeds_to_decide() -> None:
    """Half-width 0.04, effect 0.01 from the tolerance: a quarter of the width takes sixteen times the seeds."""
    effect = Estimate(0.02, 0.02, (-0.02, 0.06))
    assert repeats_to_decide(effect, "none", 0.03) == pytest.approx(16)
    assert repeats_to_decide(effect, "above", 0.03) == pytest.approx(16)
    assert repeats_to_decide(effect, "below", 0.03) == 1  # only -0.03 matters to it, and that is far
    assert repeats_to_decide(Estimate(0.03, 0.02, (-0.01, 0.07)), "none", 0.03) == math.inf
    assert repeats_to_decide(Estimate(0.5, 0.02, (0.46, 0.54)), "none", 0.03) == 1
    shared = repeats_to_decide(effect, "none", 0.03, shared_variance=0.004**2)
    assert shared == pytest.approx((0.02**2 - 0.004**2) / (0.005**2 - 0.004**2))
    assert repeats_to_decide(effect, "none", 0.03, shared_variance=0.006**2) == math.inf


def test_contrasts_are_the_textbook_s() -> None:
    """A regression on group means is ordinary least squares on all values; its variance is pooled within groups."""
    generator = np.random.default_rng(0)
    groups = Groups({x: 2.0 - 0.3 * x + 0.1 * generator.normal(size=n) for x, n in ((1, 3), (2, 4), (4, 2))})
    x = np.repeat([1, 2, 4], [3, 4, 2])
    y = np.concatenate(list(groups.values.values()))
    assert groups.slope({1: 1, 2: 2, 4: 4}).effect.value == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-12)
    two = Groups({"a": y[:3], "b": y[3:7]})
    found = two.contrast({"b": 1.0, "a": -1.0})
    theirs = [stats.ttest_ind(y[3:7], y[:3], equal_var=equal).confidence_interval(0.9) for equal in (True, False)]
    wider = max(theirs, key=lambda span: span.high - span.low)
    assert found.effect.ci == pytest.approx((wider.low, wider.high), rel=1e-9)
    uneven = Groups({"a": 30 * y[:3], "b": y[3:7]}).contrast({"b": 1.0, "a": -1.0})
    welch = stats.ttest_ind(y[3:7], 30 * y[:3], equal_var=False)
    span = welch.confidence_interval(0.9)
    assert uneven.effect.ci == pytest.approx((span.low, span.high), rel=1e-9)
    assert uneven.dof == pytest.approx(welch.df, rel=1e-9)
    with pytest.raises(NotMeasurableError, match="two places"):
        Groups({1: y}).slope({1: 1})


COVERED = float(stats.binom.ppf(0.025, DRAWS, 0.9)) / DRAWS


def test_intervals_cover_where_groups_scatter_differently() -> None:
    """One width three times as noisy as the others, and all that is asked of it: pooling alone would cover 80%."""
    generator = np.random.default_rng(11)
    hits = 0
    for _ in range(DRAWS):
        groups = Groups({w: sd * generator.normal(size=SEEDS) for w, sd in ((16, 0.01), (32, 0.01), (48, 0.04))})
        low, high = groups.contrast({48: 1.0}).effect.ci
        hits += low <= 0 <= high
    assert hits / DRAWS >= COVERED


def test_intervals_cover_where_choices_are_cross_fitted() -> None:
    """Four equal settings, each seed's choice made on the two others: taken as independent they would cover 80%."""
    generator = np.random.default_rng(12)
    hits = 0
    for _ in range(DRAWS):
        values = {}
        for width in range(3):
            losses_SxK = generator.normal(size=(SEEDS, 4))
            sums = losses_SxK.sum(axis=0) - losses_SxK
            values[width] = np.array([losses_SxK[s, int(sums[s].argmin())] for s in range(SEEDS)])
        low, high = Groups(values, cross_fitted=True).mean().effect.ci
        hits += low <= 0 <= high
    assert hits / DRAWS >= COVERED
