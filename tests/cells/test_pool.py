"""The pool with real worker processes: they share the work, die with their parent, and a lost one costs its cell."""

import errno
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from crossover.base.errors import CrossoverError, DamageError, Interrupted
from stages.cells.assemble import write_tables
from stages.cells.locking import alone
from stages.cells.plan import Plan, make_plan, read_plan
from stages.cells.pool import run_pool
from stages.cells.progress import Progress
from stages.cells.trainer import TimeLimitError, Trainer, of_the_host
from stages.model.transformer import build
from stages.shards.index import read_index
from stages.store.store import Store
from stages.study.params import Params
from stages.train.observer import Window
from tests.conftest import TINY, Project, make_project, write_corpus
from tests.patience import patience
from tests.processes import alive, descendants, kill, until


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose text is tokenized, with a few cells long enough to be caught in the middle."""
    project = make_project(tmp_path_factory.mktemp("pool") / "project")
    write_corpus(project.root / "data/sources/words.jsonl", documents=1500)
    project.params(lambda values: values["scales"]["mini"].update(tokens=40_000, widths=[16]))
    project.run(sys.executable, "-m", "stages.tokens")
    project.run(sys.executable, "-m", "stages.cells", "plan", "tiny", "mini")
    return project


@pytest.fixture
def planned(tokenized: Project, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of short cells over the same text, in the project's folder."""
    monkeypatch.chdir(tokenized.root)
    params = Params.model_validate(TINY)
    return make_plan(params, "tiny", "mini", read_index())


def test_one_or_two_workers_give_the_same_bytes(planned: Plan, tmp_path: Path) -> None:
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    for number, store in enumerate(stores, start=1):
        run_pool(planned, list(planned.cells), store, workers=number)
    for fingerprint, cell in planned.cells.items():
        a, b = (store.record(fingerprint) for store in stores)
        assert a.files == b.files
        digest = planned.evaluation(cell)
        assert stores[0].evaluation(fingerprint, digest) == stores[1].evaluation(fingerprint, digest)


def test_losses_are_those_of_the_held_out_text(planned: Plan, tmp_path: Path) -> None:
    """Computed here from the kept weights and the shards' bytes, in nats per token and in bits per byte."""
    one, store = next(iter(planned.cells)), Store(tmp_path / "store")
    alone = planned.only(one)
    cell = alone.rows[0].cell
    run_pool(alone, [one], store)
    model = build(cell)
    model.load_state_dict(load_file(store.folder(one) / "weights.safetensors"))
    shards = sorted(Path("data/tokens", planned.text_name, "validation").glob("*.bin"))
    stream = np.concatenate([np.fromfile(path, "<u2") for path in shards]).astype(np.int64)
    count = planned.validation_tokens // cell.seq_len
    rows = torch.from_numpy(np.stack([stream[i * cell.seq_len :][: cell.seq_len + 1] for i in range(count)]))
    with torch.no_grad():
        logits = model(rows[:, :-1])
    by_hand = torch.nn.functional.cross_entropy(logits.double().flatten(0, 1), rows[:, 1:].flatten()).item()
    write_tables(alone, store, tmp_path, tmp_path)
    (told,) = pd.read_csv(tmp_path / "losses.csv").to_dict("records")
    assert told["loss_validation"] == pytest.approx(by_hand, rel=1e-5)
    whole = planned.text.validation.shards
    per_token = sum(shard.document_bytes for shard in whole) / sum(shard.document_tokens for shard in whole)
    assert told["bits_per_byte"] == pytest.approx(by_hand / math.log(2) / per_token, rel=1e-5)


@pytest.mark.slow
def test_without_kept_weights_an_evaluation_is_made_again_by_training(planned: Plan, tmp_path: Path) -> None:
    kept, dropped = Store(tmp_path / "kept"), Store(tmp_path / "dropped")
    one = list(planned.cells)[:1]
    run_pool(planned, one, kept)
    frugal = planned.model_copy(update={"keep": "none"})
    run_pool(frugal, one, dropped)
    assert "weights.safetensors" not in dropped.record(one[0]).files
    for store, plan in ((kept, planned), (dropped, frugal)):
        next(store.folder(one[0]).glob("evaluation-*")).unlink()
        run_pool(plan, one, store)
    digest = planned.evaluation(planned.cells[one[0]])
    assert kept.evaluation(one[0], digest) == dropped.evaluation(one[0], digest)


def at_first_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None]) -> list[str]:
    """Do something once, when the first cell reports a step; the cell's fingerprint is in the list."""
    real, seen = Progress.step, []

    def step(progress: Progress, fingerprint: str, number: int) -> None:
        if not seen:
            seen.append(fingerprint)
            act(fingerprint)
        real(progress, fingerprint, number)

    monkeypatch.setattr(Progress, "step", step)
    return seen


