"""`trainer_state.json` of a real run of a tiny random model, and broken ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crossover.base.errors import CrossoverError
from crossover.logs import Take, find_runs, propose
from tests.logs.conftest import Written


def state(folder: Path, **body: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps(body))
    return folder


HISTORY = [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.0, "learning_rate": 0.1}, {"step": 2, "eval_loss": 3.5}]


@pytest.mark.slow
def test_a_real_run_is_read_with_its_settings(trainer: Written) -> None:
    (run,) = find_runs([trainer.folder])
    assert run.name == "llama"
    for metric in ("loss", "eval_loss", "learning_rate", "num_input_tokens_seen"):
        logged = {entry["step"]: entry[metric] for entry in trainer.told["history"] if metric in entry}
        assert logged
        assert run.curves[metric] == logged
    assert run.facts["n_parameters"] == trainer.told["parameters"]
    assert run.curves["total_flos"] == {6: trainer.told["flops"]}
    assert (run.facts["config.hidden_size"], run.facts["args.learning_rate"], run.facts["args.seed"]) == (16, 0.01, 7)
    assert len(run.notes) == 1
    assert "the events in runs/" in run.notes[0]


@pytest.mark.slow
def test_a_killed_run_is_read_from_its_last_checkpoint(trainer: Written, tmp_path: Path) -> None:
    shutil.copytree(trainer.folder / "llama", tmp_path / "llama")
    (tmp_path / "llama" / "trainer_state.json").unlink()
    shutil.rmtree(tmp_path / "llama" / "checkpoint-6")
    (run,) = find_runs([tmp_path])
    assert max(run.curves["loss"]) == 2
    assert list(run.curves["eval_loss"]) == [3]
    assert run.facts["n_parameters"] == trainer.told["parameters"]
    assert "read from checkpoint-3, the last one there" in run.notes[0]


def test_counters_that_were_not_asked_for_are_left_out(tmp_path: Path) -> None:
    (run,) = find_runs(
        [state(tmp_path / "a", log_history=HISTORY, num_input_tokens_seen=0, total_flos=0.0, max_steps=2)]
    )
    assert run.facts == {"max_steps": 2}
    assert run.curves["loss"] == {1: 4.0, 2: 3.0}


def test_settings_beside_it_are_read(tmp_path: Path) -> None:
    folder = state(tmp_path / "a", log_history=HISTORY, trial_params={"learning_rate": 0.3})
    (folder / "training_args.json").write_text('{"learning_rate": 0.5, "betas": [0.9, 0.95]}')
    header = b'{"__metadata__": {}, "w": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(48))
    (run,) = find_runs([folder / "trainer_state.json"])
    assert run.facts == {"trial_params.learning_rate": 0.3, "args.learning_rate": 0.5, "n_parameters": 12}


def test_a_real_header_of_safetensors_counts_the_parameters(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder = state(tmp_path / "a", log_history=HISTORY)
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(())}, folder / "model-00001-of-00002.safetensors")
    save_file({"c": torch.zeros(7)}, folder / "model-00002-of-00002.safetensors")
    (run,) = find_runs([folder])
    assert run.facts["n_parameters"] == 15 + 1 + 7


def test_infinite_and_missing_losses_are_kept_apart(tmp_path: Path) -> None:
    text = '{"log_history": [{"step": 1, "loss": NaN, "grad_norm": "Infinity"}]}'
    (tmp_path / "trainer_state.json").write_text(text)
    (run,) = find_runs([tmp_path])
    assert run.curves["loss"][1] != run.curves["loss"][1]
    assert run.curves["grad_norm"] == {1: float("inf")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty; take an earlier checkpoint"),
        ('{"log_history": [{"step": 1, "lo', "is not valid JSON"),
        ('{"epoch": 1}', "has no log_history"),
        ("[1, 2]", "has no log_history"),
        ('{"log_history": []}', "set logging_steps"),
        ('{"log_history": [{"loss": 1}]}', "set logging_steps"),
        ('{"log_history": [7]}', "set logging_steps"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_broken_ones_are_one_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "trainer_state.json").write_text(content)
    with pytest.raises(CrossoverError, match=said) as caught:
        find_runs([tmp_path])
    assert "trainer_state.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("logged", "loss", "said"),
    [
        ([], 2.5, "eval_loss at its end is that of all_results.json"),
        ([{"step": 3, "eval_loss": 2.9}], 2.5, "eval_loss at its end is that of all_results.json"),
        ([{"step": 6, "eval_loss": 2.5}], 2.5, ""),
        ([{"step": 6, "eval_loss": 2.6}], 2.6, "all_results.json says eval_loss 2.5, the state 2.6"),
    ],
)
def test_the_evaluation_after_the_end(tmp_path: Path, logged: list[dict[str, Any]], loss: float, said: str) -> None:
    """As `run_clm.py` does: it saves the state, then evaluates, then saves what came."""
    state = {"global_step": 6, "log_history": [{"step": 2, "loss": 3.5}, {"step": 4, "loss": 3.0}, *logged]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    (tmp_path / "all_results.json").write_text(json.dumps({"eval_loss": 2.5, "perplexity": 12.2}))
    proposal = propose(find_runs([tmp_path]), {}, Take())
    assert proposal.table["loss"].tolist() == [loss]
    assert said in " ".join(proposal.notes)
