"""What a run has: scalars by their path, as any table can hold them."""

import pytest

from crossover.logs.logged import flatten


def test_nested_settings_have_paths() -> None:
    value = {"a": {"b": {"c": 1, "d": [1, 2]}, "e": None}, "f": "x", "g": True}
    assert flatten(value) == {"a.b.c": 1, "f": "x", "g": True}
    assert flatten("x" * 2000, "a") == {}
    assert flatten(3) == {}


@pytest.mark.parametrize("value", [-(2**63), -(2**63) + 1, 0, 2**63 - 1])
def test_whole_numbers_of_64_bits_stay_whole(value: int) -> None:
    assert flatten({"seed": value}) == {"seed": value}
    assert type(flatten({"seed": value})["seed"]) is int


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**63, 10**30])
def test_larger_ones_are_floats(value: int) -> None:
    """Parquet and pandas have no whole number for them."""
    assert type(flatten({"seed": value})["seed"]) is float
