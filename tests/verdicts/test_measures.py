"""Every measurement on tables whose answer is planted."""

import json
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crossover.base.errors import UsageError
from stages.study.params import Claim
from stages.verdicts import measures as m
from stages.verdicts import optima
from stages.verdicts.claims import judge_claims, metrics, seed_noise
from stages.verdicts.groups import NotMeasurableError
from stages.verdicts.tables import Tables, paired, vertices, with_axes

WIDTHS, PIVOT = (16, 24, 32, 48), 24


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Losses with what measurements read; a row gives recipe, width, seed, loss and what differs from the defaults."""
    filled = []
    for row in rows:
        fields = {
            "axes": "{}", "status": "done", "loss_init": 7.0, "n_spikes": 0, "lr": 0.01, "batch": 16,
            "loss_validation": row["loss"], "loss_seen": row["loss"] - 0.1, "loss_fresh": row["loss"],
            "loss_seen_se": 0.0, "loss_fresh_se": 0.0, "n_nonembedding": 24 * row["width"] ** 2,
            "tokens": 480 * row["width"] ** 2, "flops_6n": 6.0 * 24 * 480 * row["width"] ** 4,
        }  # fmt: skip
        fields |= {key: value for key, value in row.items() if key != "loss"}
        fields["axes"] = json.dumps(row.get("axes", {}), sort_keys=True)
        fields.setdefault("fingerprint", f"{row['recipe']}-{row['width']}-{row['seed']}-{fields['axes']}")
        if fields["status"] != "done":
            fields["loss_validation"] = fields["loss_seen"] = fields["loss_fresh"] = np.nan
        filled.append(fields)
    return with_axes(pd.DataFrame(filled))


def ladder(effect: dict[str, Any], seeds: int = 3, sd: float = 0.0, **fields: Any) -> list[dict[str, Any]]:
    """Rows of recipes whose loss is a power of width plus a seed's own shift plus the recipe's effect at the width."""
    generator = np.random.default_rng(0)
    return [
        {"recipe": name, "width": width, "seed": seed, **fields,
         "loss": 8 * width**-0.2 + 0.05 * seed + at(width) + sd * generator.normal()}
        for (name, at), width, seed in product(effect.items(), WIDTHS, range(seeds))
    ]  # fmt: skip


def tables(rows: list[dict[str, Any]], study: str = "s", fit: dict[str, Any] | None = None) -> Tables:
    return Tables({study: table(rows)}, {study: fit or {}}, {})


def test_paired_differences_leave_out_the_meeting_point() -> None:
    rows = ladder({"a": lambda _: 0.0, "b": lambda w: -0.1 * np.log2(w / PIVOT)}, sd=0.001)
    for row in rows:
        if row["width"] == PIVOT:
            row["fingerprint"] = f"both-{row['seed']}"
    found = tables(rows)
    above, below = (m.paired_difference(found, "s", "a", "b", where) for where in ("above", "below"))
    assert above.effect.value == pytest.approx(-0.1 * np.log2([32 / 24, 48 / 24]).mean(), abs=0.003)
    assert below.effect.value == pytest.approx(-0.1 * np.log2(16 / 24), abs=0.003)
    assert set(above.groups.values) == {32, 48}
    assert above.dof <= 6  # pooled, or what the groups in question have by themselves
    assert m.trend(found, "s", "a", "b").effect.value == pytest.approx(-0.1, abs=0.004)
    assert len(found.used) == 21
    with pytest.raises(NotMeasurableError, match="nowhere the same run"):
        m.paired_difference(tables(ladder({"a": float, "b": float})), "s", "a", "b", "above")


def test_a_diverged_run_counts_as_the_loss_it_started_from() -> None:
    rows = ladder({"a": lambda _: 0.0, "b": lambda _: 0.0})
    at_largest = {row["seed"]: row for row in rows if row["recipe"] == "b" and row["width"] == 48}
    for row in at_largest.values():
        row["status"] = "diverged"
    found = m.paired_difference(tables(rows), "s", "a", "b", "largest")
    assert found.notes == ["3 run(s) of b at width 48 diverged"]
    by_hand = np.mean([7.0 - row["loss"] for row in at_largest.values()])
    assert found.effect.value == pytest.approx(by_hand)  # left out, the two would have been called equal
    assert m.trend(tables(rows), "s", "a", "b").notes == found.notes
    swept = [{**row, "axes": {"o": o}, "lr": 0.01 * 2**o} for row, o in product(rows, (0, 1))]
    assert m.tuned_difference(tables(swept), "s", "a", ["b"]).effect.value == pytest.approx(by_hand / 4)


def test_a_gain_must_be_there_to_shrink_and_a_lead_to_grow() -> None:
    """An add-on that hurts everywhere, and more so the wider the model, has lost no gain."""
    hurts = tables(ladder({"addon": lambda w: 0.05 * np.log2(w), "base": lambda _: 0.0}, sd=0.001))
    helps = tables(ladder({"addon": lambda w: 0.05 * np.log2(w / 64), "base": lambda _: 0.0}, sd=0.001))
    for found, blocked in ((hurts, True), (helps, False)):
        measured = m.trend(found, "s", "addon", "base", premise="smallest above")
        assert measured.effect.value == pytest.approx(-0.05, abs=0.002)
        assert bool(measured.blocked) == blocked
    blocked = m.trend(hurts, "s", "addon", "base", premise="smallest above").blocked
    assert "no gain that could shrink: the difference at width 16 is -0.20" in blocked
    swept = [{**row, "axes": {"o": 0}} for row in ladder({"addon": lambda w: -0.1 / w, "base": float}, sd=0.001)]
    blocked = m.tuned_trend(tables(swept), "s", "addon", ["base"], premise="largest below").blocked
    assert blocked.startswith("there is no lead that could have grown")


def test_gap_and_its_change() -> None:
    rows = ladder({"a": lambda _: 0.0, "b": lambda _: -0.02}, loss_fresh_se=0.03, loss_seen_se=0.04)
    for row in rows:
        row["loss_seen"] = row["loss"] - (0.1 if row["recipe"] == "a" else 0.07)
        row["loss_fresh"] = row["loss"]
    found = m.gap(tables(rows), "s", "a")
    assert found.effect.value == pytest.approx(0.1)
    assert found.effect.se == pytest.approx(0.05)  # of the text, which seeds do not lessen
    assert found.shared_variance == pytest.approx(0.05**2)
    for row in rows:
        if row["width"] == 32:
            row["loss_seen"] -= 0.2
    worst = m.gap(tables(rows), "s", "a")
    assert worst.effect.value == pytest.approx(0.3)  # three good widths do not make up for a bad one
    assert worst.notes == ["the widest gap of 4 widths, at 32"]
    assert m.change(tables(rows), "s", "a", "b").effect.value == pytest.approx(-0.03)


def test_slopes_in_parameters_and_tokens() -> None:
    rows = [
        {"recipe": "a", "width": w, "seed": s, "axes": {"tokens_factor": f}, "tokens": 480 * w * w * f,
         "loss": 5 - 0.2 * np.log2(24 * w * w) - 0.3 * np.log2(480 * w * w * f) + 0.001 * s}
        for w, s, f in product(WIDTHS, range(3), (0.5, 1.0))
    ]  # fmt: skip
    for along, expected in (("N", -0.2), ("D", -0.3)):
        assert m.slope(tables(rows), "s", "a", along).effect.value == pytest.approx(expected, abs=1e-3)
    with pytest.raises(NotMeasurableError, match="do not vary apart"):
        m.slope(tables([row for row in rows if row["axes"]["tokens_factor"] == 1]), "s", "a", "N")


def bowl(recipe: str, width: int, seed: int, octave: float, best: float, floor: float, **more: Any) -> dict[str, Any]:
    return {"recipe": recipe, "width": width, "seed": seed, "axes": {"lr_octaves": octave}, "lr": 0.01 * 2.0**octave,
            "loss": floor + 0.05 * (octave - best) ** 2 + 0.01 * seed, **more}  # fmt: skip


OCTAVES = (-2.0, -1.0, 0.0, 1.0, 2.0)


def test_tuning_is_not_fooled_by_luck() -> None:
    """Twenty recipes that differ by noise alone: the best of them, chosen and measured on the same seeds, looks better
    by about 1.9 standard deviations of a mean; chosen on other seeds it does not."""
    generator = np.random.default_rng(3)
    effects = []
    for _ in range(60):
        rows = [
            {"recipe": name, "width": 16, "seed": seed, "loss": 3 + 0.01 * generator.normal()}
            for name, seed in product(["base", *map(str, range(20))], range(3))
        ]
        effects.append(m.tuned_difference(tables(rows), "s", "base", list(map(str, range(20)))).effect.value)
    assert abs(np.mean(effects)) < 3 * np.std(effects) / 60**0.5
    assert np.std(effects) > 0.003


def test_tuned_differences_compare_best_with_best() -> None:
    rows = [
        bowl(name, width, seed, octave, best, floor + 0.02 * np.log2(width / 16) * (name == "b"))
        for (name, best, floor), width, seed, octave in product(
            [("a", 1.0, 4.0), ("b", -1.0, 3.9)], WIDTHS, range(3), OCTAVES
        )
    ]
    found = tables(rows)
    assert m.tuned_trend(found, "s", "a", ["b"]).effect.value == pytest.approx(0.02)
    mean = -0.1 + 0.02 * np.log2(np.array(WIDTHS) / 16).mean()
    assert m.tuned_difference(found, "s", "a", ["b"]).effect.value == pytest.approx(mean)
    one_seed = tables([row for row in rows if row["seed"] == 0])
    with pytest.raises(NotMeasurableError, match="two seeds"):
        m.tuned_difference(one_seed, "s", "a", ["b"])


def test_learning_rate_measures() -> None:
    """Optima at -0.4 and -1.4 octaves, divergence above +1: ranges of 1.4 and 2.4 octaves, a shift of one."""
    rows = [
        bowl(name, 16, seed, octave, best, floor, status="diverged" if octave > 1 else "done")
        for (name, best, floor), seed, octave in product([("a", -0.4, 4.0), ("b", -1.4, 4.2)], range(3), OCTAVES)
    ]
    found = tables(rows)
    assert optima.stable_range(found, "s", ["a", "b"]).effect.value == pytest.approx(1.9)
    assert optima.optimum_shift(found, "s", "a", "b", ["a", "b"]).effect.value == pytest.approx(-1.0)
    cost = optima.best_cost(found, "s", "a", "b", ["a", "b"]).effect.value
    assert cost == pytest.approx(0.2 + 0.05 * (0.4**2 - 0.4**2), abs=1e-9)
    stable = [{**row, "status": "done"} for row in rows]
    assert "a never diverged" in optima.stable_range(tables(stable), "s", ["a", "b"]).notes[0]
    excess = [[0.05 * (o - best) ** 2 if o <= 1 else None for o in OCTAVES] for best in (-0.4, -1.4)]
    losses = [[7.0 if e is None else floor + e for e in part] for part, floor in zip(excess, (4.0, 4.2), strict=True)]
    by_hand = [np.mean(part) - min(part) for part in losses]
    assert optima.sensitivity(found, "s", "a", "b", ["a", "b"]).effect.value == pytest.approx(
        by_hand[1] - by_hand[0], abs=0.01
    )


def test_batch_measures() -> None:
    """Loss 0.1 x (log2 batch - 5)^2 at width 16 and - 6 at 32, best rate as batch^0.6: all three are found again."""
    rows = [
        {"recipe": "a", "width": w, "seed": s, "batch": 2**b, "lr": 2.0 ** (0.6 * b + o - 10), "axes": {"b": b, "o": o},
         "loss": 4 + 0.1 * (b - 5 - np.log2(w / 16)) ** 2 + 0.05 * (o - 0.2) ** 2 + 0.001 * s}
        for w, s, b, o in product((16, 32), range(2), range(3, 9), (-1, 0, 1))
    ]  # fmt: skip
    found = tables(rows)
    assert optima.batch_side(found, "s", "a", "small").effect.value == pytest.approx((0.4 + 0.9) / 2, abs=1e-6)
    assert optima.batch_side(found, "s", "a", "large").effect.value == pytest.approx((0.9 + 0.4) / 2, abs=1e-6)
    assert optima.batch_shift(found, "s", "a").effect.value == pytest.approx(1.0, abs=1e-6)
    assert optima.optimum_slope(found, "s", "a", "batch").effect.value == pytest.approx(0.6, abs=1e-6)


def test_the_exponent_of_the_best_rate_in_width() -> None:
    rows = [
        {**bowl("a", w, s, o, 0.3, 4.0), "lr": 0.01 * 2.0**o * w**-0.8}
        for w, s, o in product(WIDTHS, range(3), OCTAVES)
    ]
    assert optima.optimum_slope(tables(rows), "s", "a", "width").effect.value == pytest.approx(-0.8, abs=1e-6)
    edge = tables([row for row in rows if row["axes"]["lr_octaves"] >= 1])
    blocked = "12 of 12 optima lie at the edge of their grid: widen it"
    assert optima.optimum_slope(edge, "s", "a", "width").blocked == blocked
    assert optima.optimum_shift(edge, "s", "a", "a", ["a"]).blocked == blocked


def test_vertices_of_a_parabola_are_exact() -> None:
    rows = table([bowl("a", 16, s, o, 0.37, 4.0) for s, o in product(range(2), OCTAVES)])
    assert vertices(rows, "lr")["value"].to_numpy() == pytest.approx(np.log2(0.01) + 0.37)


def test_a_planted_crossover_is_extrapolated() -> None:
    """Two exact power laws cross at C*: laws fitted below it put it where it is."""
    compute = {w: 6.0 * 24 * 480 * w**4 for w in WIDTHS}
    at = compute[32] * 1.5
    rows = [
        {"recipe": name, "width": w, "seed": s, "loss": 4 * (compute[w] / at) ** -power + 0.0001 * s}
        for (name, power), w, s in product([("a", 0.08), ("b", 0.11)], WIDTHS, range(3))
    ]
    crossover = {"value": at, "ci": [at / 1.2, at * 1.2]}
    pair = {"a": "a", "b": "b", "verdict": "crosses", "crossover": crossover, "rungs": [{"structural": False}]}
    found = tables(rows, fit={"comparisons": [pair]})
    exact = m.extrapolation(found, "s", [("a", "b")]).effect
    assert exact.value == pytest.approx(0, abs=0.01)
    assert exact.se == pytest.approx(2 * np.log10(1.2) / 3.29, rel=0.01)  # how well C* itself is known
    bent = [{**row, "loss": row["loss"] + 0.02 * (row["recipe"] == "b" and row["width"] == 16)} for row in rows]
    bent += [
        {**row, "recipe": "c", "loss": row["loss"] - 0.04 * (row["width"] == 16)}
        for row in rows
        if row["recipe"] == "b"
    ]
    both = tables(bent, fit={"comparisons": [pair, {**pair, "b": "c"}]})
    up, down = (m.extrapolation(both, "s", [("a", name)]).effect.value for name in "bc")
    assert min(up, down) > 0.01  # too high and too low by much are both misplaced, and do not cancel
    assert m.extrapolation(both, "s", [("a", "b"), ("a", "c")]).effect.value == pytest.approx((up + down) / 2)
    crossover["ci"] = [at / 2, None]
    with pytest.raises(NotMeasurableError, match="bounded place"):
        m.extrapolation(found, "s", [("a", "b")])
    crossover["ci"] = [at / 2, at * 2]
    pair["rungs"] = [{"structural": True}]
    with pytest.raises(NotMeasurableError, match="no pair crosses"):
        m.extrapolation(found, "s", [("a", "b")])


def test_collapse_is_compared_seed_by_seed() -> None:
    entries = [
        {"recipe": name, "seed": seed, "widths": [16, 24, 32], "deviation": 0.01 + 0.001 * seed + extra, "floor": 0.0}
        for (name, extra), seed in product([("a", 0.0), ("b", 0.02)], range(3))
    ]
    found = tables(ladder({"a": float, "b": float}), fit={"collapse": entries})
    measured = m.collapse(found, "s", "a", "b", 3)
    assert measured.effect.value == pytest.approx(0.02)
    assert measured.notes == ["6 of 6 curves collapse best with no floor at all"]
    with pytest.raises(NotMeasurableError, match="over 4 widths"):
        m.collapse(found, "s", "a", "b", 4)


def test_pairs_need_both_runs() -> None:
    rows = ladder({"a": float, "b": float})
    with pytest.raises(NotMeasurableError, match="no pair of a and b"):
        paired(
            table([row for row in rows if (row["seed"] == 0) == (row["recipe"] == "a")]), "a", "b", "loss_validation"
        )


def noise_rows(seeds: int = 8) -> list[dict[str, Any]]:
    generator = np.random.default_rng(5)
    return [
        {"recipe": "n", "width": w, "seed": s, "loss": 4 + 0.01 * generator.normal()}
        for w, s in product((32, 48), range(seeds))
    ]


def claim(**changes: Any) -> Claim:
    fields = {"statement": "b is better", "paper": "ours", "study": "s", "measure": "paired",
              "given": {"a": "a", "b": "b"}, "expects": "below"}  # fmt: skip
    return Claim.model_validate({**fields, **changes})


def test_a_claim_is_judged_by_the_noise_of_seeds() -> None:
    found = tables(ladder({"a": lambda _: 0.0, "b": lambda _: -0.2}, sd=0.01))
    found.losses["noise"] = table(noise_rows())
    tolerance = seed_noise(found)
    by_hand = np.sqrt(found.losses["noise"].groupby("width")["loss_validation"].var().mean())
    assert tolerance.value == pytest.approx(2 * by_hand)
    supported, refuted, close = judge_claims(
        {"up": claim(), "down": claim(expects="above"), "edge": claim(tolerance=0.2, expected=-0.3)}, found, "pocket"
    )
    assert (supported.verdict, refuted.verdict, close.verdict) == ("SUPPORTED", "REFUTED", "INCONCLUSIVE")
    assert supported.cells == 24
    assert supported.power > 0.99
    assert supported.tolerance_from.startswith("2 x the seed SD")
    assert close.power_at == -0.3
    assert "times the seeds" in close.why or "more seeds would not decide" in close.why
    counts = metrics([supported, refuted, close])["pocket"]
    assert counts["counts"] == {"SUPPORTED": 1, "REFUTED": 1, "INCONCLUSIVE": 1}
    assert counts["claims"]["up"]["verdict"] == "SUPPORTED"


def test_an_effect_that_means_something_else_carries_no_verdict() -> None:
    found = tables(ladder({"addon": lambda w: 0.05 * np.log2(w), "base": lambda _: 0.0}, sd=0.001))
    given = {"a": "addon", "b": "base", "premise": "smallest above"}
    (judged,) = judge_claims({"x": claim(measure="trend", given=given, tolerance=0, expected=-0.03)}, found, "pocket")
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.effect.value == pytest.approx(-0.05, abs=0.002)
    assert judged.why.startswith("there is no gain that could shrink")


def test_a_claim_that_cannot_be_measured_says_why() -> None:
    found = tables(ladder({"a": float}))
    found.losses["noise"] = table(noise_rows(seeds=3))
    (few,) = judge_claims({"x": claim()}, found, "pocket")
    assert "needs 8 finished seeds" in few.why
    (lacking,) = judge_claims({"x": claim(tolerance=0.1, expected=-1)}, found, "pocket")
    assert (lacking.verdict, lacking.why) == ("INCONCLUSIVE", "not measurable here: study s has no runs of b")
    assert judge_claims({"x": claim(study="other")}, found, "pocket") == []


def test_a_misspelt_argument_is_refused() -> None:
    found = tables(ladder({"a": float, "b": float}))
    with pytest.raises(UsageError, match=r"claims.x.given.wher is unknown; did you mean 'where'"):
        judge_claims({"x": claim(given={"a": "a", "b": "b", "wher": "all"})}, found, "pocket")
    with pytest.raises(UsageError, match=r"claims.x.given.b is missing"):
        judge_claims({"x": claim(given={"a": "a"})}, found, "pocket")
    with pytest.raises(UsageError, match=r"claims.x.given.where cannot be 'abov'; did you mean 'above'"):
        judge_claims({"x": claim(given={"a": "a", "b": "b", "where": "abov"})}, found, "pocket")
    with pytest.raises(UsageError, match=r"study s asks for axis 'lr_octave'"):
        judge_claims(
            {"x": claim(given={"a": "a", "b": "b", "at": {"lr_octave": 0}}, tolerance=0.1, expected=1)}, found, "pocket"
        )
