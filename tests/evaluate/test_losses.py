"""Evaluation against closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.evaluate.losses import BLOCKS, document_blocks, evaluate, losses_per_token, ratio_mean
from stages.model.transformer import build
from tests.conftest import make_cell


def test_a_model_that_knows_nothing_loses_ln_v(tokens: np.ndarray) -> None:
    cell = make_cell(steps=20, unique_tokens=20 * 4 * 16)
    model = build(cell)
    with torch.no_grad():
        model.head.weight.zero_()
    result = evaluate(model, cell, tokens, tokens[:513], end_of_text=0, seen_tokens=160)
    assert result.loss_validation == pytest.approx(math.log(64), rel=1e-6)
    assert result.loss_seen == pytest.approx(math.log(64), rel=1e-6)
    assert result.loss_fresh == pytest.approx(math.log(64), rel=1e-6)
    assert result.loss_validation_se == pytest.approx(0, abs=1e-7)
    assert [sum(blocks.tokens) for blocks in result.blocks.values()] == [512, 160, 160]


def test_a_document_is_a_block_with_the_token_that_ends_it(tokens: np.ndarray) -> None:
    """Three documents of 33, 48 and 48 tokens; the very first token is no target."""
    cell = make_cell(steps=20, unique_tokens=20 * 4 * 16)
    held_out = tokens[:129].copy()
    held_out[[32, 80, 128]] = 63
    blocks = evaluate(build(cell), cell, tokens, held_out, end_of_text=63, seen_tokens=160).blocks
    assert blocks["validation"].tokens == [32, 48, 48]
    assert blocks["seen"].tokens == [16] * 10


def test_losses_line_up_with_targets(tokens: np.ndarray) -> None:
    """A model that always bets on one token pays little exactly where that token is the target."""
    cell = make_cell()
    model = build(cell)
    with torch.no_grad():
        model.norm.gain.zero_()
        model.norm.register_parameter("shift", torch.nn.Parameter(torch.ones(16)))
        model.norm.forward = lambda x, _: torch.ones_like(x)
        model.head.weight.zero_()
        model.head.weight[7] = 1.0
    windows = np.array([2, 0, 5])
    losses = losses_per_token(model, cell, tokens, windows)
    targets = np.concatenate([tokens[w * 16 + 1 : w * 16 + 17] for w in windows])
    low = 0 + math.log(1 + 63 * math.exp(-16))
    assert losses == pytest.approx(np.where(targets == 7, low, 16 + low), abs=1e-5)


@given(st.lists(st.booleans(), min_size=1, max_size=600))
def test_blocks_are_runs_of_whole_documents(endings: list[bool]) -> None:
    marks = np.array(endings)
    blocks = document_blocks(marks)
    assert len(blocks) == len(marks)
    assert blocks[0] == 0
    steps = np.diff(blocks)
    assert set(steps) <= {0, 1}
    assert all(marks[:-1][steps == 1])  # a block begins only after a document ended
    assert blocks.max() < BLOCKS


def test_blocks_are_many_and_even_where_documents_are_short() -> None:
    sizes = np.bincount(document_blocks(np.arange(64_000) % 10 == 9))
    assert len(sizes) == BLOCKS
    assert sizes.min() >= 990


def test_standard_error_covers_at_its_nominal_rate() -> None:
    """Simulated blocks of unequal size: the 95% interval holds the true mean about 95% of the time."""
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        counts = generator.integers(50, 200, 64)
        sums = counts * generator.normal(3.0, 0.2, 64)
        mean, error = ratio_mean(sums, counts)
        hits += abs(mean - 3.0) < 2.0 * error
    assert 0.93 < hits / 2000 < 0.97


def test_equal_blocks_give_the_textbook_error() -> None:
    values = np.array([1.0, 2.0, 4.0, 5.0])
    mean, error = ratio_mean(10 * values, np.full(4, 10))
    assert mean == 3.0
    assert error == pytest.approx(values.std(ddof=1) / 2)
    assert math.isnan(ratio_mean(np.array([1.0]), np.array([2]))[1])
