"""Optima against planted bowls and the published Step Law."""

import math

import numpy as np
import pandas as pd
import pytest

from crossover.base.errors import UsageError
from crossover.laws.optimum import optimum
from tests.conftest import SHARED

RATES = np.array([2.0**k for k in (-8, -7.5, -7, -6.5, -6, -5.5, -5)])


def bowls(
    optima: dict[float, float], floor: float = 4.0, steep: float = 0.02
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """lr, loss and width of exact parabolas in log2 lr."""
    lr, loss, width = zip(
        *[(lr, floor + steep * math.log2(lr / best) ** 2, w) for w, best in optima.items() for lr in RATES], strict=True
    )
    return np.array(lr), np.array(loss), np.array(width)


def test_planted_optima_edges_and_their_law() -> None:
    lr, loss, width = bowls({8.0: 2**-5.3, 16.0: 2**-5.8, 32.0: 2**-6.3, 64.0: 2**-6.8, 128.0: 2**-9.0})
    found = optimum(lr, loss, {"width": width})
    assert [cell.optimum for cell in found.cells] == [
        pytest.approx(2**-5.3), pytest.approx(2**-5.8), pytest.approx(2**-6.3), pytest.approx(2**-6.8), None,
    ]  # fmt: skip
    assert found.cells[0].loss_at_optimum == pytest.approx(4.0)
    assert [cell.edge for cell in found.cells] == [False, False, False, False, True]
    assert found.law.params["p"].value == pytest.approx(-0.5)
    assert found.law.inputs == {"x": "width"}
    three = optimum(lr[width > 8], loss[width > 8], {"width": width[width > 8]})
    assert three.law is None
    assert "no law: 3 cell(s) have an optimum inside their grid, 4 are needed" in three.flags
    assert "1 cell(s) are best at the edge" in found.flags[0]


def test_broadness_stability_and_sensitivity_are_as_defined() -> None:
    lr, loss, width = bowls({16.0: 2**-6.5})
    loss[-1] = np.nan
    (cell,) = optimum(lr, loss, {"width": width}, initial=np.full(len(lr), 4.03)).cells
    within = RATES[:-1][loss[:-1] <= loss[:-1].min() * 1.0025]
    assert cell.broad == pytest.approx((within.min(), within.max()))
    assert cell.diverged == [pytest.approx(2**-5)]
    assert cell.largest_stable == pytest.approx(2**-5.5)
    capped = np.minimum(np.append(loss[:-1], np.inf), 4.03)
    assert cell.sensitivity == pytest.approx(capped.mean() - loss[:-1].min())


def test_batch_and_learning_rate_have_a_joint_optimum_and_regret() -> None:
    """eta = N^-0.5 and B = D^0.5 planted; the law's nearest grid point costs what the planted surface says."""
    generator = np.random.default_rng(0)
    rows = []
    for n, d in ((1e6, 1e8), (4e6, 4e8), (1.6e7, 1e9), (3e6, 3e9), (3e7, 1e10)):
        for lr in 2.0 ** np.arange(-16, -6):
            for batch in 2.0 ** np.arange(10, 20):
                u, v = math.log2(lr / n**-0.5), math.log2(batch / d**0.5)
                rows.append(
                    (n, d, lr, batch, 3 * (1 + 0.002 * (u * u + 0.5 * v * v - 0.3 * u * v)) + generator.normal(0, 1e-5))
                )
    n, d, lr, batch, loss = np.array(rows).T
    found = optimum(lr, loss, {"N": n, "D": d}, batch=batch)
    assert (found.law.params["p"].value, found.law.params["q"].value) == pytest.approx((-0.5, 0.0), abs=0.01)
    assert found.batch_law.params["p"].value == pytest.approx(0.5, abs=0.01)
    assert found.regret.mean < 1e-3
    assert found.regret_left_out.max < 1e-3


def test_rates_that_differ_by_float_noise_are_one() -> None:
    lr, loss, width = bowls({16.0: 2**-6.4, 32.0: 2**-6.6})
    noisy = lr * np.where(width == 16, 1.0, 1.0004)
    found = optimum(np.append(lr, noisy), np.append(loss, loss), {"width": np.append(width, width)})
    assert [len(cell.lrs) for cell in found.cells] == [7, 7]


def test_a_diverged_seed_spoils_its_rate() -> None:
    lr, loss, width = bowls({16.0: 2**-5.5})
    lr, loss, width = np.append(lr, 2**-5.5), np.append(loss, np.inf), np.append(width, 16.0)
    (cell,) = optimum(lr, loss, {"width": width}).cells
    assert 2**-5.5 not in cell.lrs
    assert cell.diverged == [pytest.approx(2**-5.5)]


def test_bad_input() -> None:
    lr, loss, width = bowls({16.0: 2**-6})
    with pytest.raises(UsageError, match="no cell has three learning rates"):
        optimum(lr[:2], loss[:2], {"width": width[:2]})
    with pytest.raises(UsageError, match="loss has 7 value"):
        optimum(lr, -loss, {"width": width})
    with pytest.raises(UsageError, match="equally long"):
        optimum(lr, loss[:3], {"width": width})
    with pytest.raises(UsageError, match="lr must be positive"):
        optimum(-lr, loss, {"width": width})
    with pytest.raises(UsageError, match="name what makes a cell"):
        optimum(lr, loss, {})
    alone = optimum(lr, loss, {"width": width})
    assert alone.law is None
    assert "no law: 1 cell(s)" in alone.flags[0]


def test_what_no_law_can_tell_is_said() -> None:
    lr, loss, width = bowls({1e6: 2**-6.2, 4e6: 2**-6.5, 1.6e7: 2**-6.8})
    tied = optimum(lr, loss, {"N": width, "D": 20 * width})
    assert (tied.law, "N and D move together" in tied.flags[0]) == (None, True)
    alone = optimum(lr, loss, {"N": width}, batch=np.full(len(lr), 64.0))
    assert [cell.edge for cell in alone.cells] == [False] * 3
    few = optimum(np.append(lr, lr[:2]), np.append(loss, loss[:2]), {"N": np.append(width, [3e9, 3e9])})
    assert any("1 cell(s) have fewer than three" in flag for flag in few.flags)


@pytest.mark.skipif(not (SHARED / "exams").exists(), reason="the published data are not here")
def test_step_law() -> None:
    """Li et al. 2503.04715: eta ~ N^-0.713, B ~ D^0.571, and a mean loss regret of at most 0.16%."""
    runs = pd.read_csv(SHARED / "exams" / "steplaw_dense.csv")
    lr, loss, batch = (runs[name].to_numpy(float) for name in ("lr", "smooth loss", "bs"))
    found = optimum(lr, loss, {name: runs[name].to_numpy(float) for name in "ND"}, batch=batch * 2048)
    assert len(found.cells) == 17
    assert len({round(math.log(rate), 2) for cell in found.cells for rate in cell.lrs}) == 14
    assert found.law.params["p"].value == pytest.approx(-0.713, abs=0.08)
    assert found.batch_law.params["p"].value == pytest.approx(0.571, abs=0.03)
    assert found.regret.mean <= 0.0016
