"""Where rising functions pass a value."""

import numpy as np
import pytest

from crossover.base.arrays import sections


def test_each_bracket_is_cut_to_where_it_passes() -> None:
    wanted = np.array([-2.0, 0.3, 7.0])
    found = sections(lambda tried: tried**3 < wanted, np.full(3, -9.0), np.full(3, 9.0), rounds=9)
    assert found == pytest.approx(np.cbrt(wanted), abs=18 / 16**9)


def test_what_lies_outside_is_put_at_an_end() -> None:
    found = sections(lambda tried: tried < np.array([-5.0, 5.0]), np.zeros(2), np.ones(2), rounds=6)
    assert found == pytest.approx([0.0, 1.0], abs=1e-6)
