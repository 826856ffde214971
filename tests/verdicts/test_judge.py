"""The judge on planted truths: both parts right at the nominal rate, silent where they should be; the table by hand."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from crossover.runs.estimates import Estimate
from crossover.runs.groups import ALIKE, Groups, NotMeasurableError, alike, widened
from stages.verdicts.design import detectable
from stages.verdicts.judge import Judgement, holm, judge, power, repeats_to_decide

DRAWS = 500
WIDTHS, SEEDS, INTEREST = (16, 24, 32, 48), 3, 0.03
UNEQUAL = {16: 0.004, 24: 0.008, 32: 0.012, 48: 0.024}
"""Seed SDs that grow by a factor of six along the ladder."""


def draw(generator: np.random.Generator, truth: dict[int, float], sd: dict[int, float] = UNEQUAL) -> Groups:
    return Groups({width: truth[width] + sd[width] * generator.normal(size=SEEDS) for width in WIDTHS})


def judgements(truth: float, expects: str, sd: dict[int, float] = UNEQUAL) -> list[Judgement]:
    """Verdicts on the mean of four widths with three seeds each, all with the same true effect."""
    generator = np.random.default_rng([int(1e6 * abs(truth)), len(expects)])
    found = []
    for _ in range(DRAWS):
        measured = draw(generator, dict.fromkeys(WIDTHS, truth), sd).mean()
        found.append(judge(measured.effect, expects, INTEREST, measured.dof))
    return found


def bound(rate: float) -> float:
    """No more than this share in 500 draws at a true rate, with 97.5% probability."""
    return float(stats.binom.ppf(0.975, DRAWS, rate)) / DRAWS


def share(found: list[Judgement], **said: str) -> float:
    return float(np.mean([all(getattr(item, name) == value for name, value in said.items()) for item in found]))


SUPPORTED, REFUTED, OPEN = "SUPPORTED", "REFUTED", "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("interval", "direction", "size", "above", "below", "not_below", "none"),
    [
        ((0.4, 0.6), "higher", "meaningful", SUPPORTED, REFUTED, SUPPORTED, REFUTED),
        ((0.05, 0.6), "higher", "open", SUPPORTED, REFUTED, SUPPORTED, OPEN),
        ((0.02, 0.2), "higher", "negligible", REFUTED, REFUTED, SUPPORTED, SUPPORTED),
        ((-0.1, 0.6), "open", "open", OPEN, OPEN, SUPPORTED, OPEN),
        ((-0.1, 0.2), "open", "negligible", REFUTED, REFUTED, SUPPORTED, SUPPORTED),
        ((-0.6, 0.6), "open", "open", OPEN, OPEN, OPEN, OPEN),
        ((-0.6, 0.2), "open", "open", OPEN, OPEN, OPEN, OPEN),
        ((-0.2, -0.02), "lower", "negligible", REFUTED, REFUTED, SUPPORTED, SUPPORTED),
        ((-0.6, -0.05), "lower", "open", REFUTED, SUPPORTED, REFUTED, OPEN),
        ((-0.6, -0.4), "lower", "meaningful", REFUTED, SUPPORTED, REFUTED, REFUTED),
    ],
)
def test_the_table_of_verdicts(
    interval: tuple[float, float], direction: str, size: str, above: str, below: str, not_below: str, none: str
) -> None:
    """Every place of a 90% interval beside zero and a smallest effect of interest of 0.3."""
    effect = Estimate(sum(interval) / 2, (interval[1] - interval[0]) / 3.29, interval)
    for expects, verdict in {"above": above, "below": below, "not below": not_below, "none": none}.items():
        found = judge(effect, expects, 0.3)
        assert (found.verdict, found.direction, found.size) == (verdict, direction, size), expects


def test_without_an_interval_nothing_is_said() -> None:
    for effect in (Estimate(1.0), Estimate(1.0, 0.1, (0.8, None))):
        assert judge(effect, "above", 0.1) == Judgement(OPEN, "open", "open")


@pytest.mark.parametrize("sd", [UNEQUAL, dict(zip(WIDTHS, reversed(UNEQUAL.values()), strict=True))])
def test_each_part_is_wrong_no_more_often_than_it_says(sd: dict[int, float]) -> None:
    """On the borders, where errors are most frequent, and with widths that scatter by factors of six."""
    none, border, far = (judgements(truth, "below", sd) for truth in (0.0, -INTEREST, -4 * INTEREST))
    assert share(none, direction="lower") <= bound(0.05)
    assert share(none, direction="higher") <= bound(0.05)
    assert share(border, size="meaningful") <= bound(0.05)
    assert share(border, size="negligible") <= bound(0.05)
    assert share(none, size="negligible") > 0.9  # and it says something where there is something to say
    assert share(far, direction="lower", size="meaningful") > 0.99


@pytest.mark.parametrize(
    ("expects", "supported", "refuted"),
    [("above", INTEREST, 0.0), ("below", -INTEREST, 0.0), ("not below", 0.0, -INTEREST), ("none", 0.0, INTEREST)],
)
def test_planted_truths(expects: str, supported: float, refuted: float) -> None:
    """What is true is refuted, and what is false supported, in at most 5%; each is found out where it is plain."""
    assert share(judgements(supported, expects), verdict=REFUTED) <= bound(0.05)
    assert share(judgements(refuted, expects), verdict=SUPPORTED) <= bound(0.05)
    assert share(judgements(4 * supported, expects), verdict=SUPPORTED) > 0.9
    assert share(judgements(4 * refuted, expects), verdict=REFUTED) > 0.9


def test_widths_that_agree_are_rarely_told_apart_and_a_rung_that_is_off_is() -> None:
    generator = np.random.default_rng(6)
    false, found, wrong = 0, 0, np.zeros(len(WIDTHS))
    off = {16: -0.1, 24: -0.1, 32: -0.1, 48: 0.1}
    for _ in range(DRAWS):
        false += alike(list(draw(generator, dict.fromkeys(WIDTHS, -0.1)).mean().parts.values())) < ALIKE
        parts = draw(generator, off).mean().parts
        found += alike(list(parts.values())) < ALIKE
        wrong += [part.effect.sign == -np.sign(off[width]) for width, part in parts.items()]
    assert false / DRAWS <= bound(0.05)
    assert found / DRAWS > 0.9
    assert max(wrong) / DRAWS <= bound(0.05)


def test_alike_is_welch_s_analysis_of_variance() -> None:
    """Two groups: the square of Welch's t."""
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=4), 0.5 + 3 * generator.normal(size=6)
    parts = [Groups({name: values}).mean() for name, values in (("a", a), ("b", b))]
    assert alike(parts) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)
    assert math.isnan(alike(parts[:1]))


