"""Programs that train instead of our loop: what they are given and held to, and that none outlives its worker."""

import importlib.util
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from crossover.base.errors import Interrupted, UsageError
from stages.cells.command import TrainerError, _new_rows, run_command
from stages.cells.locking import alone
from stages.cells.one import Worker
from stages.cells.plan import Plan, make_plan
from stages.cells.trainer import TimeLimitError, Trainer
from stages.model.transformer import Transformer, build
from stages.shards.index import read_index
from stages.shards.reading import read_prefix
from stages.store.store import Store
from stages.study.params import Params
from stages.study.trainers import Command
from stages.train.loop import train
from stages.train.observer import Window
from tests.conftest import REPOSITORY, TINY, Project, make_project
from tests.patience import patience
from tests.processes import alive, descendants, until

CPU = torch.device("cpu")
LEFT = """
import json, sys, numpy as np
from pathlib import Path
folder = Path(sys.argv[1])
cell = json.loads((folder / "cell.json").read_text())["cell"]
windows = np.load(folder / "windows.npz")
rows = [f"{step},{step * 128},0.1,{5 - step / 1000},1" for step in range(cell["steps"])]
losses = {name: np.full(len(windows[name]) * cell["seq_len"], 3.25) for name in ("validation", "seen", "fresh")}
CHANGE
(folder / "curve.csv").write_text("\\n".join(["step,tokens,lr,loss,grad_norm", *rows]) + "\\n")
np.savez(folder / "losses.npz", **losses)
"""


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("command") / "project")
    project.run(sys.executable, "-m", "stages.tokens")
    return project


def planned(project: Project, script: str | None = None, options: dict[str, Any] | None = None) -> Plan:
    """A plan of one cell by our loop and one by a program, of the project's text."""
    command = {"command": "python trainers/plain.py", "sources": ["trainers/plain.py"]}
    if script is not None:
        (project.root / "trainers/own.py").write_text(script)
        command = {"command": "python trainers/own.py", "sources": ["trainers/own.py"]}
    values = json.loads(json.dumps(TINY))
    recipes = {"ours": {}, "own": {"trainer": "own", "options": options or {}}}
    values["studies"]["tiny"].update(recipes=recipes, seeds=1)
    values["scales"]["mini"]["widths"] = [8]
    values.update(trainers={"own": command}, claims={})
    os.chdir(project.root)
    return make_plan(Params.model_validate(values), "tiny", "mini", read_index())


def fingerprint(plan: Plan) -> str:
    return next(name for name, cell in plan.cells.items() if cell.trainer)


def left(plan: Plan, folder: Path) -> Any:
    return run_command(plan, plan.cells[fingerprint(plan)], folder, CPU, lambda _: None, lambda: False)


@pytest.fixture(autouse=True)
def _back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path.cwd())  # `planned` goes elsewhere


def test_a_program_is_part_of_its_cells_identity_and_of_no_others(tokenized: Project) -> None:
    first, again = planned(tokenized, LEFT), planned(tokenized, f"# told otherwise\n{LEFT}")
    told, changed = planned(tokenized, LEFT, {"heads": 3}), planned(tokenized, f"{LEFT}\nNOTHING = 0\n")
    assert list(first.cells) == list(again.cells)
    ours, theirs = (
        [
            next(name for name, cell in plan.cells.items() if bool(cell.trainer) == own)
            for plan in (first, changed, told)
        ]
        for own in (False, True)
    )
    assert len(set(ours)) == 1
    assert len(set(theirs)) == 3
    with pytest.raises(UsageError, match="is not the one that tiny-mini was planned with"):
        first.require_this_source()  # the file is another one by now


