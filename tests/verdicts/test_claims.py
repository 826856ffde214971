"""Claims judged on tables whose answer is planted: direction, size, noise, text, and what cannot be measured."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crossover.base.errors import UsageError
from crossover.runs.groups import NotMeasurableError
from stages.study.claims import Interest
from stages.verdicts.claims import judge_claims
from stages.verdicts.noise import seed_noise
from tests.verdicts.planted import claim, ladder, table, tables


def noise_rows(seeds: int = 8) -> list[dict[str, Any]]:
    generator = np.random.default_rng(5)
    return [
        {"recipe": "n", "width": w, "seed": s, "loss": 4 + 0.01 * generator.normal()}
        for w, s in product((32, 48), range(seeds))
    ]


def test_the_noise_of_seeds() -> None:
    found = tables(ladder({"a": float}))
    found.losses["noise"] = table(noise_rows())
    by_hand = np.sqrt(found.losses["noise"].groupby("width")["loss_validation"].var().mean())
    sd, words = seed_noise(found)
    assert sd == pytest.approx(by_hand)
    assert words == f"seed SD {by_hand:.4f} at widths 32, 48, 14 dof"
    found.losses["noise"] = table(noise_rows(seeds=3))
    with pytest.raises(NotMeasurableError, match="needs 8 finished seeds"):
        seed_noise(found)


def test_a_claim_has_a_direction_and_a_size() -> None:
    found = tables(ladder({"a": lambda _: 0.0, "b": lambda _: -0.2}, sd=0.01))
    up, down, little, edge = judge_claims(
        {"up": claim(interest=0.1), "down": claim(expects="above", interest=0.1), "little": claim(interest=1.0),
         "edge": claim(centre=-0.2, interest=0.1, published=-0.4)}, found, "pocket",
    )  # fmt: skip
    assert [(item.verdict, item.direction, item.size) for item in (up, down, little)] == [
        ("SUPPORTED", "lower", "meaningful"), ("REFUTED", "lower", "meaningful"), ("REFUTED", "lower", "negligible")
    ]  # fmt: skip
    assert up.cells == 24
    assert min(up.power, down.power, little.power) == pytest.approx(0.95, abs=1e-3)  # the border of negligible
    assert (up.interest, up.interest_from, up.power_at, down.power_at) == (0.1, "stated in the claim", -0.1, 0.1)
    assert edge.effect.value == pytest.approx(0, abs=0.02)
    assert edge.power_published > 0.99
    assert up.holm
    assert up.notes == ["without the error of the shared text: its blocks are not at hand"]
    assert [item.verdict for item in (up, down, little)].count("REFUTED") == 2


def test_the_smallest_effect_is_what_a_multiple_of_compute_buys() -> None:
    """By L = 20 C^-0.1 at the ladder's top: from C to 1.1 C the loss falls by 20 C^-0.1 (1 - 1.1^-0.1)."""
    top = 6.0 * 24 * 480 * 48**4
    law = {
        "laws": {"a": [{"params": {"A": {"value": 20.0}, "a": {"value": 0.1}}}]},
        "means": {"a": [{"flops_6n": top}]},
    }
    found = tables(ladder({"a": lambda _: 0.0, "b": lambda _: -0.2}, sd=0.01), fit=law)
    (judged,) = judge_claims({"x": claim()}, found, "pocket", Interest(compute=1.1, study="s", recipe="a"))
    assert judged.interest == pytest.approx(20 * (top**-0.1 - (1.1 * top) ** -0.1), rel=0.01)
    (without,) = judge_claims({"x": claim()}, found, "pocket")
    assert without.why == "not measurable here: scales.pocket.interest names no smallest effect of interest"
    (other,) = judge_claims({"x": claim()}, found, "pocket", Interest(compute=1.1, study="s", recipe="c"))
    assert "no law of c in study s" in other.why


