"""The Transformer against an independent float64 implementation, and the properties it must have."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stages.model import fused
from stages.model.transformer import Transformer, build
from stages.study.costs import count_parameters
from tests.conftest import make_cell


def reference_logits(
    model: Transformer, tokens: np.ndarray, heads: int, qk_norm: bool, gated: bool = False
) -> np.ndarray:
    """The same function written with numpy in float64, position by position; rotations as complex numbers."""
    p = {name: value.detach().double().numpy() for name, value in model.named_parameters()}

    def norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gain

    def gelu(x: np.ndarray) -> np.ndarray:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    x = p["embedding.weight"][tokens]
    S, D = x.shape
    K = D // heads
    angle = np.outer(np.arange(S), 10_000.0 ** (-np.arange(0, K, 2) / K))
    for layer in range(len(model.blocks)):
        w = {name.split(".", 2)[2]: value for name, value in p.items() if name.startswith(f"blocks.{layer}.")}
        h = norm(x, w["attention_norm.gain"]) @ w["attention.qkv.weight"].T
        mixed = np.zeros_like(x)
        for head in range(heads):
            q, k, v = (h[:, part * D + head * K : part * D + (head + 1) * K] for part in range(3))
            if qk_norm:
                q, k = norm(q, w["attention.query_norm.gain"]), norm(k, w["attention.key_norm.gain"])
            q, k = ((z[:, : K // 2] + 1j * z[:, K // 2 :]) * np.exp(1j * angle) for z in (q, k))
            for s in range(S):
                score = np.real(k[: s + 1].conj() @ q[s]) / math.sqrt(K)
                weight = np.exp(score - score.max())
                mixed[s, head * K : (head + 1) * K] = weight / weight.sum() @ v[: s + 1]
        x = x + mixed @ w["attention.out.weight"].T
        h = norm(x, w["mlp_norm.gain"]) @ w["mlp.up.weight"].T
        F = h.shape[1] // 2
        x = x + (gelu(h[:, :F]) * h[:, F:] if gated else gelu(h)) @ w["mlp.down.weight"].T
    return norm(x, p["norm.gain"]) @ p["head.weight"].T


@pytest.mark.parametrize(
    ("qk_norm", "activation", "hidden"), [(True, "gelu", 96), (False, "gelu", 40), (True, "geglu", 64)]
)
def test_logits_equal_the_float64_reference(qk_norm: bool, activation: str, hidden: int) -> None:
    cell = make_cell(width=24, heads=3, qk_norm=qk_norm, activation=activation, hidden=hidden)
    model = build(cell)
    with torch.no_grad():
        for parameter in model.parameters():  # gains of one would hide a missing gain
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    tokens = np.random.default_rng(0).integers(0, 64, 16)
    expected = reference_logits(model, tokens, 3, qk_norm, activation == "geglu")
    got = model(torch.from_numpy(tokens)[None])[0].detach().double().numpy()
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-5


def test_causality() -> None:
    """Changing a token changes no logit before it, and some at and after it."""
    model = build(make_cell())
    tokens = torch.randint(0, 64, (2, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 64
    difference = (model(tokens) - model(changed)).abs().amax(-1)
    assert difference[:, :9].max() == 0
    assert difference[:, 9:].min() > 0


def test_order_matters() -> None:
    """Swapping two early tokens changes the last prediction: without positions, one layer could not tell."""
    model = build(make_cell())
    tokens = torch.randint(0, 64, (1, 16), generator=torch.Generator().manual_seed(0))
    swapped = tokens[:, torch.tensor([1, 0, *range(2, 16)])]
    assert (model(tokens)[0, -1] - model(swapped)[0, -1]).abs().max() > 1e-4


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize(("width", "depth", "vocab"), [(16, 1, 64), (48, 3, 100)])
def test_counts_are_the_model_s(qk_norm: bool, width: int, depth: int, vocab: int) -> None:
    cell = make_cell(width=width, heads=width // 8, depth=depth, vocab_size=vocab, qk_norm=qk_norm)
    sizes = {name: parameter.numel() for name, parameter in build(cell).named_parameters()}
    counts = count_parameters(cell)
    assert counts.n_total == sum(sizes.values())
    assert counts.n_norm == sum(n for name, n in sizes.items() if name.endswith("gain"))
    assert counts.n_head == sizes["head.weight"]
    assert counts.n_nonembedding == sum(
        n for name, n in sizes.items() if name.startswith("blocks.") and "weight" in name
    )
    assert counts.n_nonembedding == 12 * depth * width**2


def test_a_gated_mlp_of_two_thirds_has_the_parameters_of_a_plain_one() -> None:
    plain = make_cell(width=24, heads=3)
    gated = make_cell(width=24, heads=3, activation="geglu", hidden=64)
    for cell in (plain, gated):
        counted = sum(p.numel() for name, p in build(cell).named_parameters() if ".mlp." in name)
        assert count_parameters(cell).n_mlp == counted == 2 * 8 * 24**2


def test_initial_widths_are_the_cell_s() -> None:
    model = build(make_cell(width=64, heads=8, vocab_size=2048, embedding_std=0.5, head_std=0.01))
    assert model.embedding.weight.std().item() == pytest.approx(0.5, rel=0.01)
    assert model.head.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert model.blocks[0].mlp.up.weight.std().item() == pytest.approx(1 / 8, rel=0.02)


def test_initialisation() -> None:
    """Embedding N(0, 1/D); matrices truncated normal of variance 1/fan-in; gains one; the seed decides."""
    cell = make_cell(width=128, heads=16, vocab_size=4096)
    model = build(cell)
    assert model.embedding.weight.std().item() == pytest.approx(128**-0.5, rel=0.01)
    for name, parameter in model.named_parameters():
        if name.endswith("gain"):
            assert torch.equal(parameter, torch.ones_like(parameter))
        elif name != "embedding.weight":
            std = parameter.shape[1] ** -0.5
            assert parameter.std().item() == pytest.approx(std, rel=0.03)
            assert parameter.abs().max().item() <= 2 * std / 0.8796 * 1.001
    assert torch.equal(model.head.weight, build(cell).head.weight)
    assert not torch.equal(model.head.weight, build(cell.model_copy(update={"seed": 1})).head.weight)


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_cross_entropy_a_few_rows_at_a_time_equals_torch_s(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fused.CHUNK, "cpu", 64 * rows)
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(3, 5, 8, generator=generator), torch.randn(64, 8, generator=generator)
    targets = torch.randint(0, 64, (3, 5), generator=generator)
    logits = (hidden.double() @ weight.double().T).flatten(0, 1)
    theirs = F.cross_entropy(logits, targets.flatten(), reduction="none").view(3, 5)
    torch.testing.assert_close(fused.token_losses(hidden, weight, targets).double(), theirs, rtol=1e-6, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = fused.token_losses(hidden, weight, targets)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse.double(), theirs, rtol=2e-2, atol=6e-2)


def test_gelu_for_a_compiler_is_torchs() -> None:
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64, requires_grad=True)
    ours, theirs = fused.gelu_to_compile(x), torch.nn.functional.gelu(x, approximate="tanh")
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    slopes = [torch.autograd.grad(y.sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)
