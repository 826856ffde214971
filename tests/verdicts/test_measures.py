"""Every measurement on tables whose answer is planted."""

import json
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.study.errors import UsageError
from stages.study.params import Claim
from stages.verdicts import measures as m
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
    assert above.dof == 6
    assert m.trend(found, "s", "a", "b").effect.value == pytest.approx(-0.1, abs=0.004)
    assert len(found.used) == 21
    with pytest.raises(NotMeasurableError, match="nowhere the same run"):
        m.paired_difference(tables(ladder({"a": float, "b": float})), "s", "a", "b", "above")


def test_a_diverged_run_is_named_and_left_out() -> None:
    rows = ladder({"a": lambda _: 0.0, "b": lambda _: 0.5})
    rows[-1]["status"] = "diverged"
    found = m.paired_difference(tables(rows), "s", "a", "b", "largest")
    assert found.notes == ["1 run(s) of b at width 48 diverged"]
    assert found.effect.value == pytest.approx(0.5)
    assert len(found.groups.values[48]) == 2


def test_gap_and_its_change() -> None:
    rows = ladder({"a": lambda _: 0.0, "b": lambda _: -0.02}, loss_fresh_se=0.03, loss_seen_se=0.04)
    for row in rows:
        row["loss_seen"] = row["loss"] - (0.1 if row["recipe"] == "a" else 0.07)
        row["loss_fresh"] = row["loss"]
    found = m.gap(tables(rows), "s", "a")
    assert found.effect.value == pytest.approx(0.1)
    assert found.effect.se == pytest.approx(0.05 / 2)  # four widths, text error 0.05 each, which seeds do not lessen
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
    assert m.stable_range(found, "s", ["a", "b"]).effect.value == pytest.approx(1.9)
    assert m.optimum_shift(found, "s", "a", "b", ["a", "b"]).effect.value == pytest.approx(-1.0)
    cost = m.best_cost(found, "s", "a", "b", ["a", "b"]).effect.value
    assert cost == pytest.approx(0.2 + 0.05 * (0.4**2 - 0.4**2), abs=1e-9)
    stable = [{**row, "status": "done"} for row in rows]
    assert "a never diverged" in m.stable_range(tables(stable), "s", ["a", "b"]).notes[0]
    excess = [[0.05 * (o - best) ** 2 if o <= 1 else None for o in OCTAVES] for best in (-0.4, -1.4)]
    losses = [[7.0 if e is None else floor + e for e in part] for part, floor in zip(excess, (4.0, 4.2), strict=True)]
    by_hand = [np.mean(part) - min(part) for part in losses]
    assert m.sensitivity(found, "s", "a", "b", ["a", "b"]).effect.value == pytest.approx(
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
    assert m.batch_side(found, "s", "a", "small").effect.value == pytest.approx((0.4 + 0.9) / 2, abs=1e-6)
    assert m.batch_side(found, "s", "a", "large").effect.value == pytest.approx((0.9 + 0.4) / 2, abs=1e-6)
    assert m.batch_shift(found, "s", "a").effect.value == pytest.approx(1.0, abs=1e-6)
    assert m.optimum_slope(found, "s", "a", "batch").effect.value == pytest.approx(0.6, abs=1e-6)


def test_the_exponent_of_the_best_rate_in_width() -> None:
    rows = [
        {**bowl("a", w, s, o, 0.3, 4.0), "lr": 0.01 * 2.0**o * w**-0.8}
        for w, s, o in product(WIDTHS, range(3), OCTAVES)
    ]
    assert m.optimum_slope(tables(rows), "s", "a", "width").effect.value == pytest.approx(-0.8, abs=1e-6)
    edge = [row for row in rows if row["axes"]["lr_octaves"] >= 1]
    assert m.optimum_slope(tables(edge), "s", "a", "width").notes == ["12 of 12 optima lie at the edge of their grid"]


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
    pair = {"a": "a", "b": "b", "verdict": "crosses", "crossover": {"value": at}, "rungs": [{"structural": False}]}
    found = tables(rows, fit={"comparisons": [pair]})
    assert m.extrapolation(found, "s", [("a", "b")]).effect.value == pytest.approx(0, abs=0.01)
    pair["rungs"] = [{"structural": True}]
    with pytest.raises(NotMeasurableError, match="no pair crosses"):
        m.extrapolation(found, "s", [("a", "b")])


def test_collapse_is_compared_seed_by_seed() -> None:
    entries = [
        {"recipe": name, "seed": seed, "widths": [16, 24, 32], "deviation": 0.01 + 0.001 * seed + extra}
        for (name, extra), seed in product([("a", 0.0), ("b", 0.02)], range(3))
    ]
    found = tables(ladder({"a": float, "b": float}), fit={"collapse": entries})
    assert m.collapse(found, "s", "a", "b", 3).effect.value == pytest.approx(0.02)
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
