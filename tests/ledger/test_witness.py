"""When a forecast was lodged is what git shows, not what a clock said; a history that is cut proves nothing."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crossover.base.errors import DamageError, UsageError
from crossover.ledger.chain import append, read_ledger
from crossover.ledger.history import first_commit_with
from crossover.ledger.outcomes import recorded
from crossover.ledger.realised import Realised
from crossover.ledger.scoring import Score, score_all
from crossover.ledger.words import track_words
from tests.ledger.test_chain import bodies, forecast, outcome, rechained

NOON = "2026-11-23T12:00:00+00:00"
LATER = "2026-11-23T14:00:00+00:00"
CAME = {"a": Realised(3.05, 2), "b": Realised(3.25, 2)}


def git(folder: Path, *words: str, at: str = NOON) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always")
    dates = {**os.environ, "GIT_COMMITTER_DATE": at, "GIT_AUTHOR_DATE": at}
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=dates).stdout.strip()


def commit(root: Path, at: str = NOON) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "x", "--allow-empty", at=at)
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "2026-11-23T11:00:00+00:00")
    return tmp_path


def lodge(root: Path, *entries: Any) -> Path:
    path = root / "data/ledger.jsonl"
    append(path, lambda _: list(entries))
    return path


def scored(path: Path, came: Any = None) -> tuple[Score, str]:
    ledger = read_ledger(path)
    lookup = recorded(ledger.outcomes, lambda _: CAME if came is None else came)
    record = score_all(ledger.forecasts, lookup, ledger)
    return record.scores[0], track_words(record.track)


def test_a_forecast_counts_from_the_commit_that_holds_it(root: Path) -> None:
    """Lodged at noon by its own word, committed at two; a cell that began at one could be known."""
    path = lodge(root, forecast())
    assert (scored(path)[0].status, "not committed yet" in scored(path)[0].why) == ("pending", True)
    commit(root, LATER)
    assert scored(path)[0].status == "scored"
    found, _ = scored(path, {"a": Realised(3.05, 2, "2026-11-23T13:00:00+00:00")})
    assert found.status == "refused"
    assert (
        "began to train at 2026-11-23T13:00:00+00:00, before the forecast was committed (2026-11-23T14:00" in found.why
    )
    assert scored(path, {"a": Realised(3.05, 2, "2026-11-23T15:00:00+00:00")})[0].status == "scored"


def test_an_empty_store_does_not_hide_when_cells_were_trained(root: Path) -> None:
    """The commit that first held the results speaks where no record of the training does."""
    table = root / "data/results/losses.csv"
    table.parent.mkdir(parents=True)
    table.write_text("fingerprint,loss\nabc123,3.05\n")
    first = commit(root)
    path = lodge(root, forecast())
    commit(root, LATER)
    assert first_commit_with(table, "abc123") == first
    found, _ = scored(path, {"a": Realised(3.05, 2, commit=first)})
    assert (found.status, f"a is among the results of commit {first[:12]}" in found.why) == ("refused", True)
    table.write_text(table.read_text() + "def456,3.25\n")
    second = commit(root, LATER)
    assert first_commit_with(table, "def456") == second
    assert first_commit_with(table, "nowhere") is None
    assert scored(path, {"a": Realised(3.05, 2, commit=second)})[0].status == "scored"


def test_results_that_came_with_the_forecast_are_refused(root: Path) -> None:
    table = root / "losses.csv"
    path = lodge(root, forecast())
    table.write_text("abc123\n")
    both = commit(root)
    assert scored(path, {"a": Realised(3.05, 2, commit=both)})[0].status == "refused"


def test_an_outcome_committed_together_with_its_forecast_is_refused(root: Path) -> None:
    path = lodge(root, forecast(), outcome())
    commit(root, "2026-11-24T12:00:00+00:00")
    found, _ = scored(path, {})
    assert (found.status, "lodged what came together with it" in found.why) == ("refused", True)


def test_an_outcome_committed_after_its_forecast_is_scored(root: Path) -> None:
    path = lodge(root, forecast())
    commit(root)
    lodge(root, outcome())
    assert scored(path, {})[0].status == "scored"
    commit(root, "2026-11-24T12:00:00+00:00")
    assert scored(path, {})[0].status == "scored"


@pytest.mark.parametrize(
    ("dated", "held", "says"),
    [
        ("2026-11-23T10:00:00+00:00", NOON, "a clock was set back"),  # made at a commit of eleven o'clock
        ("2026-11-25T12:00:00+00:00", NOON, "after the commit that holds it"),
    ],
)
def test_dates_that_do_not_follow_one_another_are_refused(root: Path, dated: str, held: str, says: str) -> None:
    path = lodge(root, forecast(date=dated, commit=git(root, "rev-parse", "HEAD") + "-dirty"))
    commit(root, held)
    found, _ = scored(path)
    assert (found.status, says in found.why) == ("refused", True)


def test_time_goes_forward_from_line_to_line(root: Path) -> None:
    path = lodge(root, forecast(date=LATER))
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"it is 2026-11-23T12:00.* by the clock .*; set the clock right"):
        lodge(root, forecast("g", date=NOON))
    with pytest.raises(UsageError, match="set the clock right"):
        lodge(root, forecast("g", date="2026-11-23T15:00:00+01:30"))  # half past one, in another zone
    assert path.read_bytes() == before
    lodge(root, forecast("g", date="2026-11-23T15:00:00+00:30"))
    path.write_bytes(rechained([forecast(date=LATER).model_dump(), forecast("g", date=NOON).model_dump()]))
    with pytest.raises(DamageError, match="line 2 is dated before the line before it"):
        read_ledger(path)


def shallow(root: Path, place: Path) -> Path:
    git(place.parent, "clone", "-q", "--depth", "1", f"file://{root}", str(place))
    return place


def grafted(root: Path, place: Path) -> Path:
    git(place.parent, "clone", "-q", str(root), str(place))
    (place / ".git/info/grafts").write_text(git(place, "rev-parse", "HEAD") + "\n")
    return place


def replaced(root: Path, place: Path) -> Path:
    git(place.parent, "clone", "-q", str(root), str(place))
    git(place, "replace", "--graft", "HEAD")
    return place


@pytest.mark.parametrize(
    ("cut", "says"), [(shallow, "this clone is shallow"), (grafted, "is grafted"), (replaced, "is grafted")]
)
def test_a_history_that_is_cut_proves_nothing_and_says_so(root: Path, tmp_path: Path, cut: Any, says: str) -> None:
    path = lodge(root, forecast())
    commit(root)
    for number in range(2):
        commit(root, f"2026-11-23T13:0{number}:00+00:00")
    assert read_ledger(path).history.flaw is None
    clone = cut(root, tmp_path / "clone")
    ledger = read_ledger(clone / "data/ledger.jsonl")
    assert says in str(ledger.history.flaw)
    _, words = scored(clone / "data/ledger.jsonl")
    assert "Nothing shows when these were lodged: " in words
    assert says in words


def test_objects_that_were_replaced_do_not_hide_an_alteration(root: Path) -> None:
    """`git replace` puts other content in a commit's place for whoever looks; the ledger asks for the commit itself."""
    path = lodge(root, forecast())
    honest = commit(root)
    forged = bodies(path)
    forged[0]["recipes"]["a"]["value"] = 2.9
    path.write_bytes(rechained(forged))
    git(root, "replace", honest, commit(root, LATER))
    with pytest.raises(DamageError, match=f"line 1 is not what commit {honest[:12]} holds"):
        read_ledger(path)


def test_a_branch_that_a_merge_passed_over_is_looked_at(root: Path) -> None:
    """Its line was lodged and committed, and a merge took the other side's file as it was: that drops it unseen."""
    path = lodge(root, forecast())
    commit(root)
    git(root, "checkout", "-qb", "other")
    lodge(root, forecast("unwelcome"))
    commit(root)
    git(root, "checkout", "-q", "main")
    (root / "x").write_text("x")
    commit(root)
    git(root, "merge", "-q", "-s", "ours", "-m", "merged", "other")
    assert git(root, "log", "--format=%H", "--", "data/ledger.jsonl").count("\n") == 0  # what git shows by itself
    with pytest.raises(DamageError, match="line 2 is not what commit"):
        read_ledger(path)