SE, DOF = 0.01, 8


@pytest.mark.parametrize("truth", [0.0, -0.01, -0.03, 0.02])
@pytest.mark.parametrize("expects", ["above", "below", "not below", "none"])
def test_the_stated_power_is_the_rate(expects: str, truth: float) -> None:
    """Of 20,000 estimates with eight degrees of freedom."""
    generator = np.random.default_rng(3)
    values = truth + SE * generator.normal(size=20_000)
    errors = SE * np.sqrt(generator.chisquare(DOF, 20_000) / DOF)
    half = stats.t.ppf(0.95, DOF) * errors
    said = [judge(Estimate(v, e, (v - h, v + h)), expects, INTEREST).verdict == SUPPORTED
            for v, e, h in zip(values, errors, half, strict=True)]  # fmt: skip
    assert power(expects, INTEREST, truth, SE, DOF) == pytest.approx(np.mean(said), abs=0.01)


def test_the_power_of_a_direction_is_that_of_the_noncentral_t() -> None:
    """So the rule that plans seeds and the rule that judges are one."""
    for dof in (2, 4.5, 30, 1e9):
        smallest = detectable(SE, dof, 0.8)
        assert power("above", 0.0, smallest, SE, dof) == pytest.approx(0.8, abs=1e-3)
        assert power("below", 0.0, -smallest, SE, dof) == pytest.approx(0.8, abs=1e-3)
    density = stats.chi2(DOF).pdf
    factor = stats.t.ppf(0.95, DOF)
    exact = integrate.quad(
        lambda c: density(c) * max(0, 2 * stats.norm.cdf(3 - factor * math.sqrt(c / DOF)) - 1), 0, 60
    )
    assert power("none", 3 * SE, 0.0, SE, DOF) == pytest.approx(exact[0], abs=1e-3)
    assert math.isnan(power("above", 0.1, 0.2, 0.0, 3))


