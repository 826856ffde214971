"""Results of a commit or of the workspace, read through git without checking anything out; a bare clone will do."""

import io
import re
import subprocess
import tarfile
from pathlib import Path

from stages.diff.snapshot import FOLDERS, PARAMS, Snapshot, read_snapshot
from stages.study.errors import UsageError

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
        return {item.name: body.read() for item in tar if (body := tar.extractfile(item)) is not None}


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
    """Cells that the results of any branch, remote branch or tag name."""
    refs = _git(repository, "for-each-ref", "--format=%(objectname)").decode().split()
    found: set[str] = set()
    for ref in dict.fromkeys(refs):
        known = _git(repository, "ls-tree", "-r", "-z", "--name-only", ref, "--", "data/results").decode().split("\0")
        for path in known:
            if path.endswith("/losses.csv"):
                found.update(fingerprints(_git(repository, "show", f"{ref}:{path}")))
    return found
