"""Results of a commit or of the workspace, read through git without checking anything out; a bare clone will do."""

import io
import subprocess
import tarfile
from pathlib import Path

from stages.diff.snapshot import FOLDERS, PARAMS, Snapshot, read_snapshot
from stages.study.errors import UsageError

_SMALL = (".json", ".csv", ".py", ".yaml")


def commit_snapshot(commit: str, repository: Path) -> Snapshot:
    """Of a commit, branch or tag. Raises `UsageError` where there is none of that name, or it holds no results."""
    name = (
        _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
        .strip()
        .decode()
    )
    if not name:
        raise UsageError(
            f"{repository} has no commit, branch or tag '{commit}'; `git branch -a` and `git tag` list them"
        )
    known = _git(repository, "ls-tree", "-r", "-z", "--name-only", name, "--", *FOLDERS, PARAMS).decode().split("\0")
    wanted = [path for path in known if path.endswith(_SMALL)]
    archive = io.BytesIO(_git(repository, "archive", "--format=tar", name, "--", *wanted) if wanted else b"")
    return read_snapshot(commit, _members(archive) if wanted else {})


def _members(archive: io.BytesIO) -> dict[str, bytes]:
    with tarfile.open(fileobj=archive) as tar:
        return {item.name: body.read() for item in tar if (body := tar.extractfile(item)) is not None}


def _git(repository: Path, *words: str) -> bytes:
    """Output of git; empty where it fails."""
    command = ["git", "-C", str(repository), *words]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if b"not a git repository" in done.stderr:
        raise UsageError(f"{repository} is no git repository; run this inside a clone")
    return done.stdout


def workspace_snapshot(root: Path, name: str = "workspace") -> Snapshot:
    """Of the files as they lie in the workspace."""
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.suffix in _SMALL]
    paths += [root / PARAMS] if (root / PARAMS).exists() else []
    return read_snapshot(name, {path.relative_to(root).as_posix(): path.read_bytes() for path in paths})


def is_bare(repository: Path) -> bool:
    """Whether the repository has no workspace."""
    return _git(repository, "rev-parse", "--is-bare-repository").strip() == b"true"
