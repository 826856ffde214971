"""`crossover gc` deletes in a store alone, and nothing that anybody needs: real stores, repositories and plans."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from crossover.base.errors import CrossoverError, DamageError, UsageError
from crossover.base.files import write_json
from crossover.cli.app import app
from stages.cells.__main__ import plan
from stages.cells.plan import read_plan
from stages.shards.manifest import INDEX, Index
from stages.store.store import STORE, Store, store_from_environment
from tests.cells.test_plan import text
from tests.conftest import TINY
from tests.store.test_store import finished


def git(*words: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words]
    subprocess.run(command, check=True, capture_output=True)


def enter(monkeypatch: pytest.MonkeyPatch, root: Path, seeds: int = 2) -> None:
    """Work in a clone of a small project, made where it is new."""
    new = not root.exists()
    root.mkdir(exist_ok=True)
    monkeypatch.chdir(root)
    values = json.loads(json.dumps(TINY))
    values["studies"]["tiny"]["seeds"] = seeds
    Path("params.yaml").write_text(json.dumps(values))
    write_json(INDEX, Index(texts={"words-bpe300": text()}).model_dump())
    if new:
        git("init", "-q")
        git("add", "params.yaml")
        git("commit", "-qm", "x")


def planned() -> set[str]:
    plan("tiny", "mini")
    return set(read_plan("tiny", "mini").cells)


def lay(root: Path, name: str) -> Path:
    """A cell, as far as its files are asked for."""
    folder = root / name
    folder.mkdir(parents=True)
    for file in ("record.json", "curve.parquet", f"evaluation-{'e' * 16}.json", "checkpoint.safetensors"):
        (folder / file).write_text("{}")
    (folder / "work").mkdir()
    (folder / "work/anything.txt").write_text("x")
    return folder


def gc(*words: str) -> None:
    app(["gc", "--days", "0", *words], standalone_mode=False)


def results(name: str, *fingerprints: str) -> Path:
    path = Path("data/results", name, "losses.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("fingerprint", *fingerprints)))
    return path


@pytest.fixture(params=["folder", "memory"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where `CROSSOVER_STORE` points; behind a URL each clone deletes in its own cache."""
    where = str(tmp_path / "shared") if request.param == "folder" else f"memory://{tmp_path.name}-{os.getpid()}"
    monkeypatch.setenv("CROSSOVER_STORE", where)
    return where


