"""The optimizer and schedule against float64 references and torch's own AdamW."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from stages.train.optimizer import Optimizer, adamw_in_place
from stages.train.parameters import FlatParameters
from stages.train.schedule import learning_rates
from tests.conftest import make_cell


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.gain = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.matrix = nn.Parameter(torch.randn(3, 4, generator=generator, dtype=torch.float64))


def gradients(steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(1)
    return [(generator.normal(size=3), 3 * generator.normal(size=(3, 4))) for _ in range(steps)]


def run(steps: int, **settings: object) -> Toy:
    cell = make_cell(steps=steps, **settings)
    toy = Toy()
    optimizer = Optimizer(cell, FlatParameters(toy))
    optimizer.moments = optimizer.moments.double()
    for lr, (gain, matrix) in zip(learning_rates(cell), gradients(steps), strict=True):
        toy.gain.grad.copy_(torch.from_numpy(gain))
        toy.matrix.grad.copy_(torch.from_numpy(matrix))
        optimizer.step(lr)
    return toy


class Named(nn.Module):
    """One parameter of every group that has a learning rate of its own."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding, self.blocks, self.head = (nn.Module() for _ in range(3))
        for part, shape in ((self.embedding, (5, 3)), (self.blocks, (3, 4)), (self.head, (5, 3))):
            part.weight = nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        self.gain = nn.Parameter(torch.ones(3, dtype=torch.float64))


