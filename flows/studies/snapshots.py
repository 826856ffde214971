"""Results of a commit or of the workspace, read through git without checking anything out; a bare clone will do."""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from crossover.base.errors import UsageError
from stages.diff.snapshot import FOLDERS, PARAMS, Snapshot, read_snapshot

_SMALL = (".json", ".csv", ".py", ".yaml")


def commit_snapshot(commit: str, repository: Path) -> Snapshot:
    """Of a commit, branch or tag. Raises `UsageError` where there is none of that name."""
    wanted = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"]
    name = _git(repository, *wanted, absent=b"").strip().decode()
    if not name:
        raise UsageError(
            f"{repository} has no commit, branch or tag '{commit}'; `git branch -a` and `git tag` list them"
        )
    known = _git(repository, "ls-tree", "-r", "-z", "--name-only", name, "--", *FOLDERS, PARAMS).decode().split("\0")
    paths = [path for path in known if path.endswith(_SMALL)]
    archive = io.BytesIO(_git(repository, "archive", "--format=tar", name, "--", *paths) if paths else b"")
    return read_snapshot(commit, _members(archive) if paths else {})


def _members(archive: io.BytesIO) -> dict[str, bytes]:
    with tarfile.open(fileobj=archive) as tar:
        files = (item for item in tar if item.isfile())  # a link is not followed, wherever it leads
        return {item.name: body.read() for item in files if (body := tar.extractfile(item)) is not None}


def _git(repository: Path, *words: str, absent: bytes | None = None) -> bytes:
    """Output of git; `absent` where it fails without a word. Raises `UsageError` with git's own words."""
    command = ["git", "-C", str(repository), *words]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if done.returncode and (done.stderr or absent is None):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        what = said[0] if said else f"exit code {done.returncode}"
        raise UsageError(f"git in {repository}: {what}; run this inside a clone of the project")
    return done.stdout if not done.returncode else absent or b""


def workspace_snapshot(root: Path, name: str = "workspace") -> Snapshot:
    """Of the files as they lie in the workspace."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.suffix in _SMALL]
    paths += [root / PARAMS] if (root / PARAMS).exists() else []
    return read_snapshot(name, {path.relative_to(root).as_posix(): path.read_bytes() for path in paths})


def repository_root(folder: Path) -> tuple[Path, bool]:
    """The top of the repository that a folder lies in, and whether it is bare, so that it has no workspace."""
    if _git(folder, "rev-parse", "--is-bare-repository").strip() == b"true":
        return folder, True
    return Path(_git(folder, "rev-parse", "--show-toplevel").decode().rstrip("\n")), False


def fingerprints(table: bytes) -> list[str]:
    """Every fingerprint in a table of losses, of whatever version."""
    return [found.decode() for found in re.findall(rb"\b[0-9a-f]{64}\b", table)]


def fingerprints_in_git(repository: Path) -> set[str]:
    """Cells that the results of any branch, remote branch or tag name, of any worktree's commit, of any stash."""
    tips = _git(repository, "for-each-ref", "--format=%(objectname)").decode().split()
    tips += [*_worktree_lines(repository, "HEAD "), *_stashed(repository)]
    tables = {table for tip in dict.fromkeys(tips) if set(tip) != {"0"} for table in _tables(repository, tip)}
    return {name for table in tables for name in fingerprints(_git(repository, "cat-file", "blob", table))}


def _tables(repository: Path, tip: str) -> Iterator[str]:
    """Names of the objects that are tables of losses in a commit."""
    listed = _git(repository, "ls-tree", "-r", "-z", tip, "--", "data/results").decode(errors="replace").split("\0")
    for entry in listed:
        about, _, path = entry.partition("\t")
        if path.endswith("/losses.csv"):
            yield about.split()[2]


def _stashed(repository: Path) -> set[str]:
    """Commits of every stash, of what was staged and of what was untracked; a ref names the latest alone."""
    if not _git(repository, "rev-parse", "--verify", "--quiet", "refs/stash", absent=b""):
        return set()
    told = ["--format=%H %P", "--no-show-signature", "refs/stash", "--"]
    return {
        *_git(repository, "log", "-g", *told).decode().split(),
        *_git(repository, "log", "-1", *told).decode().split(),
    }


def worktrees(repository: Path) -> list[Path]:
    """Where the project lies in every worktree of its repository that is on this machine."""
    below = _git(repository, "rev-parse", "--show-prefix").decode().rstrip("\n")
    return [Path(root, below) for root in _worktree_lines(repository, "worktree ") if Path(root, below).is_dir()]


def _worktree_lines(repository: Path, start: str) -> list[str]:
    lines = _git(repository, "worktree", "list", "--porcelain").decode(errors="surrogateescape").splitlines()
    return [line.removeprefix(start) for line in lines if line.startswith(start)]
