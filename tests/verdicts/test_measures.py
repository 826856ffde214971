"""Every measurement on tables whose answer is planted."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from crossover.runs.groups import NotMeasurableError
from stages.verdicts import measures as m
from stages.verdicts import optima
from stages.verdicts.tables import paired, vertices
from tests.verdicts.planted import PIVOT, WIDTHS, ladder, table, tables


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
        row["loss_seen"] = row["loss"] - (0.1 if row["recipe"] == "a" else 0.07) - 1e-6 * row["seed"]
        row["loss_fresh"] = row["loss"]
    found = m.gap(tables(rows), "s", "a")
    assert found.effect.value == pytest.approx(0.1, abs=1e-5)
    assert found.effect.se == pytest.approx(0.05)  # of the text, which neither seeds nor widths lessen
    assert found.shared_variance == pytest.approx(0.05**2)
    for row in rows:
        if row["width"] == 32:
            row["loss_seen"] -= 0.2
    assert m.gap(tables(rows), "s", "a").parts[32].effect.value == pytest.approx(0.3, abs=1e-5)
    assert m.change(tables(rows), "s", "a", "b").effect.value == pytest.approx(-0.03, abs=1e-5)


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
    measured = m.tuned_difference(found, "s", "a", ["b"])
    assert measured.effect.value == pytest.approx(mean)
    assert measured.groups.cross_fitted  # else their intervals would take choices for independent
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
    excess = [[0.05 * (o - best) ** 2 for o in OCTAVES if o <= 1] for best in (-0.4, -1.4)]
    by_hand = [np.mean(part) - min(part) for part in excess]
    measured = optima.sensitivity(found, "s", "a", "b")
    assert measured.effect.value == pytest.approx(by_hand[1] - by_hand[0], abs=1e-9)  # over rates that all survived
    assert measured.notes == [
        "a: 3 diverged runs, 0 spikes", "b: 3 diverged runs, 0 spikes", "1 of 5 rates left out, at which a run diverged"
    ]  # fmt: skip
    lost = [{**row, "status": "diverged" if row["axes"]["lr_octaves"] > -1 else "done"} for row in rows]
    with pytest.raises(NotMeasurableError, match="three learning rates at which no run of either diverged"):
        optima.sensitivity(tables(lost), "s", "a", "b")


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
    small = tables([row for row in rows if row["batch"] <= 32])
    with pytest.raises(NotMeasurableError, match="at the edge: a best batch inside its grid is needed at 2 widths"):
        optima.batch_shift(small, "s", "a")
    assert optima.batch_side(small, "s", "a", "large").notes == [
        "at width 16 the best batch, 32, is at the edge", "at width 32 the best batch, 32, is at the edge"
    ]  # fmt: skip
    assert optima.optimum_slope(found, "s", "a", "batch").effect.value == pytest.approx(0.6, abs=1e-6)


def test_what_failed_tilts_no_tuned_choice_and_stops_no_claim() -> None:
    """Two identical recipes; one run of one of them crashed at the best rate, and a batch at a width."""
    rows = [bowl(name, w, s, o, 0.0, 4.0) for name, w, s, o in product("ab", (16, 32), range(4), OCTAVES)]
    lacking = [
        row
        for row in rows
        if (row["recipe"], row["width"], row["seed"], row["axes"]["lr_octaves"]) != ("b", 16, 1, 0.0)
    ]
    assert m.tuned_difference(tables(lacking), "s", "a", ["b"]).effect.value == pytest.approx(0.0, abs=1e-12)
    assert optima.sensitivity(tables(lacking), "s", "a", "b").effect.value == pytest.approx(0.0, abs=1e-12)
    batches = [
        {"recipe": "a", "width": w, "seed": s, "batch": b, "axes": {"b": b}, "loss": 4 + 0.1 * abs(b - 8) + 0.001 * s}
        for w, s, b in product((16, 32), range(3), (4, 8, 16)) if (w, b) != (32, 16)
    ]  # fmt: skip
    assert list(optima.batch_side(tables(batches), "s", "a", "large").groups.values) == [16]
    none = [row for row in batches if row["batch"] < 16 or row["seed"] < 2]
    with pytest.raises(NotMeasurableError, match="the largest batch, and one between, have finished with every seed"):
        optima.batch_side(tables(none), "s", "a", "large")


def test_the_exponent_of_the_best_rate_in_width() -> None:
    rows = [
        {**bowl("a", w, s, o, 0.3, 4.0), "lr": 0.01 * 2.0**o * w**-0.8}
        for w, s, o in product(WIDTHS, range(3), OCTAVES)
    ]
    assert optima.optimum_slope(tables(rows), "s", "a", "width").effect.value == pytest.approx(-0.8, abs=1e-6)
    edge = tables([row for row in rows if row["axes"]["lr_octaves"] >= 1])
    blocked = "12 of 12 optima lie at the edge of their grid: widen it"
    with pytest.raises(NotMeasurableError, match="inside its grid is needed at 4 widths, and is at none; widen"):
        optima.optimum_slope(edge, "s", "a", "width")
    with pytest.raises(NotMeasurableError, match="is needed at 4 widths, here are 3"):
        optima.optimum_slope(tables([row for row in rows if row["width"] < 48]), "s", "a", "width")
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
