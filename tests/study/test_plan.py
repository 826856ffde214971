"""The plan against the published ladder, and how rows share cells."""

import json

import pytest

from crossover.base.errors import UsageError
from stages.study.cell import Cell
from stages.study.costs import count_flops, peak_memory
from stages.study.params import Params, Recipe, Scale, Study, load_params
from stages.study.plan import hours, plan_rows, require_budget, require_memory, resolve, texts_needed
from tests.conftest import REPOSITORY, TINY, make_cell


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
    assert len(met) == 20
    assert len({row.cell for row in met}) == 10
    assert len(rows) == 80
    assert len({row.cell for row in rows}) == 70


def test_a_scale_may_have_seeds_of_its_own() -> None:
    """Some that chose its settings are not those it is measured on, and noise and price differ."""
    values = json.loads(json.dumps(TINY))
    values["scales"]["mini"]["first_seed"] = 100
    values["scales"]["other"] = {**values["scales"]["mini"], "first_seed": 0}
    values["studies"]["tiny"].update(seeds=2, seeds_at={"mini": 3})
    params = Params.model_validate(values)
    study = params.study("tiny")
    assert study.seed_numbers(params.scale("mini")) == [100, 101, 102]
    assert study.seed_numbers(params.scale("other")) == [0, 1]
    assert {row.cell.seed for row in plan_rows(study.one_seed(), params.scale("mini"))} == {100}
    listed = study.model_copy(update={"seeds": [7, 7, 9], "seeds_at": {}})
    assert listed.seed_numbers(params.scale("mini")) == [7, 9]


def test_a_scale_sets_what_recipes_leave_open() -> None:
    params = tiny(warmup=0.25, beta2=0.99)
    cell = plan_rows(params.study("tiny"), params.scale("mini"))[0].cell
    assert (cell.beta2, cell.warmup_steps) == (0.99, round(0.25 * cell.steps))
    own = params.study("tiny").model_copy(update={"recipes": {"a": Recipe(beta2=0.9, warmup=0.0)}})
    cell = plan_rows(own, params.scale("mini"))[0].cell
    assert (cell.beta2, cell.warmup_steps) == (0.9, 0)


def test_studies_share_cells(params: Params) -> None:
    pocket = params.scale("pocket")
    crossing = {row.cell for row in plan_rows(params.study("lr_crossover"), pocket)}
    grid = {row.cell for row in plan_rows(params.study("lr_grid"), pocket)}
    assert len(grid) == 8 * 4 * 2
    assert len(crossing & grid) == 2 * (4 + 1)  # one rule at every width, and at 48 the half rate, which is 1/D


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


def resolved(**recipe: object) -> Cell:
    scale = tiny(widths=[8, 16], pivot=8, lr=0.02, weight_decay=0.1).scale("mini")
    return resolve(Recipe.model_validate(recipe), scale, 16, 0, 50)


def test_rates_and_initial_widths_of_mup() -> None:
    """Yang et al., arXiv 2203.03466, table 3: rates of hidden and output 1/D, the output begins at 1/D."""
    cell = resolved(lr={"exponent": -1}, lr_embedding={}, lr_gains={}, embedding_std={}, head_std={"exponent": -1})
    assert (cell.lr, cell.lr_head, cell.lr_embedding, cell.lr_gains) == (0.01, 0.01, 0.02, 0.02)
    assert cell.embedding_std == pytest.approx(8**-0.5)
    assert cell.head_std == pytest.approx(8**-0.5 / 2)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"per": "step", "exponent": -1}, 0.05),
        ({"per": "lr"}, 0.1 * 0.02),
        ({"per": "run", "factor": 2}, 0.2 / 120),
    ],
)
def test_weight_decay_rules(rule: dict[str, object], expected: float) -> None:
    cell = resolved(weight_decay=rule)
    assert cell.steps == 120
    assert cell.weight_decay == pytest.approx(expected, rel=1e-12)


def test_beta2_keeps_its_half_life_in_tokens() -> None:
    """Four times the batch: a quarter of the steps, so beta2 to the fourth power forgets as much text per token."""
    assert resolved(batch_factor=4).beta2 == 0.95
    assert resolved(batch_factor=4, beta2_half_life="tokens").beta2 == pytest.approx(0.95**4, rel=1e-12)
    assert resolved(batch_factor=4, lr_batch_exponent=0.5).lr == pytest.approx(0.04)


def test_a_small_data_set_is_the_same_at_every_width() -> None:
    scale = tiny(widths=[8, 16, 24], pivot=16, tokens_per_parameter=20).scale("mini")
    recipe = Recipe.model_validate({"data_share": 0.25, "epochs": 6})
    cells = [resolve(recipe, scale, width, 0, 50) for width in scale.widths]
    assert len({(cell.unique_tokens, cell.tokens) for cell in cells}) == 1
    assert cells[0].unique_tokens == pytest.approx(0.25 * 20 * 12 * 16**2, rel=0.02)
    assert cells[0].tokens == pytest.approx(6 * cells[0].unique_tokens, rel=0.01)