def test_widths_that_differ_are_judged_one_by_one() -> None:
    """The mean of -0.9, -0.6, 3.1 and 0 is +0.4, and speaks for none of them."""
    effects = {16: -0.9, 24: -0.6, 32: 3.1, 48: 0.0}
    found = tables(ladder({"a": lambda _: 0.0, "b": effects.__getitem__}, sd=0.05))
    (judged,) = judge_claims({"x": claim(interest=0.2)}, found, "pocket")
    assert (judged.verdict, judged.direction, judged.effect) == ("MIXED", "mixed", None)
    assert judged.alike < 0.001
    assert judged.p < 0.01  # the smallest of four, times four; the last width's own is .03
    assert [part.verdict for part in judged.parts] == ["SUPPORTED", "SUPPORTED", "REFUTED", "REFUTED"]
    assert [part.size for part in judged.parts] == ["meaningful", "meaningful", "meaningful", "negligible"]
    half = tables(ladder({"a": lambda _: 0.0, "b": {16: -0.001, 24: -0.6, 32: -0.7, 48: -0.8}.__getitem__}, sd=0.05))
    (partly,) = judge_claims({"x": claim(interest=0.01)}, half, "pocket")
    assert (partly.verdict, partly.direction) == ("INCONCLUSIVE", "open")  # nothing contradicts, one width is open
    assert partly.why == "groups differ, and width 16 may be either"
    grows = tables(ladder({"a": lambda _: 0.0, "b": lambda w: -0.02 * w}, sd=0.01))
    (all_of_them,) = judge_claims({"x": claim(interest=0.1)}, grows, "pocket")
    assert (all_of_them.verdict, all_of_them.effect) == ("SUPPORTED", None)
    assert all_of_them.p > 1e-5  # that all widths are so is no surer than the least sure of them


def test_the_error_of_the_shared_text_is_in_the_interval() -> None:
    """Twelve blocks of equal length: the variance of a mean of blocks, s^2 / 12, which seeds do not lessen.

    What seeds and recipes add to a block alike cancels in the difference.
    """
    generator = np.random.default_rng(8)
    rows = ladder({"a": lambda _: 0.0, "b": lambda _: -0.2}, sd=1e-5)
    shared, gain = generator.normal(size=12), 0.05 * generator.normal(size=12)
    blocks = []
    for row in rows:
        of_b = row["recipe"] == "b"
        text_K = row["loss"] + shared - shared.mean() + of_b * (gain - gain.mean())
        name = f"{row['recipe']}-{row['width']}-{row['seed']}-{{}}"
        blocks += [{"fingerprint": name, "text": "validation", "block": k, "tokens": 100, "nats": 100 * loss}
                   for k, loss in enumerate(text_K)]  # fmt: skip
    found = tables(rows)
    found.blocks = pd.DataFrame(blocks).set_index(["fingerprint", "text", "block"])
    (judged,) = judge_claims({"x": claim(interest=0.1)}, found, "pocket")
    assert judged.text_se == pytest.approx(gain.std(ddof=1) / 12**0.5, rel=1e-6)
    assert judged.effect.se == pytest.approx(judged.text_se, rel=1e-3)
    assert judged.effect.value == pytest.approx(-0.2, abs=1e-4)
    assert judged.notes == []
    found.blocks = found.blocks.drop(index="b-16-0-{}", level="fingerprint")
    (partly,) = judge_claims({"x": claim(interest=0.1)}, found, "pocket")
    assert partly.text_se is None
    assert partly.notes == ["without the error of the shared text: its blocks are not at hand"]


def test_an_effect_that_means_something_else_carries_no_verdict() -> None:
    found = tables(ladder({"addon": lambda w: 0.05 * np.log2(w), "base": lambda _: 0.0}, sd=0.001))
    given = {"a": "addon", "b": "base", "premise": "smallest above"}
    (judged,) = judge_claims({"x": claim(measure="trend", given=given, interest=0.03)}, found, "pocket")
    assert (judged.verdict, judged.holm) == ("INCONCLUSIVE", False)
    assert judged.p is not None  # it was asked, and counts where chance is counted
    assert judged.effect.value == pytest.approx(-0.05, abs=0.002)
    assert judged.why.startswith("there is no gain that could shrink")
    given = {"a": "base", "b": "addon", "premise": "smallest below"}
    (grows,) = judge_claims({"x": claim(measure="trend", given=given, interest=0.03)}, found, "pocket")
    assert (grows.verdict, grows.direction) == ("REFUTED", "higher")  # what goes the other way needs no lead to refute


def test_a_claim_that_cannot_be_measured_says_why() -> None:
    found = tables(ladder({"a": float}))
    (lacking,) = judge_claims({"x": claim(interest=0.1)}, found, "pocket")
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
        judge_claims({"x": claim(given={"a": "a", "b": "b", "at": {"lr_octave": 0}}, interest=0.1)}, found, "pocket")


def test_a_recipe_that_never_finished_is_named() -> None:
    rows = [
        {**row, "status": "diverged" if row["recipe"] == "b" else "done"} for row in ladder({"a": float, "b": float})
    ]
    with pytest.raises(NotMeasurableError, match="no run of b in study s has finished"):
        tables(rows).rows("s", ["a", "b"])
    (judged,) = judge_claims({"x": claim(measure="gap", given={"recipe": "b"}, interest=0.1)}, tables(rows), "pocket")
    assert judged.why == "not measurable here: no run of b in study s has finished"
