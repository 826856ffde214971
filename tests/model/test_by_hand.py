"""The step by hand against autograd's: the same bits as the model's own, and torch's own parts in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from stages.model import by_hand, fused
from stages.model.by_hand import Hand
from stages.model.execution import gather
from stages.model.transformer import Transformer, build
from stages.train.step import HandStep, Step
from tests.conftest import make_cell
from tests.train.plain import plain, plain_loss
from tests.train.test_step import steps

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one head": {"heads": 1},
    "one window at a time": {"micro_batch": 1},
    "one window, one head": {"batch": 1, "micro_batch": 1, "heads": 1},
    "no QK-Norm": {"qk_norm": False},
    "GeGLU": {"activation": "geglu", "hidden": 43},
    "another MLP ratio": {"hidden": 24},
    "z-loss": {"z_loss": 1e-2},
    "parts, the last one smaller": {"batch": 5, "micro_batch": 2},
    "L2, normalised": {"l2": 1e-3, "normalise": True},
    "Lion, a rate for each part": {"optimizer": "lion", "lr_embedding": 3e-3, "lr_head": 1e-3, "lr_gains": 2e-3},
    "deep and odd": {
        "depth": 3,
        "heads": 3,
        "width": 24,
        "seq_len": 13,
        "vocab_size": 99,
        "batch": 3,
        "micro_batch": 3,
    },
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_bits_are_those_of_autograd(recipe: str, tokens: np.ndarray) -> None:
    """Losses, gradient norms and parameters of twenty steps."""
    cell = make_cell(steps=20, **RECIPES[recipe])
    for by_itself, by_torch in zip(steps(cell, tokens, HandStep), steps(cell, tokens, Step), strict=True):
        assert by_itself.isfinite().all()
        assert torch.equal(by_itself.view(torch.int32), by_torch.view(torch.int32))


@pytest.mark.parametrize("heads", [1, 3, 100])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_in_chunks_of_any_size(heads: int, rows: int, tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(steps=3)
    monkeypatch.setattr(fused, "_SCORES", heads * cell.seq_len**2)
    monkeypatch.setitem(fused.CHUNK, "cpu", rows * cell.vocab_size)
    for by_itself, by_torch in zip(steps(cell, tokens, HandStep), steps(cell, tokens, Step), strict=True):
        assert torch.equal(by_itself.view(torch.int32), by_torch.view(torch.int32))


def gradients(model: Transformer) -> list[torch.Tensor]:
    """Room for them, filled with what must not be left standing."""
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("recipe", ["plain", "no QK-Norm", "one head", "another MLP ratio", "deep and odd"])
def test_float64_is_that_of_torchs_own_parts(recipe: str, share: float, tokens: np.ndarray) -> None:
    """Of operations of torch alone, whose gradients are torch's: to 1e-10, however the gains stand."""
    cell = make_cell(**RECIPES[recipe])
    reference, model = plain(cell), build(cell).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one, other in zip(reference.parameters(), model.parameters(), strict=True):
            other.copy_(one.mul_(1 + 0.3 * torch.randn(one.shape, generator=generator, dtype=one.dtype)))
    found = gradients(model)
    inputs, targets = gather(torch.from_numpy(tokens), torch.tensor([4, 0, 9]), cell.seq_len)
    expected = plain_loss(reference, inputs, targets)
    (share * expected).backward()
    loss = Hand(cell, model, len(inputs))(inputs, targets, share)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-12)
    for one, parameter in zip(found, reference.parameters(), strict=True):
        assert parameter.grad is not None
        error = (one - parameter.grad).norm() / parameter.grad.norm()
        assert error < 1e-10


@pytest.mark.parametrize("recipe", ["GeGLU", "z-loss"])
def test_float64_of_the_other_parts(recipe: str, tokens: np.ndarray) -> None:
    """Against differences of the objective, taken in random directions."""
    cell = make_cell(**RECIPES[recipe])
    model = build(cell).double()
    found = gradients(model)
    inputs, targets = gather(torch.from_numpy(tokens), torch.tensor([4, 0, 9]), cell.seq_len)
    Hand(cell, model, len(inputs))(inputs, targets, 1.0)

    def objective() -> float:
        logits = model(inputs).flatten(0, 1)
        log_total = logits.logsumexp(-1)
        return float((log_total - logits.gather(1, targets.flatten()[:, None])[:, 0]).mean()) + cell.z_loss * float(
            log_total.square().mean()
        )

    generator = torch.Generator().manual_seed(2)
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        ends = []
        with torch.no_grad():
            for length in (1e-5, -2e-5):
                parameter.add_(direction, alpha=length)
                ends.append(objective())
            parameter.add_(direction, alpha=1e-5)
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float((gradient * direction).sum()), rel=1e-6, abs=1e-9)


def test_what_goes_by_hand_is_stated() -> None:
    cpu = torch.device("cpu")
    assert all(by_hand.goes_by_hand(make_cell(**recipe), cpu) for recipe in RECIPES.values())
    for other in ({"precision": "bf16"}, {"seq_len": 257}, {"width": 4096}):
        assert not by_hand.goes_by_hand(make_cell(**other), cpu)
    assert not by_hand.goes_by_hand(make_cell(), torch.device("cuda"))
