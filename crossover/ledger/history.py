"""What git remembers of a file: every version in the history of HEAD, in order, and whether that history is whole."""

import os
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

NO_GIT = "there is no git here, so nobody witnessed when a line was lodged"
SHALLOW = "this clone is shallow, so most of its history is not here; `git fetch --unshallow` brings it"
GRAFTED = "the history here is grafted: what came before a commit was replaced"


@dataclass(frozen=True)
class Version:
    """The file as a commit holds it."""

    commit: str
    date: datetime
    """When it was committed, by the clock of who did."""
    content: bytes


@dataclass(frozen=True)
class History:
    """Versions of a file, each after those it comes from."""

    folder: Path
    versions: list[Version]
    flaw: str | None
    """Why it proves nothing, in words; None where it is whole."""

    def first_with(self, lines: int) -> Version | None:
        """The first version that holds so many lines."""
        return next((item for item in self.versions if item.content.count(b"\n") >= lines), None)

    def comes_before(self, commit: str, other: str) -> bool:
        """Whether a commit is an ancestor of another one, and not that one."""
        return commit != other and _git(self.folder, "merge-base", "--is-ancestor", commit, other) is not None

    def date_of(self, commit: str) -> datetime | None:
        """When a commit was made; None for one that is not here."""
        found = _git(self.folder, "show", "-s", "--format=%cI", f"{commit}^{{commit}}")
        return datetime.fromisoformat(found.decode().strip()) if found else None


def history_of(path: Path) -> History:
    """Every version of a file in the history of HEAD, those of merged branches included."""
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    if _git(folder, "rev-parse", "--is-inside-work-tree") is None:
        return History(folder, [], NO_GIT)
    name = f"./{path.resolve().relative_to(folder)}"
    # --full-history: else a branch that a merge passed over would not be looked at.
    found = _git(folder, "log", "--full-history", "--topo-order", "--reverse", "--format=%H %cI", "HEAD", "--", name)
    pairs = [line.split() for line in (found or b"").decode().splitlines()]
    versions = [
        Version(commit, datetime.fromisoformat(date), _git(folder, "show", f"{commit}:{name}") or b"")
        for commit, date in pairs
    ]
    return History(folder, versions, _flaw(folder))


def first_commit_with(path: Path, text: str) -> str | None:
    """The first commit in the history of HEAD whose version of a file holds a text; None where none does."""
    found = _git(
        path.parent, "log", "--full-history", "--topo-order", "--reverse", "--format=%H", f"-S{text}", "HEAD", "--",
        path.name,
    )  # fmt: skip
    return next(iter((found or b"").decode().split()), None)


def _flaw(folder: Path) -> str | None:
    if _git(folder, "rev-parse", "--is-shallow-repository") == b"true\n":
        return SHALLOW
    common = Path((_git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir") or b"").decode().strip())
    replaced = _git(folder, "for-each-ref", "--count=1", "refs/replace/")
    return GRAFTED if replaced or (common / "info/grafts").exists() else None


def head(folder: Path) -> str | None:
    """The commit of the working tree, with `-dirty` where tracked files differ; None outside git."""
    found = _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")
    return None if found is None else found.decode().strip()


def _git(folder: Path, *words: str) -> bytes | None:
    """Output of git, which shows objects as they were committed; None where it fails or is not there."""
    environment = {**os.environ, "GIT_NO_REPLACE_OBJECTS": "1"}
    try:
        command = ["git", "-C", str(folder), *words]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)  # noqa: S603
    except OSError:
        return None
    return None if done.returncode else done.stdout