def test_a_killed_worker_costs_its_cell_and_is_named(
    planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cells = Store(tmp_path / "store"), list(planned.cells)
    killed = at_first_step(monkeypatch, lambda _: kill(descendants(os.getpid(), "stages.cells.trainer")[0].pid))
    with pytest.raises(CrossoverError, match=r"1 cell\(s\) failed, the others are kept: .*out of memory"):
        run_pool(planned, cells, store, workers=1)
    assert store.failure(killed[0])
    assert all(store.record(cell) for cell in cells if cell != killed[0])
    run_pool(planned, killed, store)
    assert store.failure(killed[0]) is None


def test_a_broken_store_fails_its_cell_only(planned: Plan, tmp_path: Path) -> None:
    store, cells = Store(tmp_path / "store"), list(planned.cells)
    store.root.mkdir()
    store.folder(cells[0]).write_text("a file where the folder should be")
    with pytest.raises((CrossoverError, OSError)):
        run_pool(planned, cells, store)
    assert all(store.record(cell) for cell in cells[1:])


def start_training(project: Project) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stages.cells", "train", "tiny", "mini"]
    process = subprocess.Popen(
        command, cwd=project.root, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    store = project.root / "data/store"
    until(lambda: list(store.glob("*/checkpoint.safetensors")))
    return process


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGINT))]
)
def test_no_trainer_outlives_its_parent(tokenized: Project, number: signal.Signals) -> None:
    project = tokenized
    shutil.rmtree(project.root / "data/store", ignore_errors=True)
    process = start_training(project)
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.send_signal(number)
    output, _ = process.communicate(timeout=patience(60))
    until(lambda: not any(map(alive, workers)), 30)
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "Traceback" not in output
        assert output.rstrip().endswith("run the same command again")
    again = project.run(sys.executable, "-m", "stages.cells", "train", "tiny", "mini")
    assert again.returncode == 0
    assert not list((project.root / "data/store").glob("*/checkpoint.safetensors"))


def test_what_the_machine_fails_is_an_error_though_others_are_there(tokenized: Project) -> None:
    """Of a recipe it says nothing: were they rows `failed`, the study would end without these cells, and well."""
    shard, train = tokenized.root / "data/tokens/words-bpe300/train/00000.bin", ("-m", "stages.cells", "train")
    tokenized.run(sys.executable, *train, "tiny", "mini")
    cells = [path for path in (tokenized.root / "data/store").iterdir() if len(path.name) == 64]
    shutil.rmtree(cells[0])
    whole = shard.read_bytes()
    shard.write_bytes(b"\0" + whole[1:])
    done = tokenized.run(sys.executable, *train, "tiny", "mini", check=False)
    shard.write_bytes(whole)
    assert done.returncode == 1
    assert "this machine could not finish 1 cell(s), the others are kept" in done.stderr
    assert "Traceback" not in done.stderr
    tokenized.run(sys.executable, *train, "tiny", "mini")
    assert (cells[0] / "record.json").exists()


@pytest.mark.parametrize(
    ("error", "hosts"),
    [(OSError(errno.ENOSPC, "No space left on device"), True), (PermissionError(errno.EACCES, "closed"), False),
     (DamageError("00000.bin is missing or altered"), True), (TypeError("os error"), False),
     (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), True)],
)  # fmt: skip
def test_what_is_the_machines_fault(error: Exception, hosts: bool) -> None:
    assert of_the_host(error) == hosts


def test_one_stage_lays_out_the_cells_at_a_time(tokenized: Project) -> None:
    """Two that did so at once took away each other's files."""
    home = tokenized.root / "data/studies/tiny-mini"
    command = [sys.executable, "-m", "stages.cells", "train", "tiny", "mini"]
    tokenized.run(*command)
    shutil.rmtree(home / "cells")
    with alone(home):
        process = subprocess.Popen(command, cwd=tokenized.root, env=tokenized.environment)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5)
        assert not (home / "cells").exists()
    assert process.wait(patience(60)) == 0
    assert (home / "cells").exists()


@pytest.mark.slow
def test_interrupted_pool_raises_and_resumes(planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, cells = Store(tmp_path / "store"), list(planned.cells)
    with monkeypatch.context() as patch:
        at_first_step(patch, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            run_pool(planned, cells, store)
    run_pool(planned, cells, store)
    assert all(store.record(cell) for cell in cells)


def test_a_cell_over_its_time_limit_is_stopped_and_the_next_one_gets_a_worker(planned: Plan, tmp_path: Path) -> None:
    store, trainer, (first, second, *_) = Store(tmp_path / "store"), Trainer(), planned.cells
    with pytest.raises(TimeLimitError, match=r"more than 0\.01 s"):
        trainer.complete(planned, first, store, seconds=0.01)
    assert trainer.complete(planned, second, store, seconds=60) == "done"
    trainer.stop()
    assert trainer.pid is None


@pytest.mark.parametrize("error", [KeyError("who"), ValueError("no room")])
def test_who_watches_and_fails_costs_no_other_cell(planned: Plan, tmp_path: Path, error: Exception) -> None:
    """The worker in the middle of a cell leaves; the error is told as it is."""
    store, trainer, (first, second, *_) = Store(tmp_path / "store"), Trainer(), planned.cells

    def watch(_: Window) -> None:
        raise error

    with pytest.raises(type(error), match=str(error.args[0])):
        trainer.complete(planned, first, store, watch)
    assert trainer.pid is None
    told: list[Window] = []
    assert trainer.complete(planned, second, store, told.append) == "done"
    assert store.record(second)
    assert told[-1].step == planned.cells[second].steps
    trainer.stop()


def test_a_lost_plan_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CrossoverError, match="run `dvc repro plan@tiny-mini`"):
        read_plan("tiny", "mini")
