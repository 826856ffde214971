"""What git remembers of a file: every version in the history of HEAD."""

import subprocess
from pathlib import Path


def committed_versions(path: Path) -> dict[str, bytes] | None:
    """Content by commit, in every commit of HEAD's history that changed the file, merged branches included.

    Empty where none did; None outside git. A shallow clone shows what it has.
    """
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    if _git(folder, "rev-parse", "--is-inside-work-tree") is None:
        return None
    name = f"./{path.resolve().relative_to(folder)}"
    commits = _git(folder, "rev-list", "--full-history", "HEAD", "--", name) or b""
    return {commit: _git(folder, "show", f"{commit}:{name}") or b"" for commit in commits.decode().split()}


def head(folder: Path) -> str | None:
    """The commit of the working tree, with `-dirty` where tracked files differ; None outside git."""
    found = _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")
    return None if found is None else found.decode().strip()


def _git(folder: Path, *words: str) -> bytes | None:
    """Output of git, or None where it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        return None
    return None if done.returncode else done.stdout
