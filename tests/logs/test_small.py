"""Logs of a few bytes encoded here, so that the readers are tried also where the libraries are not installed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crossover.base.errors import CrossoverError
from crossover.logs import find_runs
from crossover.logs.naming import read_names
from tests.logs.encode import event_file, trainer_state, wandb_log

KINDS = {
    "events.out.tfevents.1": ("val/loss", event_file), "run-abc.wandb": ("loss", wandb_log),
    "trainer_state.json": ("loss", trainer_state),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    metric, write = KINDS[name]
    (tmp_path / name).write_bytes(write())
    for path in (tmp_path, tmp_path / name):
        (run,) = find_runs([path])
        assert run.curves[metric] == {0: 4.0, 1: 3.0, 2: 2.5}
        assert not run.notes


def test_what_was_logged_later_at_a_step_counts(tmp_path: Path) -> None:
    """A trainer that was resumed logs its steps since the checkpoint again."""
    entries = [{"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.0}, {"step": 2, "loss": 2.5}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": entries, "global_step": 2}))
    (run,) = find_runs([tmp_path])
    assert run.curves["loss"] == {1: 4.0, 2: 2.5}


@pytest.mark.parametrize("name", list(KINDS)[:2])
def test_cut_at_every_byte(tmp_path: Path, name: str) -> None:
    metric, write = KINDS[name]
    whole, path, counts = write(), tmp_path / name, []
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        counts.append(points(path, metric))
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2}


def points(path: Path, metric: str) -> int:
    """How many points are read; none of a file that is refused in one line."""
    try:
        (run,) = find_runs([path])
    except CrossoverError as error:
        return len(str(error).splitlines()) - 1
    found = run.curves.get(metric, {})
    assert list(found.values()) == [4.0, 3.0, 2.5][: len(found)]
    return len(found)


@pytest.mark.parametrize("write", [event_file, wandb_log])
def test_many_runs_in_one_folder_and_a_copy(tmp_path: Path, write: Callable[..., bytes]) -> None:
    """Two event files of one name are two runs, two logs of one id are one; the same bytes once more are a copy."""
    name = "events.out.tfevents.1" if write is event_file else "run-abc.wandb"
    for place, losses in (("a", (4.0, 3.0)), ("b", (5.0, 3.5)), ("latest-run", (5.0, 3.5))):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_bytes(write(losses))
    runs = find_runs([tmp_path])
    assert [run.name for run in runs] == (["a", "b"] if write is event_file else ["abc"])
    assert list(next(iter(runs[-1].curves.values())).values()) == [5.0, 3.5]
    assert runs.notes == [f"latest-run/{name} is a copy of b/{name}, and left out"]


def test_names_with_the_ends_of_lines_stay_in_one(tmp_path: Path) -> None:
    (tmp_path / "runs.json").write_text('[{"run": "a\\nb", "lo\\nss": 2.0, "note": "\\ud800"}]')
    (run,) = find_runs([tmp_path])
    assert (run.name, run.facts) == ("a b", {"lo ss": 2.0, "note": " "})


def test_settings_in_names_by_a_pattern(tmp_path: Path) -> None:
    for name in ("adam_lr5e-02_wd0.1", "adam_lr1e-03_wd0.01", "other"):
        (tmp_path / f"{name}.jsonl").write_text('{"_step": 1, "loss": 2.0}\n{"_step": 2, "loss": 1.0}\n')
    runs = find_runs([tmp_path])
    read_names(runs, "lr{lr}_wd{decay}")
    assert {run.name: run.facts for run in runs} == {
        "adam_lr5e-02_wd0.1": {"lr": 0.05, "decay": 0.1}, "adam_lr1e-03_wd0.01": {"lr": 0.001, "decay": 0.01},
        "other": {},
    }  # fmt: skip
    assert runs[0].notes == ["--names fits not: other"]
    for pattern, said in (("lr", "names no place"), ("x{a}y", "fits none of"), ("{a}_{a}", "name each place once")):
        with pytest.raises(CrossoverError, match=said):
            read_names(runs, pattern)


def test_tables_beside_logs_are_passed_over_by_name(tmp_path: Path) -> None:
    (tmp_path / "run-abc.wandb").write_bytes(wandb_log())
    for name in ("all_results.json", "metrics.csv", "mine.csv"):
        (tmp_path / name).write_text("loss,n\n1.0,2\n" if name.endswith("csv") else '{"eval_loss": 1.0}')
    runs = find_runs([tmp_path])
    assert [run.name for run in runs] == ["abc"]
    assert runs.notes == ["passed over beside logs of runs: mine.csv; name a table to read it"]


def test_settings_of_mlflow_are_numbers_where_they_are_numbers(tmp_path: Path) -> None:
    run = tmp_path / "mlruns" / "1" / "abc"
    for name, text in {"metrics/loss": "1700000000000 4.0 0\n", "params/lr": "1e-3", "params/layers": "12",
                       "params/shift": "-3", "params/optimizer": "adamw"}.items():  # fmt: skip
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    (run / "meta.yaml").write_text("run_id: abc\nrun_name: one\nstatus: 3\nlifecycle_stage: active\n")
    (found,) = find_runs([tmp_path])
    asked = {name: found.facts[name] for name in ("lr", "layers", "shift", "optimizer")}
    assert asked == {"lr": 1e-3, "layers": 12, "shift": -3, "optimizer": "adamw"}
    assert [type(value) for value in asked.values()] == [float, int, int, str]
