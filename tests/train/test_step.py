"""The step as a GPU takes it, on a CPU: what a graph would replay, tokens from the host, types that CUDA knows."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stages.evaluate.losses import losses_per_token
from stages.model import fused
from stages.model.execution import Feed
from stages.model.transformer import build
from stages.shards.reading import Stream
from stages.study.cell import Cell
from stages.train import loop
from stages.train.checkpoint import Checkpoint
from stages.train.loop import hidden_of, train
from stages.train.optimizer import Optimizer
from stages.train.parameters import FlatParameters
from stages.train.ranks import ALONE, Ranks
from stages.train.schedule import learning_rates
from stages.train.step import GraphedStep, HandStep, Step, step_kind
from tests.conftest import make_cell

CPU = torch.device("cpu")
KNOWN_TO_CUDA = {
    torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.uint8, torch.bool,
}  # fmt: skip
"""Types that CUDA has kernels of every operation for; it indexes no unsigned type wider than a byte."""
COMPUTE_NOTHING = {"aten.view.dtype", "aten.lift_fresh.default"}
"""Operations that may see another type: a tensor taken over from numpy, and the same bits under another name."""


class Replayed(GraphedStep):
    """What the graph holds, without a graph."""

    def _capture(self) -> Any:
        step = self

        class Graph:
            def replay(self) -> None:
                step.whole()

        return Graph()


def steps(
    cell: Cell, tokens: np.ndarray, kind: type[Step], on_host: bool = False, recomputed: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Losses, gradient norms and the parameters after all of the cell's steps."""
    model = build(cell)
    flat = FlatParameters(model)
    feed = Feed(tokens, cell.seq_len, CPU, on_host)
    order = torch.arange(cell.steps * cell.batch).view(cell.steps, cell.batch) % (len(tokens) // cell.seq_len)
    losses, norms = torch.zeros(2, cell.steps)
    hidden = hidden_of(False, recomputed)
    take = kind(cell, model, hidden, Optimizer(cell, flat), feed, order, learning_rates(cell), losses, norms, ALONE)
    for step in range(cell.steps):
        take(step)
    return losses, norms, flat.values


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"micro_batch": 3},
        {"l2": 1e-3, "z_loss": 1e-3},
        {"optimizer": "lion"},
        {"normalise": True, "qk_norm": False},
    ],
)
@pytest.mark.parametrize("on_host", [False, True])
def test_a_step_without_a_question_to_the_host_is_the_same(
    tokens: np.ndarray, changes: dict[str, Any], on_host: bool
) -> None:
    cell = make_cell(steps=12, **changes)
    plain, whole = steps(cell, tokens, Step), steps(cell, tokens, Replayed, on_host)
    for a, b in zip(plain, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)


def test_blocks_computed_again_are_the_same(tokens: np.ndarray) -> None:
    cell = make_cell(steps=6)
    kept = steps(cell, tokens, Step)
    for kind in (Step, Replayed):
        for a, b in zip(kept, steps(cell, tokens, kind, recomputed=True), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6)


def test_blocks_are_computed_again_from_a_stated_width() -> None:
    assert [make_cell(width=width).recomputes for width in (2048, 4088, 4096)] == [False, False, True]


