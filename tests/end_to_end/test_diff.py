"""The truth table of `crossover diff` on real commits of a real repository: rerun, new rule, new text, new comment."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, make_project, write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


def commit(project: Project, name: str, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Results of a change, committed and tagged."""
    if change is not None:
        project.params(change)
    project.repro()
    project.run("git", "add", "-A")
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", name, "--allow-empty")
    project.run("git", "tag", name)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Commits that each differ from `base` in one thing."""
    project = make_project(tmp_path_factory.mktemp("diff") / "project")
    commit(project, "base", lambda values: values["studies"]["tiny"].update(seeds=[0, 1, 2]))
    laws = project.root / "crossover/laws/laws.py"
    laws.write_text(laws.read_text() + "\n# A remark that changes nothing.\n")
    commit(project, "comment")
    commit(project, "seeds", lambda values: values["studies"]["tiny"].update(seeds=[3, 4, 5]))

    def rule(values: dict[str, Any]) -> None:
        values["studies"]["tiny"].update(seeds=[0, 1, 2])
        values["studies"]["tiny"]["recipes"]["inverse"]["lr"] = {"exponent": -1, "factor": 0.05}

    commit(project, "rule", rule)
    write_corpus(project.root / "data/sources/words.jsonl", seed=7)
    commit(project, "text", lambda values: values["studies"]["tiny"].update(seeds=[0, 1, 2]))
    return project


def diff(project: Project, *words: str, where: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `crossover diff`."""
    command = [sys.executable, "-c", "from crossover.cli.app import main; main()"]
    elsewhere = Project(where or project.root)
    elsewhere.environment["PYTHONPATH"] = str(project.root)
    done = elsewhere.run(*command, "diff", *words, "--json", check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def counts(found: dict[str, Any]) -> Counter[str]:
    return Counter(item["status"] for item in found["quantities"])


def test_a_comment_changes_nothing(history: Project) -> None:
    code, found = diff(history, "base", "comment")
    assert code == 0
    assert set(counts(found)) == {"identical"}
    assert (found["cells"], found["verdicts"], found["params"], found["notes"]) == ([], [], {}, [])


def test_a_rerun_with_other_seeds_is_within_noise(history: Project) -> None:
    _, found = diff(history, "base", "seeds")
    assert counts(found)["within noise"] >= 8
    assert counts(found)["moved"] <= 1  # one in ten would by chance
    (cells,) = found["cells"]
    assert (len(cells["added"]), len(cells["removed"]), cells["retrained"]) == (9, 9, {})
    assert found["params"] == {"studies.tiny.seeds": [[0, 1, 2], [3, 4, 5]]}


def test_a_changed_rule_has_moved(history: Project) -> None:
    code, found = diff(history, "base", "rule")
    moved = {f"{item['kind']} {item['name']}" for item in found["quantities"] if item["status"] == "moved"}
    assert {"loss inverse, width 8", "loss inverse, width 16", "difference inverse - constant, width 16"} <= moved
    assert not any(name.startswith("loss constant") for name in moved)
    (cells,) = found["cells"]
    assert {reason: len(names) for reason, names in cells["retrained"].items()} == {"lr": 6}
    assert code == 1
    assert ["undecided", "no crossing in range"] in [[item["old"], item["new"]] for item in found["verdicts"]]


def test_another_text_cannot_be_compared(history: Project) -> None:
    _, found = diff(history, "base", "text")
    assert set(counts(found)) == {"not comparable"}
    assert all("tokenizer, training text" in item["why"] for item in found["quantities"])


def test_a_bare_clone_and_the_workspace_say_the_same(history: Project, tmp_path: Path) -> None:
    history.run("git", "clone", "-q", "--bare", str(history.root), str(tmp_path / "bare.git"))
    whole = diff(history, "base", "rule")
    assert diff(history, "base", "rule", where=tmp_path / "bare.git") == whole
    code, workspace = diff(history, "base")  # the workspace has the results of the last commit
    assert (code, workspace["quantities"]) == (
        diff(history, "base", "text")[0],
        diff(history, "base", "text")[1]["quantities"],
    )


def test_a_folder_below_says_the_same(history: Project) -> None:
    below = diff(history, "base", where=history.root / "stages")
    assert below == diff(history, "base")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "no commit, branch or tag 'nowhere'"),
        (["--output=x"], "No such option"),
        (["base~0", "HEAD:params.yaml"], "no commit, branch or tag 'HEAD:params.yaml'"),
    ],
)
def test_mistakes_are_told_in_a_line(history: Project, words: list[str], says: str) -> None:
    command = [sys.executable, "-c", "from crossover.cli.app import main; main()"]
    done = history.run(*command, "diff", *words, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_people_read_a_table_markdown_or_a_page(history: Project) -> None:
    command = [sys.executable, "-c", "from crossover.cli.app import main; main()"]
    shown = history.run(*command, "diff", "base", "rule", "--html", "diff.html", check=False).stdout
    assert "verdict" in shown.splitlines()[0]
    assert "difference: inverse - constant, width 16" in shown
    assert "6 cells under another fingerprint, different in lr" in shown
    text = history.run(*command, "diff", "base", "rule", "--md", check=False).stdout
    assert text.startswith("### Results: base → rule")
    assert "| study | moved | before | now | difference [90%] |" in text
    page = (history.root / "diff.html").read_text()
    assert page.count("<figure ") == 2
    assert "no crossing in range" in page


def test_stale_results_are_found_without_data(history: Project, tmp_path: Path) -> None:
    """What CI asks of a pull request: is dvc.lock that of this source?"""
    history.run("git", "clone", "-q", str(history.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert "results are those of this source" in clone.run(sys.executable, "-m", "flows.studies.stale").stdout
    formula = clone.root / "crossover/laws/laws.py"
    formula.write_text(formula.read_text() + "\nUNUSED = 1\n")
    stale = clone.run(sys.executable, "-m", "flows.studies.stale", check=False)
    assert stale.returncode == 1
    assert "fit@tiny-mini" in stale.stderr


def test_dvc_s_own_tools_show_both_commits(history: Project) -> None:
    shown = json.loads(history.run("dvc", "plots", "diff", "base", "rule", "--json").stdout)
    (plot,) = shown["data"]["data/results/tiny-mini/losses.csv"]
    spec = json.loads(plot["content"]) if isinstance(plot["content"], str) else plot["content"]
    assert "<DVC" not in json.dumps(spec).replace("<DVC_METRIC_DATA>", "")
    assert {"base", "rule"} <= set(plot["revisions"])
    assert len(spec["hconcat"]) == 2
    table = json.loads(history.run("dvc", "metrics", "diff", "base", "rule", "--json").stdout)
    names = table["data/results/tiny-mini/metrics.json"]
    assert {"best_loss", "difference"} <= set(names)
