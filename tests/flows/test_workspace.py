"""The worktree of scheduled runs, on real git and DVC: it is nobody's checkout, and always clean when a run begins."""

import subprocess
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
