"""The fast step against the plain one: every part in float64, gradients of a batch, losses of a whole small run."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.model import fused
from stages.model.transformer import rotary
from stages.train.loop import train
from tests.train.plain import GRADIENTS, LOSSES, curve_error, gradient_error, shortened, turned

GENERATOR = torch.Generator()


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR.manual_seed(sum(shape)), dtype=torch.float64, requires_grad=True)


def test_gelu_and_its_gradient() -> None:
    x = torch.linspace(-30, 30, 4001, dtype=torch.float64, requires_grad=True)
    fused.gelu(x).sum().backward()
    ours, x.grad = x.grad, None
    F.gelu(x, approximate="tanh").sum().backward()
    torch.testing.assert_close(fused.gelu(x), F.gelu(x, approximate="tanh"), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours, x.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize(("batch", "length", "heads", "size"), [(2, 16, 3, 8), (1, 5, 1, 4), (3, 64, 2, 16)])
def test_attention_and_its_gradients(normed: bool, batch: int, length: int, heads: int, size: int) -> None:
    qkv, gains = random(batch, length, 3 * heads * size), random(2, size) if normed else None
    weights, rope = random(batch, length, heads * size).detach(), rotary(length, size).double()
    cos, sin = rope.repeat(1, 1, 2)

    def plain() -> Tensor:
        q, k, v = qkv.view(batch, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        if gains is not None:
            q, k = (F.layer_norm(z, (size,), gain) for z, gain in ((q, gains[0]), (k, gains[1])))
        scores = turned(q, cos, sin) @ turned(k, cos, sin).mT / math.sqrt(size)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        return (scores.masked_fill(future, -torch.inf).softmax(-1) @ v).transpose(1, 2).flatten(2)

    leaves = [qkv] if gains is None else [qkv, gains]
    ours, theirs = fused.attention(qkv, heads, gains, rope), plain()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    got, expected = (torch.autograd.grad((y * weights).sum(), leaves) for y in (ours, theirs))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_attention_that_keeps_nothing_is_the_same(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients all heads share the memory of a few, of which the last ones may be fewer."""
    qkv, gains, rope = random(2, 16, 4 * 3 * 8), random(2, 8), rotary(16, 8).double()
    kept = fused.attention(qkv, 4, gains, rope)
    monkeypatch.setattr(fused, "_SCORES", at_once * 16**2)
    with torch.no_grad():
        torch.testing.assert_close(fused.attention(qkv.detach(), 4, gains, rope), kept, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize("chunk", [64, 640, 10**6])
def test_head_loss_and_its_gradients(z_loss: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of rows at a time, one that does not divide the tokens included."""
    monkeypatch.setitem(fused.CHUNK, "cpu", chunk)
    hidden, weight = random(3, 7, 8), (3 * random(64, 8).detach()).requires_grad_()
    targets = torch.randint(0, 64, (3, 7), generator=GENERATOR.manual_seed(0))
    objective, loss = fused.head_loss(hidden, weight, targets, z_loss)
    logits = (hidden @ weight.T).flatten(0, 1)
    theirs = F.cross_entropy(logits, targets.flatten())
    torch.testing.assert_close(loss, theirs.detach(), rtol=1e-12, atol=1e-12)
    plain = theirs + z_loss * logits.logsumexp(-1).square().mean()
    torch.testing.assert_close(objective, plain, rtol=1e-12, atol=1e-12)
    got, expected = (torch.autograd.grad(0.5 * value, [hidden, weight]) for value in (objective, plain))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_head_loss_survives_huge_logits() -> None:
    hidden, weight = torch.full((1, 1, 2), 1e4), torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])
    _, loss = fused.head_loss(hidden.requires_grad_(), weight, torch.tensor([[1]]))
    assert loss.item() == pytest.approx(4e4)


@pytest.mark.parametrize("settings", [{}, {"qk_norm": False}, {"clip": None, "z_loss": 0.0}])
def test_gradients_of_a_batch_equal_float64(settings: dict[str, object]) -> None:
    assert gradient_error(*shortened(**settings)) < GRADIENTS


def test_a_whole_small_run_equals_float64() -> None:
    """Two hundred steps of the loop against torch's own parts and AdamW in float64."""
    assert curve_error(*shortened()) < LOSSES


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its compiler
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_one_compilation_serves_all_learning_rates() -> None:
    """And computes what the plain loop does."""
    cell, tokens = shortened(steps=20, warmup_steps=2)
    torch._dynamo.reset()
    for lr in (0.01, 0.02, 0.005):
        one = cell.model_copy(update={"lr": lr})
        ours, compiled = (train(one, tokens, torch.device("cpu"), compiled=how).losses for how in (False, True))
        torch.testing.assert_close(compiled, ours, rtol=1e-4, atol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 4  # embedding, first block, block, last norm