def test_what_a_program_leaves_becomes_the_cell(tokenized: Project, tmp_path: Path) -> None:
    plan = planned(tokenized, LEFT.replace("CHANGE", "losses['validation'][:16] = 3.75"))
    store, name = Store(tmp_path), fingerprint(plan)
    told: list[Window] = []
    record = Worker(plan, store, CPU).complete(name, told.append, lambda: False)
    losses = store.evaluation(name, plan.evaluation(plan.cells[name]))
    assert losses
    assert losses["loss_validation"] == pytest.approx(3.25 + 0.5 * 16 / 2048)
    assert losses["loss_validation_se"] > 0
    assert (losses["loss_seen"], losses["loss_fresh"]) == (3.25, 3.25)
    assert (record.status, record.steps_done, record.loss_init) == ("done", plan.cells[name].steps, 5.0)
    assert told
    for window in told:
        start = window.step - len(window.losses)
        assert window.losses == pytest.approx([5 - step / 1000 for step in range(start, window.step)])
        assert window.lrs == [0.1] * len(window.losses) == [0.1 * norm for norm in window.grad_norms]
    assert not (store.folder(name) / "work").exists()
    assert list(record.files) == ["curve.parquet"]


def test_a_program_that_diverged_needs_no_losses(tokenized: Project, tmp_path: Path) -> None:
    plan = planned(tokenized, LEFT.replace("CHANGE", "rows[15:] = ['15,1920,0.1,nan,1']; losses = {}"))
    record = Worker(plan, Store(tmp_path), CPU).complete(fingerprint(plan), lambda _: None, lambda: False)
    assert (record.status, record.steps_done) == ("diverged", 16)


