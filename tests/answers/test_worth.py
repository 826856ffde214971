"""What a recipe is worth in compute and in cost, against laws that are shifted by a known factor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover as xo
from crossover.answers.decision import _at_price
from crossover.cli.app import app
from crossover.runs.estimates import Estimate

FACTOR, PRICE = 1.5, 1.2


def table(noise: float = 0.0, draw: int = 0) -> pd.DataFrame:
    """B at x is A at 1.5 x, at every size, and takes 1.2 times as long."""
    generator = np.random.default_rng(draw)
    x, seed = np.repeat(np.geomspace(1e16, 1e20, 5), 3), np.tile([0, 1, 2], 5)
    loss = np.concatenate([20 * x**-0.05, 20 * (FACTOR * x) ** -0.05]) + noise * generator.normal(size=30)
    hours = np.concatenate([x, PRICE * x]) / 1e17 * np.exp(noise * generator.normal(size=30))
    recipe = np.repeat(["a", "b"], 15)
    return pd.DataFrame(
        {"flops": np.tile(x, 2), "recipe": recipe, "seed": np.tile(seed, 2), "loss": loss, "hours": hours}
    )


def pair(rows: pd.DataFrame, **options: Any) -> Any:
    (found,) = xo.compare(rows, pair="seed", at=1e21, **options).pairs
    return found


def test_at_every_size_and_at_the_target_it_is_the_planted_factor() -> None:
    found = pair(table(1e-5), cost="hours")
    assert found.price.value == pytest.approx(PRICE, rel=1e-3)
    assert [item.x for item in found.worth] == pytest.approx([*np.geomspace(1e16, 1e20, 5), 1e21])
    for item in found.worth:
        assert item.compute.value == pytest.approx(FACTOR, rel=0.03)
        assert item.cost.value == pytest.approx(FACTOR / PRICE, rel=0.03)
    assert found.worth[-1].compute == found.gap.equivalent_compute


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = {"price": 0, "top": 0, "cost": 0}
    for draw in range(40):
        found = pair(table(0.003, draw), cost="hours")
        top = found.worth[-2]
        for name, estimate, truth in (
            ("price", found.price, PRICE), ("top", top.compute, FACTOR), ("cost", top.cost, FACTOR / PRICE)
        ):  # fmt: skip
            low, high = estimate.ci
            held[name] += low <= truth <= high
    assert all(30 <= count <= 40 for count in held.values()), held


def test_ends_are_added_in_quadrature_of_logarithms() -> None:
    """Of two independent log-normal factors the interval of the quotient is that of their variances' sum."""
    found = _at_price(Estimate(1.5, None, (1.5 / 1.1, 1.5 * 1.1)), Estimate(1.2, None, (1.2 / 1.05, 1.2 * 1.05)))
    half = np.exp(np.hypot(np.log(1.1), np.log(1.05)))
    assert found.ci == pytest.approx((1.25 / half, 1.25 * half))


def test_without_costs_or_target_there_is_none() -> None:
    assert pair(table()).price is None
    assert pair(table()).worth[0].cost is None
    assert xo.compare(table(), pair="seed", cost="hours").pairs[0].worth == []
    one = pair(table(1e-5).query("flops < 2e16 or flops > 5e19").assign(hours=1.0), cost="hours")
    assert one.price.value == pytest.approx(1.0)


def test_the_command_says_it(tmp_path: Path) -> None:
    table(1e-4).to_csv(tmp_path / "runs.csv", index=False)
    asked = ["compare", str(tmp_path / "runs.csv"), "--pair", "seed", "--at", "x=1e21", "--cost", "hours"]
    said = CliRunner().invoke(app, asked, catch_exceptions=False).stdout
    assert "a unit of flops costs 1.2 times as much with b" in said
    assert "so that it is worth 1.2" in said
    assert "is worth" in said
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"], catch_exceptions=False).stdout)["pairs"][0]
    assert found["price"]["value"] == pytest.approx(PRICE, rel=1e-2)
    with pytest.raises(xo.UsageError, match="cost has 30 value"):
        xo.compare(table().assign(hours=0.0), pair="seed", cost="hours")