class Types(TorchDispatchMode):
    """Every operation with the types of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, torch.dtype]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = torch.utils._pytree.tree_leaves((args, kwargs, out))
        self.seen |= {(str(func), leaf.dtype) for leaf in leaves if isinstance(leaf, torch.Tensor)}
        return out


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize("kind", [Step, Replayed])
def test_no_type_that_cuda_does_not_know(tokens: np.ndarray, dtype: Any, kind: type[Step]) -> None:
    """In a step of training in bf16, and in one of evaluation."""
    cell = make_cell(steps=1, warmup_steps=0, precision="bf16")
    with Types() as types:
        steps(cell, tokens.astype(dtype), kind)
        losses_per_token(build(cell), cell, tokens.astype(dtype), np.arange(4))
    assert {name for name, _ in types.seen} > COMPUTE_NOTHING, "the tokens have been looked up"
    unknown = {(name, seen) for name, seen in types.seen if seen not in KNOWN_TO_CUDA}
    assert {name for name, _ in unknown} == COMPUTE_NOTHING


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_loss_over_a_padded_vocabulary_leaves_its_gradient_in_place(z_loss: float) -> None:
    """Whatever the padding holds."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 64, generator=generator, dtype=torch.float64)
    targets, V = torch.randint(0, 61, (7,), generator=generator), 61
    room, real = logits.clone(), logits[:, :V].clone().requires_grad_()
    losses, objectives, gradient = fused.loss_in_place(room, targets, V, z_loss, 0.25)
    plain = torch.nn.functional.cross_entropy(real, targets, reduction="none")
    objective = plain + z_loss * real.logsumexp(1).square()
    (0.25 * objective.sum()).backward()
    torch.testing.assert_close(losses, plain.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(objectives, objective.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient[:, :V], real.grad, rtol=1e-10, atol=1e-13)
    assert gradient.data_ptr() == room.data_ptr()
    assert not gradient[:, V:].any()


def test_a_stream_over_shards_equals_one_array() -> None:
    whole = np.arange(47, dtype=np.uint16)
    stream = Stream([whole[:20], whole[20:40], whole[40:]], 45)
    assert len(stream) == 45
    assert stream.nbytes == 90
    assert stream.whole().tolist() == list(range(45))
    starts = np.array([0, 18, 19, 20, 5, 30])
    assert stream.blocks(starts, 15).tolist() == [list(range(start, start + 15)) for start in starts]
    assert stream.blocks(np.array([0]), 45).tolist() == [list(range(45))]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_windows_from_the_host_are_those_on_the_device(dtype: Any) -> None:
    largest = np.iinfo(dtype).max
    tokens = np.random.default_rng(0).integers(0, largest, 8 * 16 + 1, dtype=dtype)
    windows = torch.tensor([7, 0, 3, 3])
    here, there = (Feed(tokens, 16, CPU, on_host)(windows) for on_host in (False, True))
    assert here[0].dtype == torch.int64
    assert torch.equal(here[0], there[0])
    assert torch.equal(here[1], there[1])
    expected = np.stack([tokens[16 * window : 16 * window + 17] for window in windows.tolist()]).astype(np.int64)
    assert np.array_equal(np.concatenate([here[0].numpy(), here[1][:, -1:].numpy()], axis=1), expected)


def test_a_graph_is_for_short_steps_of_one_gpu_and_a_hand_for_one_cpu() -> None:
    gpu, cell = torch.device("cuda"), make_cell(micro_batch=64, batch=64, seq_len=512)
    assert step_kind(cell, 27_000_000, gpu, ALONE, True) is GraphedStep
    assert step_kind(cell, 430_000_000, gpu, ALONE, True) is Step
    assert step_kind(make_cell(), 27_000_000, CPU, ALONE, False) is HandStep
    assert step_kind(make_cell(), 27_000_000, CPU, ALONE, True) is Step
    assert step_kind(make_cell(), 27_000_000, CPU, Ranks(0, 2), False) is Step
    assert step_kind(make_cell(precision="bf16"), 27_000_000, CPU, ALONE, False) is Step
    assert step_kind(make_cell(seq_len=257), 27_000_000, CPU, ALONE, False) is Step


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tracer without the code generator, which takes seconds per shape."""
    compiled = torch.compile(loop._call, dynamic=False, backend="eager")
    monkeypatch.setattr(loop, "_compiled_call", lambda: compiled)
    torch._dynamo.reset()
    limits = torch._dynamo.config.recompile_limit, torch._dynamo.config.fail_on_recompile_limit_hit
    yield
    torch._dynamo.config.recompile_limit, torch._dynamo.config.fail_on_recompile_limit_hit = limits
    torch._dynamo.reset()


def shape(number: int) -> tuple[Cell, np.ndarray]:
    cell = make_cell(width=8 * number, heads=number, steps=1, warmup_steps=0, unique_tokens=64)
    return cell, np.arange(65, dtype=np.uint16) % 64


@pytest.mark.usefixtures("traced_only")
@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore::DeprecationWarning")
def test_twelve_shapes_in_one_worker_are_all_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch keeps eight, and runs every later one uncompiled."""
    torch._dynamo.utils.counters.clear()
    for number in range(1, 13):
        train(*shape(number), CPU, compiled=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 12 * 4  # embedding, first block, block, last norm
    monkeypatch.setattr(loop, "_SHAPES", 2)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        train(*shape(13), CPU, compiled=True)


class Slow(Checkpoint):
    """A store that takes its time."""

    saves = 0

    def save(self, *arguments: Any) -> None:
        time.sleep(0.05)
        Slow.saves += 1
        super().save(*arguments)


def test_slow_checkpoints_are_rarer(tmp_path: Path, tokens: np.ndarray) -> None:
    """The next one waits for twenty times what the last one took, however often they are asked for."""
    trained = train(make_cell(), tokens, CPU, Slow(tmp_path / "c.safetensors", "cell"), every=0.0)
    assert Slow.saves <= 2 + trained.seconds