def test_a_program_that_went_on_after_divergence_has_diverged(tokenized: Project, tmp_path: Path) -> None:
    """As our loop would have, which looks at every window and not at the last alone."""
    plan = planned(tokenized, LEFT.replace("CHANGE", "rows[3] = '3,384,0.1,nan,1'; losses = {}"))
    cell = plan.cells[fingerprint(plan)]
    assert 4 + cell.window <= cell.steps
    assert left(plan, tmp_path / "work").diverged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rows.pop()", "curve.csv has 29 steps, not 0 to 29 in order; write one row per step"),
        ("rows[3] = rows[4]", "curve.csv has 30 steps, not 0 to 29 in order"),
        ("rows[5] = '5,,0.1,4,1'", "has None tokens before step 5, and the cell's batches make 640"),
        ("rows[5] = '5,6400,0.1,4,1'", "has 6400 tokens before step 5, and the cell's batches make 640"),
        ("rows = ['a,b,c,d,e']", "it must leave curve.csv with the columns step, tokens, lr, loss, grad_norm"),
        ("del losses['seen']", "it must hold validation, seen, fresh"),
        ("losses['fresh'] = losses['fresh'][1:]", "`fresh` must hold 1024 finite losses.*it has 1023"),
        ("losses['fresh'] = losses['fresh'][16:]", "`fresh` must hold 1024 finite losses.*it has 1008"),
        ("losses['seen'][5] = np.nan", "`seen` must hold .* finite losses.* of them finite"),
        ("raise SystemExit('no such dataset')", "ended with exit code 1: no such dataset \\(all: .*log.txt\\)"),
    ],
)
def test_a_program_is_held_to_what_it_must_leave(tokenized: Project, tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        left(planned(tokenized, LEFT.replace("CHANGE", change)), tmp_path / "work")


def test_a_program_that_does_not_exist_is_named(tokenized: Project, tmp_path: Path) -> None:
    plan = planned(tokenized, LEFT)
    plan.trainers["own"] = plan.trainers["own"].model_copy(update={"command": "no-such-program"})
    with pytest.raises(TrainerError, match=r"trainers\.own: `no-such-program` cannot be started"):
        left(plan, tmp_path / "work")


def test_the_plain_example_is_our_loop_to_rounding(
    tokenized: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From our initial weights it has our losses, step by step and at the end: same model, data, rule, evaluation."""
    spec = importlib.util.spec_from_file_location("plain", REPOSITORY / "trainers/plain.py")
    assert spec
    assert spec.loader
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    plan = planned(tokenized)
    cell = plan.cells[fingerprint(plan)]
    stream = read_prefix(plan.text_name, plan.text, "train", cell.unique_tokens + 1)
    ours = train(cell, stream, CPU)

    class Given(plain.Model):  # type: ignore[misc, name-defined]
        def __init__(self, c: Any) -> None:
            super().__init__(c)
            renamed = {_plain_name(name): value for name, value in build(cell).state_dict().items()}
            self.load_state_dict(renamed)

    folder = tmp_path / "work"
    monkeypatch.setattr(plain, "Model", Given)
    monkeypatch.setattr("subprocess.Popen", lambda words, **_: _Inline(plain.main, Path(words[-1])))
    theirs = left(plan, folder)
    torch.testing.assert_close(theirs.losses, ours.losses, rtol=0, atol=2e-4)
    torch.testing.assert_close(theirs.grad_norms, ours.grad_norms, rtol=2e-3, atol=2e-4)
    assert theirs.lrs == pytest.approx(ours.lrs)
    held_out = _held_out_loss(plan, ours.model)
    assert theirs.evaluated["validation"].mean() == pytest.approx(held_out, abs=2e-4)


class _Inline:
    """The program in this process."""

    def __init__(self, main: Any, folder: Path) -> None:
        main(folder)
        self.returncode = 0

    def poll(self) -> int:
        return 0


def _plain_name(name: str) -> str:
    parts = {"attention_norm.gain": "norm1.weight", "mlp_norm.gain": "norm2.weight", "attention.qkv": "qkv",
             "attention.out": "out", "mlp.up": "up", "mlp.down": "down", "attention.query_norm.gain": "norm_q.weight",
             "attention.key_norm.gain": "norm_k.weight"}  # fmt: skip
    for ours, theirs in parts.items():
        name = name.replace(ours, theirs)
    return name.replace("norm.gain", "norm.weight")


def _held_out_loss(plan: Plan, model: Transformer) -> float:
    tokens = read_prefix(plan.text_name, plan.text, "validation", plan.validation_tokens + 1).astype(np.int64)
    inputs, targets = (torch.from_numpy(part).view(-1, 16) for part in (tokens[:-1], tokens[1:]))
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(model(inputs).double().flatten(0, 1), targets.flatten()))


def test_the_plain_example_stopped_and_started_again_has_the_same_curve(tokenized: Project, tmp_path: Path) -> None:
    plan = planned(tokenized)
    cell = plan.cells[fingerprint(plan)]
    calm = left(plan, tmp_path / "calm")
    seen: list[int] = []
    with pytest.raises(Interrupted):
        run_command(plan, cell, tmp_path / "work", CPU, seen.append, lambda: (tmp_path / "work/curve.csv").exists())
    again = left(plan, tmp_path / "work")
    assert torch.equal(again.losses, calm.losses)
    assert np.array_equal(again.evaluated["validation"], calm.evaluated["validation"])


SLEEPER = "import sys, time\nfrom pathlib import Path\n(Path(sys.argv[1]) / 'here').touch()\ntime.sleep(600)\n"


@pytest.mark.parametrize("how", ["time limit", "killed worker", "stop"])
def test_no_program_outlives_its_worker(tokenized: Project, tmp_path: Path, how: str) -> None:
    plan = planned(tokenized, SLEEPER)
    store, name = Store(tmp_path), fingerprint(plan)
    handle, found = Trainer(root=tokenized.root), []

    def work() -> None:
        try:
            handle.complete(plan, name, store, seconds=30 if how == "time limit" else None)
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until((store.folder(name) / "work/here").exists, 60)
    assert handle.pid
    (program,) = descendants(handle.pid)
    if how == "killed worker":
        os.kill(handle.pid, 9)
    elif how == "stop":
        handle.stop()
    thread.join(patience(90))
    assert found
    assert how != "time limit" or isinstance(found[0], TimeLimitError)
    until(lambda: not alive(program), 10)
    handle.stop()


def test_a_curve_is_told_once_however_it_is_written(tmp_path: Path) -> None:
    """As it grows, cut off in a row, written anew from an earlier step, and with other digits."""
    curve, place, told, steps = tmp_path / "curve.csv", 0, 0, []

    def tell(text: str) -> list[tuple[float, ...]]:
        nonlocal place, told
        curve.write_text(text)
        rows, place = _new_rows(curve, place, told)
        told = int(rows[-1][0]) + 1 if rows else told
        steps.extend(row[0] for row in rows)
        return rows

    head = "step,tokens,lr,loss,grad_norm\n"
    rows = [f"{step},{step * 128},,{5 - step / 10},1\n" for step in range(10)]
    assert tell(head) == []
    assert tell(head + "".join(rows[:3]) + "3,38") == [
        (step, pytest.approx(np.nan, nan_ok=True), 5 - step / 10, 1) for step in range(3)
    ]
    assert len(tell(head + "".join(rows[:5]))) == 2
    assert tell(head + "".join(rows[:2])) == []
    assert tell(head + "".join(rows[:4])) == []
    assert len(tell(head + "".join(rows[:7]))) == 2
    assert [row[2] for row in tell(head + "".join(rows).replace("128", "0000128").replace(",1\n", ",1.000\n"))] == [
        pytest.approx(5 - step / 10) for step in (7, 8, 9)
    ]
    assert steps == list(range(10))


def test_two_clones_that_share_a_store_train_a_cell_once(tokenized: Project, tmp_path: Path) -> None:
    """They used to write into one folder, and both failed. The second waits, and takes what the first made."""
    slow = f"import time; open('{tmp_path}/begun', 'a').write('x'); time.sleep(1)"
    plan, store = planned(tokenized, LEFT.replace("CHANGE", slow)), Store(tmp_path / "store")
    found = []

    def clone() -> None:
        found.append(Worker(plan, store, CPU).complete(fingerprint(plan), lambda _: None, lambda: False))

    threads = [threading.Thread(target=clone) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "begun").read_text() == "x"
    assert found[0] == found[1]


def test_who_waits_for_another_clone_can_be_stopped(tokenized: Project, tmp_path: Path) -> None:
    plan, store = planned(tokenized, LEFT), Store(tmp_path)
    name = fingerprint(plan)
    with alone(store.folder(name) / "work", lambda: False), pytest.raises(Interrupted, match="while another process"):
        Worker(plan, store, CPU).complete(name, lambda _: None, lambda: True)


def test_a_program_gets_no_keys(tokenized: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "GH_TOKEN", "HF_TOKEN", "PREFECT_API_AUTH_STRING", "CROSSOVER_STORE"):
        monkeypatch.setenv(name, "secret")
    script = LEFT.replace("CHANGE", f"import os; open('{tmp_path}/seen', 'w').write(json.dumps(dict(os.environ)))")
    left(planned(tokenized, script), tmp_path / "work")
    seen = json.loads((tmp_path / "seen").read_text())
    assert "secret" not in seen.values()
    assert {"PATH", "HOME", "OMP_NUM_THREADS"} <= set(seen)


@pytest.mark.parametrize(
    "command",
    ["python -c 'import os'", "bash trainers/x.sh", "/bin/sh", "python trainers/../x.py", "python -m trainers.x",
     "python", "trainers", "'", "curl http://evil.example", "python /tmp/x.py"],
)  # fmt: skip
def test_nothing_but_a_program_of_ours_is_run(command: str) -> None:
    with pytest.raises(ValidationError, match=r"no program below trainers|no command line"):
        Command(command=command, sources=["trainers/x.py"])
    assert Command(command="python trainers/x.py --fast", sources=["trainers/x.py"])
    assert Command(command="trainers/run 'a b'", sources=["trainers/run"])


@pytest.mark.slow
def test_a_worker_that_somebody_stopped_is_named_and_goes_on(
    tokenized: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.cells.trainer.QUIET_SECONDS", 2.0)
    plan, store = planned(tokenized, LEFT.replace("CHANGE", "import time; time.sleep(6)")), Store(tmp_path)
    worker, found = Trainer(), []
    thread = threading.Thread(target=lambda: found.append(worker.complete(plan, fingerprint(plan), store)))
    thread.start()
    until(lambda: (store.folder(fingerprint(plan)) / "work/cell.json").exists(), 60)
    assert worker.pid
    os.kill(worker.pid, signal.SIGSTOP)
    said = ""

    def told() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "lets it go on" in said

    until(told, 30)
    assert f"worker {worker.pid} has done nothing for 2 s: it was stopped; `kill -CONT {worker.pid}`" in said
    os.kill(worker.pid, signal.SIGCONT)
    thread.join(patience(60))
    worker.stop()
    assert found == ["done"]