def test_p_values_are_those_of_one_sided_t_tests() -> None:
    values = np.random.default_rng(4).normal(0.02, 0.02, size=6)
    measured = Groups({"a": values}).mean()
    less, more = (stats.ttest_1samp(values, at, alternative=way).pvalue for at, way in ((0, "less"), (0, "greater")))
    inside = max(
        stats.ttest_1samp(values, at, alternative=way).pvalue for at, way in ((-0.03, "greater"), (0.03, "less"))
    )
    assert judge(measured.effect, "above", 0.03, measured.dof).p == pytest.approx(min(less, more, inside))
    assert judge(measured.effect, "none", 0.03, measured.dof).p == pytest.approx(
        min(inside, stats.ttest_1samp(values, 0.03, alternative="greater").pvalue)
    )


def test_holm_s_example() -> None:
    """Step by step: .01 <= .05/4, .013 <= .05/3, .03 > .05/2, so the last two fall; what is no verdict has no part."""
    assert holm([0.03, 0.01, None, 0.04, 0.013], 4) == [False, True, False, False, True]
    assert holm([0.013], 4) == [False]


def test_seeds_to_decide() -> None:
    """Half-width 0.04, effect 0.01 from what decides: a quarter of the width takes sixteen times the seeds."""
    effect = Estimate(0.02, 0.02, (-0.02, 0.06))
    assert repeats_to_decide(effect, "none", 0.03) == pytest.approx(16)
    assert repeats_to_decide(effect, "above", 0.03) == pytest.approx(4)  # half the width clears zero
    assert repeats_to_decide(effect, "not below", 0.03) == 1
    nothing = Estimate(0.001, 0.02, (-0.039, 0.041))
    assert repeats_to_decide(nothing, "above", 0.03) == pytest.approx((0.04 / 0.029) ** 2)  # by a negligible size
    less = Estimate(-0.05, 0.03, (-0.11, 0.01))
    assert repeats_to_decide(less, "not below", 0.03) == pytest.approx((0.06 / 0.05) ** 2)  # by its direction
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


def test_the_noise_of_seeds_is_a_line_in_width() -> None:
    """Standard deviations .01, .02 and .04 at widths 16, 32 and 64, exactly: at 128, with one run, it is .08.

    Its logarithm is known there as by least squares with weights dof / 2: x at -1, 0, 1, asked at 2.
    """
    spread = {w: sd * np.array([-1.0, 0.0, 1.0]) for w, sd in ((16, 0.01), (32, 0.02), (64, 0.04))}
    groups = Groups({**spread, 128: np.array([0.5])})
    found = groups.contrast({128: 1.0})
    assert found.effect.se == pytest.approx(0.08, rel=1e-6)
    assert found.dof == pytest.approx(2 / (1 / 3 + 2**2 / 2), rel=1e-6)
    variance, dof = groups.spreads[0].of({32: 1 / 3})
    assert (variance, dof) == pytest.approx((0.02**2 / 3, 6), rel=1e-6)
    assert groups.contrast({32: 1.0}).dof == pytest.approx(2)  # its own noise is known less well, and is as likely


def test_one_width_with_a_single_run_takes_nothing_from_the_others() -> None:
    """Its neighbour is six times as noisy as the line through the others would have it."""
    generator, hits = np.random.default_rng(13), 0
    for _ in range(DRAWS):
        groups = Groups(
            {w: sd * generator.normal(size=n) for w, sd, n in ((16, 1, 1), (24, 1, 5), (32, 6, 5), (48, 1, 5))}
        )
        low, high = groups.contrast({32: 1.0}).effect.ci
        hits += low <= 0 <= high
    assert hits / DRAWS >= COVERED


def test_more_noise_never_narrows_an_interval_and_both_are_covered() -> None:
    generator = np.random.default_rng(14)
    for variance, dof in ((1.0, 2.0), (0.1, 1.5), (1.0, 40.0)):
        wide = [widened(0.0, variance, dof, extra)[0].ci[1] for extra in (0.0, 0.03, 0.3, 3.0)]
        assert wide == sorted(wide)
    for dof, share in ((1, 0.1), (2, 0.3), (2, 3.0), (8, 0.3)):
        seeds = generator.chisquare(dof, 4000) / dof
        text = share * generator.chisquare(15, 4000) / 15
        values = math.sqrt(1 + share) * generator.normal(size=4000)
        found = [widened(v, s, dof, t)[0].ci for v, s, t in zip(values, seeds, text, strict=True)]
        assert np.mean([low <= 0 <= high for low, high in found]) >= 0.885


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
