"""The training loop: golden numbers, bit-identical resumption, divergence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossover.base.errors import Interrupted
from stages.model.by_hand import Hand
from stages.shards.windows import window_order
from stages.train.checkpoint import Checkpoint
from stages.train.loop import Curve, Trained, train
from tests.conftest import make_cell

CPU = torch.device("cpu")


def test_golden_first_steps(tokens: np.ndarray) -> None:
    """Loss and gradient norm of the first three steps.

    They may change only with a deliberate change of initialisation, data order, architecture, loss, optimizer or
    schedule; every stored cell is then stale. Update them in the commit that makes that change, and say why in it.
    """
    trained = train(make_cell(steps=3, unique_tokens=3 * 64), tokens[: 3 * 64 + 1], CPU)
    np.testing.assert_allclose(trained.losses.numpy(), GOLDEN_LOSSES, rtol=2e-5)
    np.testing.assert_allclose(trained.grad_norms.numpy(), GOLDEN_NORMS, rtol=2e-4)


GOLDEN_LOSSES = [4.660356, 4.685931, 4.710497]
GOLDEN_NORMS = [2.117903, 2.420097, 2.330182]


def test_it_learns(tokens: np.ndarray) -> None:
    """The stream's entropy is 0.75 ln(1/0.754) + ... = 1.75 nats; uniform guessing costs ln 61 = 4.11."""
    trained = train(make_cell(steps=400, unique_tokens=2560, lr=0.02), tokens, CPU)
    assert trained.loss_init == pytest.approx(np.log(64), abs=0.7)
    assert trained.losses[-20:].mean() < 2.6


def same(a: Trained, b: Trained) -> bool:
    weights = all(torch.equal(a.parameters[name], b.parameters[name]) for name in a.parameters)
    return weights and torch.equal(a.losses, b.losses) and torch.equal(a.grad_norms, b.grad_norms) and a.lrs == b.lrs


@pytest.mark.parametrize("stops", [[1], [10], [39], [3, 4, 20, 21]])
def test_interrupted_anywhere_it_ends_bit_identically(tmp_path: Path, tokens: np.ndarray, stops: list[int]) -> None:
    cell = make_cell(z_loss=1e-4)
    calm = train(cell, tokens, CPU)
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "cell")
    done = 0
    for stop in stops:
        calls = iter(range(done + 1, 1000))
        with pytest.raises(Interrupted, match=f"after step {stop}"):
            train(cell, tokens, CPU, checkpoint, stopping=lambda calls=calls, stop=stop: next(calls) >= stop)
        done = stop
        assert checkpoint.load()[1] == stop
    assert same(train(cell, tokens, CPU, checkpoint), calm)


def test_frequent_checkpoints_change_nothing(tmp_path: Path, tokens: np.ndarray) -> None:
    cell = make_cell()
    assert same(
        train(cell, tokens, CPU, Checkpoint(tmp_path / "c.safetensors", "cell"), every=0.0), train(cell, tokens, CPU)
    )


