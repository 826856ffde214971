"""Run folders written by wandb itself, whole, cut and damaged."""

from pathlib import Path

import pytest

from crossover.base.errors import DamageError
from crossover.logs import find_runs
from crossover.logs.readers.wandb import read_wandb
from tests.logs.conftest import Written
from tests.logs.writers import NOTE


@pytest.fixture
def log(wandb_runs: Written) -> Path:
    """The log of the run with a note that spans blocks."""
    return next(wandb_runs.folder.rglob(f"run-{wandb_runs.told[0]['id']}.wandb"))


def test_configuration_and_history_are_what_was_logged(wandb_runs: Written) -> None:
    runs = {run.name: run for run in find_runs([wandb_runs.folder])}
    assert len(runs) == len(wandb_runs.told) == 6
    for told in wandb_runs.told:
        run, config = runs[told["name"]], told["config"]
        assert run.curves["val.loss"] == {int(step): value for step, value in told["curve"].items()}
        assert run.curves["train/loss"] == pytest.approx({int(s): value + 0.1 for s, value in told["curve"].items()})
        assert run.facts["model.n_params"] == config["model"]["n_params"]
        assert (run.facts["lr"], run.facts["seed"], run.facts["group"]) == (0.01, config["seed"], "adamw")
        assert run.facts["peak_memory"] == 1000 + config["seed"]
        assert run.facts["eval.accuracy"] == 0.5 + config["seed"] / 100
        assert (run.facts["eval.deep.top5"], run.facts["eval.deep.top1"]) == (0.75, 0.25)  # sent in pieces
        assert not run.notes
    assert runs["size-0"].facts["late"] is True


def test_a_record_longer_than_a_block_is_put_together(log: Path) -> None:
    content = log.read_bytes()
    assert len(content) > 2 * 32768
    assert NOTE[:100].encode() in content
    assert NOTE.encode() not in content  # a header lies within
    assert len(read_wandb(log).curves["val.loss"]) == 5


def test_one_run_folder_or_its_file_alone(log: Path) -> None:
    (folder,), (file,) = find_runs([log.parent]), find_runs([log])
    assert folder.curves == file.curves
    assert folder.name == "size-0"


def test_a_log_cut_anywhere_gives_what_was_before(log: Path, tmp_path: Path) -> None:
    whole, content = read_wandb(log), log.read_bytes()
    path, seen, hollow = tmp_path / "run-x.wandb", set(), 0
    for end in [*range(0, 400, 13), *range(400, len(content), 997), *range(len(content) - 4000, len(content), 37)]:
        path.write_bytes(content[:end])
        try:
            run = read_wandb(path)
        except DamageError:
            hollow = max(hollow, end)
            continue
        points = run.curves.get("val.loss", {})
        assert points.items() <= whole.curves["val.loss"].items()
        seen.add(len(points))
    assert hollow < 600  # before the first record ends
    assert {0, 1, 2, 3, 4} <= seen
    path.write_bytes(content[:-3])
    assert "ends early" in read_wandb(path).notes[0]
    assert read_wandb(path).curves == whole.curves


def test_zeros_of_a_crashed_machine_are_a_cut(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(log.read_bytes() + bytes(9000))
    run = read_wandb(path)
    assert len(run.curves["val.loss"]) == 5
    assert "ends early" in run.notes[0]


def test_a_flipped_bit_is_named(log: Path, tmp_path: Path) -> None:
    content = log.read_bytes()
    path = tmp_path / "run-x.wandb"
    for at in (0, 5, 8, 200, 5000, len(content) // 2):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(DamageError, match=r"run-x.wandb is damaged \(.*\); copy the run folder again") as caught:
            read_wandb(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "said"), [(b"", "holds no record"), (b"SQLite format 3", "does not begin")])
def test_what_is_no_log_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(content)
    with pytest.raises(DamageError, match=said):
        read_wandb(path)
