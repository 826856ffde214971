"""Supercollapse on planted curves."""

import numpy as np
import pandas as pd
import pytest

from crossover.curves.collapse import best_collapse, collapses, deviation, smoothed


def curves(shape: dict[int, float], floor: float = 2.0) -> np.ndarray:
    """Widths whose loss above the floor falls as progress^-power: equal powers collapse exactly at that floor."""
    x = np.linspace(0.3, 1, 8)
    return np.array([floor + scale * x ** -shape[width] for scale, width in ((4.0, 0), (3.0, 1), (2.0, 2))])


def test_curves_of_one_shape_collapse_at_their_floor() -> None:
    same = curves({0: 0.5, 1: 0.5, 2: 0.5})
    assert deviation(same, 2.0) == pytest.approx(0, abs=1e-12)
    assert deviation(same, 0.0) > 0.01
    floor, least = best_collapse(same)
    assert floor == pytest.approx(2.0, abs=0.06)
    assert least < 0.002


def test_a_width_that_trains_otherwise_breaks_the_collapse() -> None:
    _, least = best_collapse(curves({0: 0.3, 1: 0.5, 2: 0.9}))
    assert least > 0.02


def test_a_normalised_ratio_by_hand() -> None:
    table = np.array([[3.0, 2.0], [5.0, 2.0]])
    assert deviation(table, 1.0) == pytest.approx(np.std([2, 4], ddof=1) / 3)


def test_smoothing_averages_around_each_point() -> None:
    points = smoothed(np.arange(100.0))
    assert points[0] == pytest.approx(np.mean(np.arange(26, 34)))
    assert points[-1] == pytest.approx(np.mean(np.arange(96, 100)))


def test_every_prefix_of_the_ladder_from_three_widths() -> None:
    losses = pd.DataFrame(
        {"recipe": "a", "seed": 0, "width": width, "status": "done", "fingerprint": str(width)}
        for width in (16, 24, 32, 48)
    )
    table = pd.concat(
        pd.DataFrame({"fingerprint": str(w), "loss": 2 + (5 - w / 20) * np.linspace(0.01, 1, 200) ** -0.4})
        for w in (16, 24, 32, 48)
    )
    found = list(collapses(losses, table))
    assert [entry.widths for entry in found] == [[16, 24, 32], [16, 24, 32, 48]]
    assert all(entry.deviation < 0.01 for entry in found)
