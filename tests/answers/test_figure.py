"""The figure of a comparison: sizes with their intervals, the belief on to the target, who is better where."""

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crossover as xo
from crossover.answers.figure import laws_along
from crossover.plots.difference import OPEN
from crossover.plots.house import COLOURS
from crossover.plots.losses import steps

DEUTERAN = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
"""What is seen of linear RGB without the middle cones: Machado, Oliveira and Fernandes 2009, severity 1."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
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
    curve, ahead, (target,) = (layer(found, name) for name in ("curve", "ahead", "target"))
    gap = found.pairs[0].gap
    assert [curve[0]["x"], curve[-1]["x"]] == pytest.approx([1e18, 1e20])
    assert ahead[0]["x"] == pytest.approx(1e20, rel=0.01)  # a line of its own: what is known changes where runs end
    assert ahead[-1]["x"] > 1e22
    log_x = np.log([row["x"] for row in ahead])
    for name, end in (("low", gap.difference.ci[0]), ("high", gap.difference.ci[1])):
        assert np.interp(np.log(1e22), log_x, [row[name] for row in ahead]) == pytest.approx(end, abs=0.005)
        assert target[name] == end
    assert compared((-0.05, -0.04, -0.03, -0.02, -0.01)).pairs[0].curve[-1].x == pytest.approx(1e20)


def test_sizes_have_their_intervals_and_sides_their_names() -> None:
    found = compared((-0.05, -0.04, -0.03, -0.02, -0.01), at=1e21)
    rungs = layer(found, "rung")
    assert [(row["low"], row["high"]) for row in rungs] == [rung.difference.ci for rung in found.pairs[0].rungs]
    above, below = layer(found, "above")[0]["text"], layer(found, "below")[0]["text"]
    assert (above, below) == (f"▲ {found.pairs[0].a} is better", f"▼ {found.pairs[0].b} is better")
    assert "is better" in found.draw().svg()


def test_everything_has_the_colour_of_who_is_ahead_there() -> None:
    """Sizes, target and curve, whose parts meet at zero; a badge only where the interval leaves no doubt."""
    found = compared((0.06, 0.03, 0.0, -0.03, -0.06), at=1e21)
    figure, (pair,) = found.draw(), found.pairs
    ahead = {row["leader"]: np.sign(row["difference"]) for row in figure.rows if row["layer"] in ("rung", "target")}
    assert ahead == {pair.a: 1, pair.b: -1}
    curve = layer(found, "curve")
    parts = [[row for row in curve if row["part"] == part] for part in (0, 1)]
    assert [{row["leader"] for row in part} for part in parts] == [{pair.a}, {pair.b}]
    assert parts[0][-1]["x"] == parts[1][0]["x"] == pytest.approx(pair.crossover.value, rel=0.02)
    assert [parts[0][-1]["difference"], parts[1][0]["difference"]] == [0.0, 0.0]
    winner = COLOURS[["old", "new"].index(pair.b)]
    assert figure.sure == winner
    assert f'class="badge said sure" style="--v: {winner}"' in found.html()
    open_ = compared((0.002, -0.002, 0.002, -0.002, 0.002), at=1e22)
    assert open_.draw().sure is None
    assert 'class="badge said open"' in open_.html()
    assert {row["leader"] for name in ("ahead", "target") for row in layer(open_, name)} == {OPEN}
    assert OPEN not in {row["leader"] for row in layer(open_, "rung")}
    assert "grey where who leads is open" in open_.draw().caption
    assert OPEN not in {row.get("leader") for row in figure.rows}


@given(st.floats(1e-3, 1e3), st.floats(1.001, 1e4))
def test_labels_of_losses_are_few_and_round(low: float, times: float) -> None:
    found = steps([low, low * times])
    assert all(low * (1 - 1e-9) <= place <= low * times * (1 + 1e-9) for place in found)
    assert 2 <= len(found) <= (8 if times <= 10 else 3 * np.log10(times) + 3)
    gaps = np.diff(found)
    assert times > 10 or np.allclose(gaps, gaps[0])


def test_a_crossover_has_its_set_as_a_strip() -> None:
    found = compared((0.06, 0.03, 0.0, -0.03, -0.06))
    (strip,), place = layer(found, "set"), found.pairs[0].crossover
    assert (strip["from"], strip["to"]) == place.ci
    assert strip["from"] < place.value < strip["to"]


def test_below_it_are_runs_and_laws_in_the_colours_of_the_names() -> None:
    found = compared((-0.05, -0.04, -0.03, -0.02, -0.01), at=1e22)
    runs, laws = layer(found, "run"), layer(found, "law")
    assert len(runs) == 30
    assert {row["kind"] for row in laws} == {"old", "new"}
    assert max(row["x"] for row in laws) == pytest.approx(1e20)  # a verdict carries no law on
    drawn = found.draw().svg()
    for words in ("▲ old is better", "▼ new is better", "old", "new"):
        (fill,) = re.findall(rf'fill="(#[0-9A-Fa-f]{{6}})"[^>]*>{words}<', drawn)
        assert fill.upper() == COLOURS["new" in words]


def test_forecasts_of_two_recipes_stand_side_by_side_and_no_law_goes_on_to_them() -> None:
    """The forecast weighs many laws, and one law drawn on to it would end elsewhere."""
    recipe, seed = np.tile(["old", "new"], 15), np.tile(np.repeat([0, 1, 2], 2), 5)
    loss = 3 - 0.1 * np.log10(X / 1e18) + 0.01 * (recipe == "old")
    table = {"x": X, "loss": loss, "recipe": recipe, "seed": seed}
    figure = xo.predict(table, x="x", by="recipe", pair="seed", at=1e21).draw()
    assert max(row["x"] for row in figure.rows if row["layer"] == "law") == pytest.approx(1e20)
    assert {row["x"] for row in figure.rows if row["layer"] == "place"} == {1e21}
    lower = figure.spec()["vconcat"][1]["layer"]
    aside = [part["mark"]["xOffset"] for part in lower if "xOffset" in part["mark"] and part["mark"]["type"] == "point"]
    assert len(aside) == 2
    assert aside[0] == -aside[1] != 0


def test_through_two_sizes_no_law_is_drawn() -> None:
    found = compared((-0.05, -0.04, -0.03, -0.02, -0.01))
    runs = found.runs
    few = replace(runs, x=runs.x[:12], loss=runs.loss[:12], recipe=runs.recipe[:12])
    assert laws_along(few, ["old", "new"]) == {}
    assert set(laws_along(runs, ["old", "new"])) == {"old", "new"}


def test_recipes_that_share_no_range_have_their_losses_shown() -> None:
    x = np.array([1e15, 1e16, 1e17, 1e18, 1e19, 1e20])
    table = {"x": x, "loss": 3 - 0.1 * np.log10(x / 1e15), "recipe": ["a"] * 3 + ["b"] * 3}
    figure = xo.compare(table, x="x").plot()
    assert {row["layer"] for row in figure.rows} == {"run", "law"}
    assert figure.svg().startswith("<svg")


def test_losses_below_zero_are_drawn_on_a_linear_axis() -> None:
    recipe, pair = np.tile(["old", "new"], 15), np.tile(np.repeat([0, 1, 2], 2), 5)
    loss = -1 - 0.1 * np.log10(X / 1e18) - 0.02 * (recipe == "new") + 0.001 * pair
    figure = xo.compare({"x": X, "loss": loss, "recipe": recipe, "seed": pair}, x="x", pair="seed", at=1e21).plot()
    assert figure.svg().startswith("<svg")
    assert len([row for row in figure.rows if row["layer"] == "run"]) == 30


def test_a_change_of_one_size_has_a_figure_and_its_exit_code(tmp_path: Path) -> None:
    rows = [
        {"x": 1e18, "recipe": r, "seed": s, "loss": 3 - 0.05 * (r == "new") + 0.001 * s}
        for r in ("old", "new")
        for s in range(3)
    ]
    table = pd.DataFrame(rows)
    found = xo.keep(table, "old", "new", x="x", pair="seed")
    (rung,) = [row for row in found.plot(tmp_path / "keep.svg").rows if row["layer"] == "rung"]
    assert rung["difference"] == pytest.approx(-0.05)
    apart = table.assign(x=np.where(table["recipe"] == "new", 1e19, 1e18))
    assert xo.keep(apart, "old", "new", x="x", pair="seed").plot().svg().startswith("<svg")


def test_long_names_fit() -> None:
    long = "warmup-stable-decay-with-a-very-long-name-that-nobody-reads"
    recipe, pair = np.tile(["old", long], 15), np.tile(np.repeat([0, 1, 2], 2), 5)
    loss = 3 - 0.1 * np.log10(X / 1e18) + 0.001 * pair - 0.01 * (recipe == long)
    svg = xo.compare({"x": X, "loss": loss, "recipe": recipe, "seed": pair}, x="x", pair="seed").plot().svg()
    assert f"▼ {long[:35]}… is better" in svg or f"▲ {long[:35]}… is better" in svg
    assert float(re.search(r'width="(\d+)"', svg).group(1)) < 700


def test_a_forecast_and_advice_show_the_same_figure() -> None:
    generator, recipe = np.random.default_rng(0), np.tile(["old", "new"], 15)
    loss = 3 - 0.1 * np.log10(X / 1e18) + generator.normal(0, 0.002, len(X)) - 0.01 * (recipe == "new")
    table = {"x": X, "loss": loss, "recipe": recipe, "seed": np.tile(np.repeat([0, 1, 2], 2), 5)}
    ahead = xo.predict(table, x="x", by="recipe", pair="seed", at=1e21).plot()
    assert {"rung", "ahead", "target", "run", "law", "place", "interval"} <= {row["layer"] for row in ahead.rows}
    laws = [row for row in ahead.rows if row["layer"] == "law"]
    assert max(row["x"] for row in laws) == pytest.approx(1e20)
    cells = {"x": [1e20, 1e20, 3e20, 3e20], "recipe": ["old", "new"] * 2, "seed": [7, 7, 8, 8]}
    advice = xo.advise(table, cells, x="x", by="recipe", pair="seed", at=1e22, budget=1e21)
    drawn = advice.plot().rows
    steps = [row["x"] for row in drawn if row["layer"] == "next"]
    assert steps == [step.at["x"] for step in advice.steps[: advice.enough]]
    assert "rung" in {row["layer"] for row in drawn}


def test_the_page_has_the_verdict_then_the_figure_then_the_tables() -> None:
    page = compared((-0.05, -0.04, -0.03, -0.02, -0.01), at=1e21).html()
    verdict, figure, rungs = (page.index(text) for text in ("against old", 'class="figures"', "<table"))
    assert verdict < figure < rungs
    assert page.count('class="figures"') == 1


def linear(colour: str) -> np.ndarray:
    share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    share = (TO_XYZ @ rgb) / (TO_XYZ @ np.ones(3))
    f = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_recipes_are_told_apart_without_the_middle_cones() -> None:
    """The distance in CIELAB of every two colours; of two recipes, the usual case, several times what is just seen."""
    seen = {colour: lab(np.clip(DEUTERAN @ linear(colour), 0, 1)) for colour in COLOURS}
    apart = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(COLOURS, 2)}
    assert min(apart.values()) > 8
    assert apart[COLOURS[0], COLOURS[1]] > 60
    assert lab(np.ones(3)) == pytest.approx([100, 0, 0], abs=0.1)  # white, as the formulae have it
