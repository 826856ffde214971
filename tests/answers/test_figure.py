"""The figure of a comparison: sizes with their intervals, the belief on to the target, who is better where."""

import numpy as np
import pytest

import crossover as xo

X = np.repeat(np.geomspace(1e18, 1e20, 5), 6)


def compared(gaps: tuple[float, ...], at: float | None = None) -> "xo.api.compare.Comparisons":  # type: ignore[name-defined]
    generator = np.random.default_rng(0)
    recipe = np.tile(["old", "new"], 15)
    pair = np.tile(np.repeat([0, 1, 2], 2), 5)
    loss = 3 - 0.1 * np.log10(X / 1e18) + np.where(recipe == "new", np.repeat(gaps, 6), 0.0)
    table = {"x": X, "loss": loss + generator.normal(0, 0.002, len(X)), "recipe": recipe, "seed": pair}
    return xo.compare(table, x="x", by="recipe", pair="seed", at=at)


def layer(found: "xo.api.compare.Comparisons", name: str) -> list[dict[str, object]]:  # type: ignore[name-defined]
    return [row for row in found.draw().rows if row["layer"] == name]


def test_it_goes_on_to_the_target_and_beyond() -> None:
    found = compared((-0.05, -0.04, -0.03, -0.02, -0.01), at=1e22)
    curve, (target,), gap = layer(found, "curve"), layer(found, "target"), found.pairs[0].gap
    assert curve[0]["x"] == pytest.approx(1e18)
    assert curve[-1]["x"] > 1e22
    log_x = np.log([row["x"] for row in curve])
    for name, end in (("low", gap.difference.ci[0]), ("high", gap.difference.ci[1])):
        assert np.interp(np.log(1e22), log_x, [row[name] for row in curve]) == pytest.approx(end, abs=0.005)
        assert target[name] == end
    assert compared((-0.05, -0.04, -0.03, -0.02, -0.01)).pairs[0].curve[-1].x == pytest.approx(1e20)


def test_sizes_have_their_intervals_and_sides_their_names() -> None:
    found = compared((-0.05, -0.04, -0.03, -0.02, -0.01), at=1e21)
    rungs = layer(found, "rung")
    assert [(row["low"], row["high"]) for row in rungs] == [rung.difference.ci for rung in found.pairs[0].rungs]
    above, below = layer(found, "above")[0]["text"], layer(found, "below")[0]["text"]
    assert (above, below) == (f"▲ {found.pairs[0].a} is better", f"▼ {found.pairs[0].b} is better")
    assert "is better" in found.draw().svg()


def test_a_crossover_has_its_set_as_a_strip() -> None:
    found = compared((0.06, 0.03, 0.0, -0.03, -0.06))
    (strip,), place = layer(found, "set"), found.pairs[0].crossover
    assert (strip["from"], strip["to"]) == place.ci
    assert strip["from"] < place.value < strip["to"]


def test_the_page_has_the_verdict_then_the_figure_then_the_tables() -> None:
    page = compared((-0.05, -0.04, -0.03, -0.02, -0.01), at=1e21).html()
    verdict, figure, rungs = (page.index(text) for text in ("against old", 'class="figures"', "<table"))
    assert verdict < figure < rungs
    assert page.count('class="figures"') == 1