def test_a_damaged_checkpoint_costs_time_not_truth(
    tmp_path: Path, tokens: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, path = make_cell(), tmp_path / "c.safetensors"
    checkpoint = Checkpoint(path, "cell")
    calm = train(cell, tokens, CPU)
    generator = np.random.default_rng(0)
    for damage in ("truncate", "flip", "flip", "flip", "empty"):
        with pytest.raises(Interrupted):
            train(cell, tokens, CPU, checkpoint, stopping=lambda: True)
        content = bytearray(path.read_bytes())
        if damage == "flip":
            content[generator.integers(len(content) // 2, len(content))] ^= 16
        path.write_bytes({"truncate": content[:-5], "empty": b""}.get(damage, content))
        assert same(train(cell, tokens, CPU, checkpoint), calm)
        assert "the cell starts again" in capsys.readouterr().out
        path.unlink()


def test_another_cell_s_checkpoint_is_refused(tmp_path: Path, tokens: np.ndarray) -> None:
    """It fits in every shape; only its owner tells it apart."""
    path, other = tmp_path / "c.safetensors", make_cell(seed=1)
    with pytest.raises(Interrupted):
        train(other, tokens, CPU, Checkpoint(path, "other"), stopping=lambda: True)
    assert same(train(make_cell(), tokens, CPU, Checkpoint(path, "cell")), train(make_cell(), tokens, CPU))


@pytest.mark.parametrize("steps", [10, 40])
def test_asked_to_stop_where_it_diverges_it_has_diverged(tmp_path: Path, tokens: np.ndarray, steps: int) -> None:
    """Not interrupted: who went on from a checkpoint of that step would take it for sound."""
    cell = make_cell(lr=30.0, clip=None, warmup_steps=0, schedule="constant", steps=steps)
    calm, calls = train(cell, tokens, CPU), iter(range(1, 1000))
    assert calm.diverged
    checkpoint, last = Checkpoint(tmp_path / "c.safetensors", "cell"), calm.steps_done
    asked = train(cell, tokens, CPU, checkpoint, stopping=lambda: next(calls) >= last)
    assert asked.diverged
    assert same(asked, calm)


def test_divergence_by_loss_and_by_nan(tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = train(make_cell(lr=30.0, clip=None, warmup_steps=0, schedule="constant"), tokens, CPU)
    assert wild.diverged
    assert wild.steps_done in (10, 20, 30, 40)
    assert wild.loss_online(make_cell()) is None
    real = Hand.__call__

    def poisoned(*arguments: Any) -> torch.Tensor:
        return real(*arguments) * (torch.nan if next(calls) == 13 else 1)

    calls = iter(range(1000))
    monkeypatch.setattr(Hand, "__call__", poisoned)
    nan = train(make_cell(), tokens, CPU)
    assert nan.diverged
    assert nan.steps_done == 20


def test_a_warmup_too_slow_to_learn_is_no_divergence(tokens: np.ndarray) -> None:
    """Whose windows scatter about the loss at initialisation; some of these seeds lie above it on average."""
    runs = [train(make_cell(lr=1e-6, seed=seed), tokens, CPU) for seed in range(6)]
    above = [run for run in runs if run.losses[:10].mean() > run.losses[0]]
    assert 0 < len(above) < 6
    assert not any(run.diverged for run in runs)


def test_the_batch_order_is_the_windows_order(tokens: np.ndarray) -> None:
    """The first loss is that of the windows that `window_order` names, computed here by hand."""
    from stages.model.transformer import build

    cell = make_cell()
    rows = np.stack([tokens[w * 16 : w * 16 + 17] for w in window_order(cell)[0]]).astype(np.int64)
    logits = build(cell)(torch.from_numpy(rows[:, :-1]))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(rows[:, 1:]).flatten())
    assert train(cell, tokens, CPU).loss_init == pytest.approx(expected.item(), rel=1e-6)


def test_spikes_are_counted_by_the_stated_rule() -> None:
    losses = 2 + 0.01 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    losses[[60, 150]] += 0.5
    losses[120] -= 0.5
    curve = Curve(False, [], losses, losses)
    assert curve.n_spikes(make_cell(window=50)) == 2
    assert curve.loss_online(make_cell(unique_tokens=100 * 64)) == pytest.approx(losses[90:100].mean().item())


def test_bf16_is_near_fp32_and_is_another_cell(tokens: np.ndarray) -> None:
    exact, rough = (train(make_cell(precision=p), tokens, CPU) for p in ("fp32", "bf16"))
    assert not torch.equal(exact.losses, rough.losses)
    assert (exact.losses - rough.losses).abs().max() < 0.1


def test_a_batch_in_pieces_is_the_same_batch(tokens: np.ndarray) -> None:
    """Gradient accumulation sums in another order, nothing else; a last, smaller piece weighs less."""
    whole = train(make_cell(steps=10), tokens, CPU)
    for micro_batch in (1, 2, 3):
        pieces = train(make_cell(steps=10, micro_batch=micro_batch), tokens, CPU)
        torch.testing.assert_close(pieces.losses, whole.losses, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(pieces.grad_norms[:3], whole.grad_norms[:3], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("changes", [{"optimizer": "lion", "lr": 0.001}, {"normalise": True, "micro_batch": 2}])
def test_other_recipes_resume_bit_identically(tmp_path: Path, tokens: np.ndarray, changes: dict[str, object]) -> None:
    cell, path = make_cell(**changes), Checkpoint(tmp_path / "c.safetensors", "cell")
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        train(cell, tokens, CPU, path, stopping=lambda: next(calls) >= 13)
    assert same(train(cell, tokens, CPU, path), train(cell, tokens, CPU))


def test_whoever_looks_sees_every_step_once(tokens: np.ndarray, tmp_path: Path) -> None:
    """Window by window, a run that is stopped and goes on included."""
    cell, seen = make_cell(steps=35), []
    checkpoint = Checkpoint(tmp_path / "checkpoint", "cell")
    calls = iter(range(1000))
    with pytest.raises(Interrupted):
        train(cell, tokens, CPU, checkpoint, observe=seen.append, stopping=lambda: next(calls) == 13)
    assert [window.step for window in seen] == [10]
    trained = train(cell, tokens, CPU, checkpoint, observe=seen.append)
    assert [(window.step, len(window.losses)) for window in seen] == [(10, 10), (20, 10), (30, 10), (35, 5)]
    told = [loss for window in seen for loss in window.losses]
    assert told == trained.losses.tolist()
    assert [lr for window in seen for lr in window.lrs] == trained.lrs
    assert [norm for window in seen for norm in window.grad_norms] == trained.grad_norms.tolist()
