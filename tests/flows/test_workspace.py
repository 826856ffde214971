"""The worktree of scheduled runs, on real git and DVC: it is nobody's checkout, and always clean when a run begins."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crossover.base.errors import CrossoverError, UsageError
from flows.workspace import Workspace, override
from tests.conftest import Project, make_project


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project with everything in git."""
    project = make_project(tmp_path_factory.mktemp("workspace") / "project")
    project.run("git", "config", "user.email", "t@example.com")
    project.run("git", "config", "user.name", "t")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "source")
    project.run("git", "branch", "-M", "main")
    return project


@pytest.fixture
def workspace(committed: Project, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(committed.root)
    monkeypatch.setenv("PATH", committed.environment["PATH"])
    name = "".join(filter(str.isalnum, request.node.name))
    return Workspace(committed.root, "main", f"results/{name}")


def leave_results(workspace: Workspace, loss: str) -> None:
    """What a run leaves in the worktree."""
    results = workspace.folder / "data/results/tiny-mini"
    results.mkdir(parents=True, exist_ok=True)
    (results / "metrics.json").write_text(f'{{"loss": {loss}}}\n')
    (workspace.folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")


def shown(workspace: Workspace, path: str) -> str:
    command = ["git", "show", f"{workspace.results_branch}:{path}"]
    return subprocess.run(command, cwd=workspace.repository, capture_output=True, text=True, check=True).stdout


def test_results_become_commits_and_the_same_results_none(workspace: Workspace) -> None:
    with workspace.opened():
        leave_results(workspace, "4.0")
        first = workspace.commit("one")
    assert first == workspace.previous
    assert shown(workspace, "data/results/tiny-mini/metrics.json") == '{"loss": 4.0}\n'
    with workspace.opened():
        assert (workspace.folder / "data/results/tiny-mini/metrics.json").read_text() == '{"loss": 4.0}\n'
        assert workspace.commit("nothing") is None
        leave_results(workspace, "3.0")
        second = workspace.commit("two")
    listed = ["git", "-C", str(workspace.repository), "rev-list", "--parents", "-1", str(second)]
    parents = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()[1:]
    assert parents == [first]
    checkout = subprocess.run(
        ["git", "status", "--porcelain"], cwd=workspace.repository, capture_output=True, text=True
    )
    assert checkout.stdout == ""


def test_what_a_killed_run_left_is_gone(workspace: Workspace) -> None:
    with workspace.opened():
        pass
    leave_results(workspace, "666")
    override(workspace.folder / "params.yaml", {"scales.mini.widths": [8]})
    with workspace.opened():
        assert not (workspace.folder / "data/results").exists()
        assert not (workspace.folder / "dvc.lock").exists()
        assert "widths" in (workspace.folder / "params.yaml").read_text()
        assert (workspace.folder / "params.yaml").read_bytes() == (workspace.repository / "params.yaml").read_bytes()


def test_edits_in_the_worktree_are_refused_and_kept(workspace: Workspace) -> None:
    with workspace.opened():
        pass
    edited = workspace.folder / "crossover/laws/laws.py"
    edited.write_text(edited.read_text() + "# mine\n")
    with pytest.raises(CrossoverError, match=r"crossover/laws/laws\.py"), workspace.opened():
        pass
    assert edited.read_text().endswith("# mine\n")


def test_one_run_at_a_time(workspace: Workspace) -> None:
    with (
        workspace.opened(),
        pytest.raises(CrossoverError, match="another scheduled run is at work"),
        Workspace(workspace.repository, "main", workspace.results_branch).opened(),
    ):
        pass


def test_an_unknown_branch_is_named(workspace: Workspace) -> None:
    lost = Workspace(workspace.repository, "mian", "results/lost")
    with pytest.raises(UsageError, match="no branch 'mian'"), lost.opened():
        pass


@pytest.mark.parametrize("name", ["main", "", "..", "-x", "a b"])
def test_a_branch_of_results_is_nobody_elses(committed: Project, name: str) -> None:
    workspace = Workspace(committed.root, "other", name)
    with pytest.raises(UsageError, match="choose another results_branch"), workspace.opened():
        pass


def test_results_name_the_commit_they_are_of(workspace: Workspace, committed: Project) -> None:
    with workspace.opened():
        began_at = workspace.commit_of("main")
        committed.run("git", "commit", "-qm", "meanwhile", "--allow-empty")
        leave_results(workspace, "5.0")
        new = workspace.commit("late")
    assert workspace.source == began_at
    parents = committed.run("git", "rev-list", "--parents", "-1", str(new)).stdout.split()[1:]
    assert parents == [began_at]


def test_overrides_keep_comments_and_refuse_unknown_places(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("scales:   # how big\n  mini: {widths: [8, 16]}\n")
    override(path, {"scales.mini.widths": [8], "scales.mini.lr": 0.5})
    assert path.read_text() == "scales:   # how big\n  mini: {widths: [8], lr: 0.5}\n"
    with pytest.raises(UsageError, match=r"no 'scale\.mini'"):
        override(path, {"scale.mini.widths": [8]})


def test_an_untracked_leftover_is_put_aside_and_stops_nothing(workspace: Workspace) -> None:
    with workspace.opened():
        pass
    for name in ("left over.txt", "crossover/x/core.1"):
        (workspace.folder / name).parent.mkdir(exist_ok=True)
        (workspace.folder / name).write_text("mine")
    with workspace.opened():
        assert not (workspace.folder / "left over.txt").exists()
    kept = {path.name: path.read_text() for path in (workspace.repository / ".crossover/leftovers").rglob("*.*")}
    assert kept == {"left over.txt": "mine", "core.1": "mine"}


@pytest.fixture
def two(committed: Project, tmp_path: Path) -> tuple[Workspace, Workspace, str]:
    """Two machines that send results to one branch of one remote."""
    remote = tmp_path / "remote.git"
    committed.run("git", "clone", "-q", "--bare", ".", str(remote))
    places = []
    for name in ("a", "b"):
        committed.run("git", "clone", "-q", str(remote), str(tmp_path / name))
        places.append(Workspace(tmp_path / name, "main", "results/nightly"))
    return places[0], places[1], str(remote)


def night(workspace: Workspace, loss: str, remote: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """What the scheduled flow does around a run, which leaves a loss."""
    workspace.fetch(remote)
    with workspace.opened():
        leave_results(workspace, loss)
        workspace.commit(f"loss {loss}")
        meanwhile()
        workspace.send(remote)


def messages(remote: str) -> list[str]:
    command = ["git", "-C", remote, "log", "--first-parent", "--format=%s", "results/nightly", "--not", "main"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_push_that_came_second_goes_behind_the_first(two: tuple[Workspace, Workspace, str]) -> None:
    """It used to be rejected, and with it every night after."""
    a, b, remote = two
    night(a, "5.0", remote)
    night(b, "4.0", remote, meanwhile=lambda: night(a, "4.5", remote))
    assert messages(remote) == ["loss 4.0", "loss 4.5", "loss 5.0"]
    night(a, "3.0", remote)
    assert messages(remote)[0] == "loss 3.0"
    assert shown(a, "data/results/tiny-mini/metrics.json") == '{"loss": 3.0}\n'


def test_a_night_that_could_not_send_is_made_good_by_the_next(two: tuple[Workspace, Workspace, str]) -> None:
    a, b, remote = two
    a.fetch(remote)
    with a.opened():
        leave_results(a, "5.0")
        unsent = a.commit("loss 5.0")  # the network was down
    night(b, "4.0", remote)
    night(a, "3.0", remote)
    assert messages(remote) == ["loss 3.0", "loss 4.0"]
    assert a.commit_of(f"refs/crossover/unsent/{unsent}") == unsent


def test_a_push_that_fails_otherwise_is_told_at_once(two: tuple[Workspace, Workspace, str]) -> None:
    a, _, remote = two
    hook = Path(remote) / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho no room; exit 1\n")
    hook.chmod(0o755)
    with pytest.raises(CrossoverError, match="no room"):
        night(a, "5.0", remote)
    hook.unlink()
    night(a, "5.0", remote)
    assert messages(remote) == ["loss 5.0"]
