"""The plan against the published ladder, and how rows share cells."""

import pytest

from stages.study.costs import count_flops
from stages.study.errors import UsageError
from stages.study.params import Params, load_params
from stages.study.plan import plan_rows, texts_needed
from tests.conftest import REPOSITORY, TINY


@pytest.fixture
def params() -> Params:
    return load_params(REPOSITORY / "params.yaml")


def tiny(**scale: object) -> Params:
    return Params.model_validate({**TINY, "scales": {"mini": {**TINY["scales"]["mini"], **scale}}})


def test_paper_ladder(params: Params) -> None:
    """Section 2 of the paper's set-up: N from 1.18 M to 2.72 B, and the compute of four rungs, to 1%."""
    rows = plan_rows(params.study("lr_crossover"), params.scale("paper"))
    cells = {row.cell.width // 128: row.cell for row in rows}
    assert list(cells) == [1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48]
    n = {k: 12 * 6 * (128 * k) ** 2 for k in cells}
    assert n[1] == pytest.approx(1.18e6, rel=0.01)
    assert n[48] == pytest.approx(2.72e9, rel=0.01)
    for k, eflop in {8: 0.68, 32: 175, 40: 427, 48: 886}.items():
        assert count_flops(cells[k]).flops_6n / 1e18 == pytest.approx(eflop, rel=0.01)
        assert cells[k].tokens == pytest.approx(20 * n[k], rel=0.001)
    blue, red = (
        next(r.cell.lr for r in rows if r.recipe == name and r.cell.width == 6144) for name in ("constant", "inverse")
    )
    assert blue == 2 / 1024
    assert red == pytest.approx(2 / 6144)


def test_recipes_that_coincide_are_one_cell(params: Params) -> None:
    rows = plan_rows(params.study("lr_crossover"), params.scale("pocket"))
    met = [row for row in rows if row.structural_pair]
    assert {row.cell.width for row in met} == {24}
    assert len(met) == 6
    assert len({row.cell for row in met}) == 3
    assert len(rows) == 24
    assert len({row.cell for row in rows}) == 21


def test_studies_share_cells(params: Params) -> None:
    pocket = params.scale("pocket")
    crossing = {row.cell for row in plan_rows(params.study("lr_crossover"), pocket)}
    grid = {row.cell for row in plan_rows(params.study("lr_grid"), pocket)}
    assert len(grid) == 18
    assert len(crossing & grid) == 3


def test_a_longer_ladder_keeps_its_cells() -> None:
    study = tiny().study("tiny")
    short = plan_rows(study, tiny().scale("mini"))
    long = plan_rows(study, tiny(widths=[8, 16, 24]).scale("mini"))
    assert {row.cell for row in short} < {row.cell for row in long}


def test_repeats_read_a_shorter_prefix() -> None:
    values = {**TINY["studies"]["tiny"], "axes": {"epochs": [1, 4]}}
    rows = plan_rows(type(tiny().study("tiny")).model_validate(values), tiny().scale("mini"))
    once, four = (next(row.cell for row in rows if row.axes == {"epochs": e}) for e in (1, 4))
    assert once.tokens == four.tokens == once.unique_tokens
    assert four.unique_tokens == pytest.approx(once.tokens / 4, abs=once.batch * once.seq_len)


def test_an_impossible_cell_is_refused() -> None:
    with pytest.raises(UsageError, match="do not fill one batch"):
        plan_rows(tiny().study("tiny"), tiny(tokens=10).scale("mini"))


def test_texts_needed_take_the_longest(params: Params) -> None:
    need = texts_needed(params)["pydocs-bpe1024"]
    widest = 12 * 2 * 48**2 * 20
    assert need.train_tokens == pytest.approx(widest + 1, abs=1024)
    assert need.validation_tokens == params.scale("pocket").validation_tokens + 1