def test_nobody_s_home_is_emptied(shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, tmp_path / "clone")
    home = store_from_environment().root
    for name in ("thesis/chapter.tex", ".ssh/id", "thesis/record.json"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("years")
    cell = lay(home, "a" * 64)
    finished(Store(home))
    for _ in range(2):  # the second time with what planning leaves beside the cells
        with pytest.raises(UsageError, match=r"^[^\n]* holds '.ssh', which is no cell: nothing in it is deleted; "):
            gc("--yes")
        planned()
    assert {path.name for path in home.iterdir()} >= {"thesis", ".ssh", cell.name}
    assert (home / ".ssh/id").exists()


def test_a_store_with_something_else_in_it_is_refused(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, tmp_path / "clone")
    planned()
    root = store_from_environment().root
    cell = lay(root, "a" * 64)
    (root / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 'notes\.txt'"):
        gc("--yes")
    (root / "notes.txt").unlink()
    gc("--yes")
    assert not cell.exists()


def test_a_folder_of_digests_that_is_no_store_is_refused(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, tmp_path / "clone")
    blob = store_from_environment().root / ("c" * 64) / "layer.tar"
    blob.parent.mkdir(parents=True)
    blob.write_text("somebody's image")
    with pytest.raises(UsageError, match=r"has no .crossover-store and no finished cell"):
        gc("--yes")
    assert blob.exists()


def test_a_store_of_before_is_recognised_and_marked(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(monkeypatch, tmp_path / "clone")
    root = store_from_environment().root
    gc("--yes")
    assert f"no cells in {root}" in capsys.readouterr().out
    record, damaged = finished(Store(root)), lay(root, "d" * 64)
    gc()
    assert "2 cells" in capsys.readouterr().out
    assert {path.name for path in root.iterdir()} == {record.fingerprint, damaged.name, ".crossover-store"}
    gc("--yes")
    assert [path.name for path in root.iterdir() if len(path.name) == 64] == []


def test_a_cell_s_folder_with_something_else_in_it_is_left_alone(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(monkeypatch, tmp_path / "clone")
    planned()
    mixed, spare = (lay(store_from_environment().root, letter * 64) for letter in "ab")
    (mixed / "thesis.tex").write_text("years")
    (spare / ".record.json.12-ab12cd34.tmp").write_text("half")
    gc("--yes")
    assert f"1 are left alone, such as {mixed.name}" in capsys.readouterr().out
    assert (mixed / "thesis.tex").exists()
    assert (mixed / "record.json").exists()
    assert not spare.exists()


def test_through_a_link_nothing_is_deleted(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(monkeypatch, tmp_path / "clone")
    planned()
    away, root = tmp_path / "away", store_from_environment().root
    elsewhere, spare = lay(away, "a" * 64), lay(root, "b" * 64)
    (root / ("a" * 64)).symlink_to(elsewhere)
    (root / ("c" * 64)).symlink_to(tmp_path / "nowhere")
    (away / "weights").write_text("private")
    (spare / "weights.safetensors").symlink_to(away / "weights")
    shutil.rmtree(spare / "work")
    (spare / "work").symlink_to(elsewhere / "work")
    before = sorted(away.rglob("*"))
    gc("--yes")
    assert "2 are left alone" in capsys.readouterr().out
    assert sorted(away.rglob("*")) == before
    assert (root / ("a" * 64)).is_symlink()
    assert not spare.exists()


def test_a_finished_cell_behind_a_link_keeps_its_files(tmp_path: Path) -> None:
    there, here = Store(tmp_path / "there"), Store(tmp_path / "here")
    record = finished(there)
    here.root.mkdir()
    here.folder(record.fingerprint).symlink_to(there.folder(record.fingerprint))
    checkpoint = there.folder(record.fingerprint) / "checkpoint.safetensors"
    checkpoint.write_bytes(b"x")
    here.settle(record)
    assert checkpoint.exists()


def test_another_clone_s_cells_are_kept(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(monkeypatch, tmp_path / "theirs", seeds=3)
    theirs = planned()
    enter(monkeypatch, tmp_path / "ours", seeds=1)
    ours, root = planned(), store_from_environment().root
    assert ours < theirs
    for name in (*theirs, "a" * 64):
        lay(root, name)
    capsys.readouterr()
    gc("--yes")
    told = capsys.readouterr().out
    assert {path.name for path in root.iterdir()} == {*theirs, ".crossover-store", ".clones"}
    assert f"{len(theirs - ours)} cells are kept for {os.environ.get('USER', '')}" in told
    assert "(registered 20" in told
    outside = not root.resolve().is_relative_to(Path.cwd())  # a cache behind a URL is this clone's own
    assert ("1 other clones have registered in it" in told) == outside
    assert str(tmp_path / "theirs") not in "".join(path.read_text() for path in (root / ".clones").iterdir())
    enter(monkeypatch, tmp_path / "theirs", seeds=2)
    now = planned()  # which replaces what was registered
    enter(monkeypatch, tmp_path / "ours", seeds=1)
    gc("--yes")
    assert {path.name for path in root.iterdir() if len(path.name) == 64} == ours | now < theirs


@pytest.mark.slow
def test_a_clone_that_only_takes_cells_in_is_known_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan and its cells pulled by DVC: nothing is planned there, and `train` and `evaluate` take them."""
    from stages.cells.__main__ import train

    monkeypatch.setenv("CROSSOVER_STORE", str(tmp_path / "shared"))
    enter(monkeypatch, tmp_path / "theirs", seeds=3)
    with monkeypatch.context() as alone:
        alone.setenv("CROSSOVER_STORE", str(tmp_path / "alone"))
        theirs = planned()
    with pytest.raises(CrossoverError, match=r"could not finish 9 cell\(s\)"):
        train("tiny", "mini")  # there are no tokens here
    enter(monkeypatch, tmp_path / "ours", seeds=1)
    ours, root = planned(), store_from_environment().root
    for name in theirs - {path.name for path in root.iterdir()}:
        lay(root, name)
    gc("--yes")
    assert ours < theirs <= {path.name for path in root.iterdir()}


def test_what_worktrees_and_stashes_name_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, tmp_path / "clone")
    needed = {what: f"{number:064x}" for number, what in enumerate(("head", "plan", "table", "old", "new", "loose"))}
    root = Path("data/store").resolve()
    finished(Store(root))
    for name in (*needed.values(), "f" * 64):
        lay(root, name)
    git("worktree", "add", "-q", "--detach", str(tmp_path / "beside"))
    monkeypatch.chdir(tmp_path / "beside")
    git("add", "-f", str(results("detached", needed["head"])))
    git("commit", "-qm", "results of a detached head")
    results("loose", needed["table"])
    write_json(Path("data/studies/x-mini/plan.json"), {"rows": [{"fingerprint": needed["plan"]}]})
    monkeypatch.chdir(tmp_path / "clone")
    for what in ("old", "new"):
        git("add", "-f", str(results(what, needed[what])))
        git("stash", "-q")
    results("untracked", needed["loose"])
    git("stash", "-q", "--include-untracked", "--", "data/results")
    gc("--yes")
    assert {path.name for path in root.iterdir()} == {*needed.values(), ".crossover-store"}


def test_a_plan_cut_off_stops_the_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, tmp_path / "clone")
    spare = lay(Path("data/store"), "f" * 64)
    finished(Store(STORE))
    git("worktree", "add", "-q", "--detach", str(tmp_path / "beside"))
    cut = tmp_path / "beside/data/studies/x-mini/plan.json"
    cut.parent.mkdir(parents=True)
    cut.write_text('{"rows": [')
    with pytest.raises(
        DamageError, match=r"beside/data/studies/x-mini/plan.json is not valid JSON .*; run `dvc repro`"
    ):
        gc("--yes")
    assert spare.exists()


def test_a_damaged_registration_stops_the_deletion(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, tmp_path / "clone")
    planned()
    root = store_from_environment().root
    spare = lay(root, "f" * 64)
    (root / ".clones" / f"{'a' * 64}.json").write_text("{}")
    with pytest.raises(DamageError, match=r"a.json is damaged, .*; delete it, and let that clone plan again"):
        gc("--yes")
    assert spare.exists()


def test_what_a_clone_no_longer_plans_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, tmp_path / "clone")
    ours = planned()
    for name in ours:
        lay(STORE, name)
    gc("--yes")
    assert all((STORE / name).exists() for name in ours)
    shutil.rmtree("data/studies")
    gc("--yes")
    assert list((STORE / ".clones").iterdir()) == []
    assert not any((STORE / name).exists() for name in ours)


def test_a_store_that_cannot_be_written_needs_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux lets nobody make a folder there, whoever asks."""
    enter(monkeypatch, tmp_path / "clone")
    if not Path("/sys/kernel").is_dir():
        pytest.skip("this system has no folder that nobody may write to")
    monkeypatch.setenv("CROSSOVER_STORE", "/sys/kernel/crossover")
    assert planned()


def test_doctor_looks_at_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(monkeypatch, tmp_path / "clone")
    home = tmp_path / "home"
    monkeypatch.setenv("CROSSOVER_STORE", str(home))
    cell = lay(home, "a" * 64)
    (cell / ".record.json.12-ab12cd34.tmp").write_text("half")
    for name in ("thesis/record.json", "thesis/.draft.12-ab12cd34.tmp", ".settings.1-ab.tmp"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("years")
    (cell / "work/.link.1-ab.tmp").symlink_to(home / "thesis/record.json")
    for path in home.rglob("*"):
        os.utime(path, (0, 0))
    app(["doctor", "--fix"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "does not match its digest: 1 cell(s)" in told
    assert not cell.exists()
    assert sorted(path.name for path in home.rglob("*")) == [
        ".draft.12-ab12cd34.tmp", ".settings.1-ab.tmp", "record.json", "thesis"
    ]  # fmt: skip
    assert [path.name for path in Path("data/damaged").rglob(".*.tmp")] == [".link.1-ab.tmp"]
