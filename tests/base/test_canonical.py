"""One spelling per value, or none."""

import math
from pathlib import Path

import pytest

from crossover.base import canonical


def test_canonical_json_has_one_spelling() -> None:
    assert canonical.canonical_json({"b": [1, 0.1], "a": "é"}) == '{"a":"\\u00e9","b":[1,0.1]}'
    assert canonical.digest({"a": 1, "b": 2}) == canonical.digest({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object(), {1: 2}, [b"x"], Path()])
def test_canonical_json_refuses_what_has_no_form(value: object) -> None:
    with pytest.raises(TypeError):
        canonical.canonical_json({"nested": [value]} if not isinstance(value, dict) else value)