def test_micro_batches_divide_the_batch() -> None:
    assert resolve(Recipe(), tiny(micro_batch=2).scale("mini"), 8, 0, 50).micro_batch == 2
    assert resolve(Recipe(batch_factor=0.125), tiny(micro_batch=2).scale("mini"), 8, 0, 50).micro_batch == 1
    with pytest.raises(UsageError, match="a batch of 8 is no multiple of micro_batch 3"):
        plan_rows(tiny().study("tiny"), tiny(micro_batch=3).scale("mini"))


def test_a_study_over_its_budget_is_refused() -> None:
    scale = tiny().scale("mini")
    needed = hours({row.cell for row in plan_rows(tiny().study("tiny"), scale)}, scale)
    require_budget(tiny(study_hours=1), "tiny", "mini", needed)
    with pytest.raises(
        UsageError, match=r"tiny-mini would take .* over its budget of 1e-06 h; .*studies.tiny.hours.mini"
    ):
        require_budget(tiny(study_hours=1e-6), "tiny", "mini", needed)


def test_rungs_are_places_on_the_ladder() -> None:
    study = Study.model_validate({**TINY["studies"]["tiny"], "rungs": [3, 1]})
    assert study.widths([8, 16, 24, 32]) == [8, 24]
    with pytest.raises(UsageError, match="rung 3 is beyond the 2 widths"):
        study.widths([8, 16])


def test_an_impossible_cell_is_refused() -> None:
    with pytest.raises(UsageError, match="do not fill one batch"):
        plan_rows(tiny().study("tiny"), tiny(tokens=10).scale("mini"))


def test_texts_needed_take_the_longest(params: Params) -> None:
    need = texts_needed(params)["pydocs-bpe512"]
    widest, fresh = 12 * 48**2 * 40, 4 * params.scale("pocket").seen_tokens
    assert need.train_tokens == pytest.approx(widest + fresh + 1, abs=1024)
    assert need.validation_tokens == params.scale("pocket").validation_tokens + 1


FIGURES = (json.loads(path.read_text()) for path in sorted((REPOSITORY / "data/benchmarks").glob("*-gpu.json")))
MEASURED = [figures["speed"] for figures in FIGURES if "speed" in figures][-1]


@pytest.mark.parametrize(
    ("shape", "width", "vocab", "micro_batch"),
    [
        ("512, vocabulary 8,192", 512, 8192, 64),
        ("128, vocabulary 8,192", 128, 8192, 64),
        ("2048, vocabulary 32,101", 2048, 32_101, 32),
    ],
)
def test_peak_memory_is_about_what_a_gpu_was_asked_for(shape: str, width: int, vocab: int, micro_batch: int) -> None:
    """The peak that torch had reserved on an H200 (`make gpu`)."""
    cell = make_cell(
        width=width, depth=6, heads=width // 64, seq_len=512, vocab_size=vocab, precision="bf16", batch=64,
        micro_batch=micro_batch, unique_tokens=64 * 512 * 64,
    )  # fmt: skip
    measured = MEASURED[shape]["ours"]["peak_gb"]
    assert peak_memory(cell, 150e9) / 1e9 == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize(("vocabulary", "size"), [(64, 2), (1 << 15, 2), (1 << 16, 2), ((1 << 16) + 1, 4)])
def test_tokens_count_where_they_lie_on_the_device(vocabulary: int, size: int) -> None:
    """Two bytes each as long as two bytes number them all."""
    cell = make_cell(unique_tokens=16_000_000, vocab_size=vocabulary)
    assert peak_memory(cell, 1e9) - peak_memory(cell, 1e8) == size * 16e6


def test_a_scale_that_does_not_fit_its_gpu_is_refused(params: Params) -> None:
    """The paper's fits an 80 GB card in parts of 32 sequences; whole batches do not, nor does it fit a smaller card."""
    study, paper = params.study("lr_crossover"), params.scale("paper")

    def asked(memory_gb: float, **changes: object) -> Scale:
        machine = paper.machine.model_copy(update={"memory_gb": memory_gb})
        return paper.model_copy(update={**changes, "machine": machine})

    fits = asked(80)
    require_memory("paper", fits, (row.cell for row in plan_rows(study, fits)))
    for other, width in ((asked(80, micro_batch=None), 3072), (asked(40), 6144)):
        with pytest.raises(UsageError, match=rf"width {width} of scale paper would take .* GB of .*micro_batch"):
            require_memory("paper", other, (row.cell for row in plan_rows(study, other)))