RECIPES = {
    "adamw": {},
    "no clip": {"clip": None},
    "constant": {"schedule": "constant", "warmup_steps": 0},
    "L2 term": {"l2": 0.3, "weight_decay": 0.0},
    "normalised": {"normalise": True},
    "rates by group": {"lr_embedding": 0.4, "lr_head": 0.05, "lr_gains": 0.2},
    "lion": {"optimizer": "lion", "beta2": 0.99},
    "lion, all at once": {"optimizer": "lion", "beta2": 0.99, "l2": 0.1, "normalise": True, "lr_head": 0.02},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_ten_steps_equal_a_float64_reference(recipe: str) -> None:
    """Adam as in arXiv 1412.6980, algorithm 1; Lion as in arXiv 2302.06675, algorithm 2, decay made independent.

    The L2 term's gradient is l2 x w, before clipping; normalising divides each tensor's gradient by its norm; decay
    and L2 touch matrices only.
    """
    cell = make_cell(**{"steps": 10, "weight_decay": 0.05, "warmup_steps": 3, "lr": 0.1, **RECIPES[recipe]})
    peaks = {"embedding": cell.lr_embedding, "blocks": cell.lr, "head": cell.lr_head, "gain": cell.lr_gains}
    ours, generator = Named(), np.random.default_rng(1)
    values = {name: value.detach().numpy().copy() for name, value in ours.named_parameters()}
    m, v = ({name: np.zeros_like(value) for name, value in values.items()} for _ in range(2))
    optimizer = Optimizer(cell, FlatParameters(ours))
    optimizer.moments = optimizer.moments.double()
    for t, lr in enumerate(learning_rates(cell), start=1):
        g = {name: 3 * generator.normal(size=value.shape) for name, value in values.items()}
        for name, parameter in ours.named_parameters():
            parameter.grad.copy_(torch.from_numpy(g[name]))
        got = optimizer.step(lr)
        g = {name: x + (cell.l2 * values[name] if x.ndim > 1 else 0) for name, x in g.items()}
        norm = math.sqrt(sum((x**2).sum() for x in g.values()))
        assert float(got) == pytest.approx(norm, rel=1e-12)
        for name, x in g.items():
            if cell.normalise:
                x = x / math.sqrt((x**2).sum())
            elif cell.clip:
                x = x * min(1.0, cell.clip / (norm + 1e-6))
            rate = lr / cell.lr * peaks[name.split(".")[0]]
            if cell.optimizer == "lion":
                update = np.sign(0.9 * m[name] + 0.1 * x)
                m[name] = 0.99 * m[name] + 0.01 * x
            else:
                m[name] = 0.9 * m[name] + 0.1 * x
                v[name] = 0.95 * v[name] + 0.05 * x**2
                update = (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.95**t)) + 1e-8)
            decay = cell.weight_decay * lr / cell.lr if x.ndim > 1 else 0.0
            values[name] = values[name] * (1 - decay) - rate * update
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), values[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_equals_torch_adamw() -> None:
    cell = make_cell(steps=10, clip=None, weight_decay=0.02)
    theirs = Toy()
    groups = [
        {"params": [theirs.matrix], "weight_decay": 0.02 / cell.lr},
        {"params": [theirs.gain], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=cell.lr, betas=(0.9, 0.95), eps=1e-8)
    for lr, (gain, matrix) in zip(learning_rates(cell), gradients(10), strict=True):
        theirs.gain.grad, theirs.matrix.grad = torch.from_numpy(gain), torch.from_numpy(matrix)
        for group in adamw.param_groups:
            group["lr"] = lr
        adamw.step()
    ours = run(10, clip=None, weight_decay=0.02)
    torch.testing.assert_close(ours.matrix, theirs.matrix, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.gain, theirs.gain, rtol=1e-10, atol=1e-12)


def test_decay_does_not_move_with_the_peak_rate() -> None:
    """With no gradient, ten steps shrink matrices equally whatever the peak is: that is what independent means."""
    shrunk = []
    for lr in (0.001, 0.1):
        cell = make_cell(steps=10, lr=lr, final_lr=0.0, weight_decay=0.01, warmup_steps=2)
        toy = Toy()
        optimizer = Optimizer(cell, FlatParameters(toy))
        optimizer.moments = optimizer.moments.double()
        for rate in learning_rates(cell):
            optimizer.step(rate)
        shrunk.append(toy.matrix.detach() / Toy().matrix.detach())
        assert torch.equal(toy.gain, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(shrunk[0], shrunk[1], rtol=1e-12, atol=0)
    assert shrunk[0].max() < 1


def test_schedule_has_the_stated_shape() -> None:
    cell = make_cell(steps=100, warmup_steps=10, lr=0.5, final_lr=0.001)
    rates = learning_rates(cell)
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)])
    assert rates[54] == pytest.approx((0.5 + 0.001) / 2)  # half way down
    assert rates[-1] == pytest.approx(0.001)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert learning_rates(cell.model_copy(update={"schedule": "constant"}))[10:] == [0.5] * 90
    assert max(learning_rates(cell.model_copy(update={"lr": 1e-4, "final_lr": 1e-3}))) == 1e-4


@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_the_one_pass_of_a_gpu_is_the_same_update(clip: float) -> None:
    """Clip, decay and AdamW in one function, with runs of the vector at rates of their own."""
    settings = {"clip": clip, "weight_decay": 0.1, "lr_gains": 0.003}
    ours = run(6, **settings)
    toy, cell = Toy(), make_cell(steps=6, **settings)
    optimizer = Optimizer(cell, FlatParameters(toy))
    flat, (first, second) = optimizer.flat, torch.zeros(2, 15, dtype=torch.float64)
    for step, (lr, (gain, matrix)) in enumerate(zip(learning_rates(cell), gradients(6), strict=True), 1):
        gradient = torch.from_numpy(np.concatenate([matrix.ravel(), gain]))
        adamw_in_place(
            flat.values, gradient, first, second, gradient.norm(), torch.tensor(optimizer.numbers(step, lr)).double(),
            n_matrices=12, rates=((12, 1.0), (15, 0.003 / cell.lr)), clip=clip, beta1=cell.beta1, beta2=cell.beta2,
            eps=cell.eps,
        )  # fmt: skip
    torch.testing.assert_close(toy.gain, ours.gain, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(toy.matrix, ours.matrix, rtol=1e-6, atol=1e-8)
