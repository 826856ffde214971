"""Where a scheduled run works: a git worktree of its own, so that nobody's checkout is touched; its results' branch.

.crossover/worktrees/<results branch>   the worktree, at the source branch's commit; DVC's cache and the store are the
                                        repository's own, so nothing is trained twice
refs/heads/<results branch>             one commit per run that found something new: the source commit's files with
                                        the run's params.yaml, dvc.lock, small results, verdicts and findings
refs/crossover/unsent/<commit>          commits of results that were made here while others sent theirs
.crossover/leftovers/<time>             files in the worktree that no run made
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossover.base.errors import CrossoverError, UsageError
from crossover.base.secrets import masked
from flows.graph import dvc, last_error
from stages.store.store import store_from_environment
from stages.study.processes import mortal

_RESULTS = ("dvc.lock", "data/results", "data/verdicts", "docs/findings.md", "docs/regimes.png")
_OURS = (*_RESULTS, "params.yaml")
"""What a run changes among the files in git."""
_ATTEMPTS = 3


@dataclass(frozen=True)
class Workspace:
    """A worktree of `branch` in `repository`, whose results go to `results_branch`."""

    repository: Path
    branch: str
    results_branch: str

    @property
    def folder(self) -> Path:
        """The worktree."""
        return self.repository / ".crossover/worktrees" / self.results_branch.replace("/", "-")

    @property
    def environment(self) -> dict[str, str]:
        """For processes that work there: its own source, the repository's store."""
        return {**os.environ, "CROSSOVER_STORE": store_from_environment().url, "PYTHONPATH": str(self.folder)}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The worktree at the branch's commit with the last results, for one run at a time.

        Afterwards it is as clean as before, also where a run was killed: the next one cleans up.
        Raises `CrossoverError` where another run works there or somebody has edited files in it.
        """
        self._require_free_branch()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        (self.repository / ".crossover/.gitignore").write_text("*\n")
        with self.folder.with_suffix(".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CrossoverError(f"another scheduled run is at work in {self.folder}; wait for it") from None
            self._prepare()
            try:
                yield
            finally:
                self._clean()

    @property
    def source(self) -> str:
        """The commit that the worktree is at, wherever the branch has moved since."""
        return self._git("rev-parse", "HEAD", folder=self.folder)

    def _prepare(self) -> None:
        source = self.commit_of(self.branch)
        if source is None:
            raise UsageError(f"there is no branch '{self.branch}' in {self.repository}")
        if not (self.folder / ".git").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._git("worktree", "prune")
            self._git("worktree", "add", "--quiet", "--detach", str(self.folder), source)
        self._refuse_edits()
        self._clean()
        self._git("checkout", "--quiet", "--detach", source, folder=self.folder)
        if previous := self.previous:
            for name in ("data/results", "data/verdicts"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            there = self._git("ls-tree", "--name-only", previous, *_RESULTS).splitlines()
            if there:
                self._git("checkout", previous, "--", *there, folder=self.folder)
        self._share_cache()

    def _require_free_branch(self) -> None:
        """Results go to a branch that nobody works on."""
        name, remedy = self.results_branch, "choose another results_branch, such as results/nightly"
        command = ["git", "check-ref-format", f"refs/heads/{name}"]
        if name.startswith("-") or subprocess.run(command, check=False).returncode:  # noqa: S603
            raise UsageError(f"'{name}' is no name for a branch; {remedy}")
        taken = f"branch refs/heads/{name}" in self._git("worktree", "list", "--porcelain").splitlines()
        if taken or name == self.branch:
            raise UsageError(f"branch '{name}' is one that people work on; {remedy}")

    def _refuse_edits(self) -> None:
        """Edits of files in git are somebody's work, and stop the run; other files are put aside."""
        status = self._git("status", "--porcelain", "-z", "--no-renames", "-uall", folder=self.folder)
        lines = [line.split(maxsplit=1) for line in status.split("\0") if line]
        foreign = [(kind, name) for kind, name in lines if not name.startswith((*_OURS, "data/"))]
        if edited := [name for kind, name in foreign if kind != "??"]:
            raise CrossoverError(
                f"{self.folder} has changes that no run made ({', '.join(edited[:5])}); commit them to "
                f"{self.branch} or discard them with `git -C {self.folder} checkout .`"
            )
        aside = self.repository / f".crossover/leftovers/{time.time_ns()}"
        for _, name in foreign:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.folder / name, aside / name)

    def _clean(self) -> None:
        self._git("reset", "--quiet", "--hard", folder=self.folder)
        self._git("clean", "--quiet", "-fd", "--", *_OURS, folder=self.folder)

    def _share_cache(self) -> None:
        """DVC's remotes and their secrets as in the repository, and its cache instead of an empty one."""
        local, config = self.repository / ".dvc/config.local", self.folder / ".dvc/config.local"
        config.write_text(local.read_text() if local.exists() else "")
        cache = subprocess.run(
            [sys.executable, "-m", "dvc", "cache", "dir"],
            cwd=self.repository,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        self._dvc("cache", "dir", "--local", cache)

    @property
    def previous(self) -> str | None:
        """The last commit of results."""
        return self.commit_of(self.results_branch)

    def commit_of(self, name: str) -> str | None:
        """The commit that a branch points to, or None."""
        command = ["git", "-C", str(self.repository), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip() or None

    def fetch(self, git_remote: str) -> str | None:
        """Bring the results branch to where others left it: what they sent comes first, and ours goes on from there.

        A commit that was made here meanwhile, and could not be sent, is kept beside the branch and returned.
        """
        branch, ours = f"refs/heads/{self.results_branch}", self.previous
        if not self._git("ls-remote", "--heads", git_remote, branch):
            return None
        self._git("fetch", "--quiet", "--no-tags", git_remote, branch)
        theirs = self._git("rev-parse", "FETCH_HEAD")
        if ours is not None and self._is_within(theirs, ours):
            return None
        apart = None if ours is None or self._is_within(ours, theirs) else ours
        if apart:
            self._git("update-ref", f"refs/crossover/unsent/{apart}", apart)
        self._git("update-ref", branch, theirs)
        return apart

    def _is_within(self, commit: str, other: str) -> bool:
        """Whether a commit is another one or one of those before it."""
        command = ["git", "-C", str(self.repository), "merge-base", "--is-ancestor", commit, other]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603

    def bring(self) -> None:
        """Artifacts of the last results: from the DVC remote, where there is one, else from the cache."""
        if self._has_remote():
            self._dvc("pull", "--allow-missing", "--force")
        else:
            self._dvc("checkout", "--allow-missing", "--force")

    def send(self, git_remote: str | None) -> None:
        """Artifacts to the DVC remote, where there is one, and the results branch to a git remote, if asked."""
        if self._has_remote():
            self._dvc("push")
        if git_remote:
            self._push(git_remote)

    def _push(self, git_remote: str) -> None:
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._git("push", "--quiet", git_remote, f"{self.results_branch}:{self.results_branch}")
                return
            except CrossoverError:
                if not left or not self._follow(git_remote):
                    raise

    def _follow(self, git_remote: str) -> bool:
        """Put what could not be sent behind what others have sent meanwhile; whether they have."""
        ours = self.fetch(git_remote)
        if ours is None:
            return False
        tree, message = self._git("rev-parse", f"{ours}^{{tree}}"), self._git("log", "-1", "--format=%B", ours)
        self._record(tree, self.previous, self.source, message)
        return True

    def commit(self, message: str) -> str | None:
        """Commit what the run left to the results branch; None where it equals the commit before."""
        previous, source = self.previous, self.source
        self._git("add", "--all", "--", *(name for name in _OURS if (self.folder / name).exists()), folder=self.folder)
        tree = self._git("write-tree", folder=self.folder)
        if previous and tree == self._git("rev-parse", f"{previous}^{{tree}}"):
            return None
        return self._record(tree, previous, source, message)

    def _record(self, tree: str, previous: str | None, source: str, message: str) -> str:
        """A commit of results after the previous one, and after its source where that is newer."""
        parents = [previous] if previous else []
        if not previous or not self._is_within(source, previous):
            parents.append(source)
        options = [word for parent in parents for word in ("-p", parent)]
        new = self._git(*self._identity(), "commit-tree", tree, *options, "-m", message)
        self._git("update-ref", f"refs/heads/{self.results_branch}", new, previous or "")
        return new

    def _identity(self) -> list[str]:
        """A machine that only runs schedules may have no git identity."""
        command = ["git", "-C", str(self.repository), "config", "user.email"]
        known = subprocess.run(command, capture_output=True, check=False).stdout.strip()  # noqa: S603
        return [] if known else ["-c", "user.name=crossover", "-c", "user.email=crossover@localhost"]

    def crossover(self, *words: str, hear: Callable[[str], None]) -> tuple[int, str]:
        """Run this branch's own `crossover`; `hear` gets its messages. Returns exit code and output."""
        command = mortal(sys.executable, "-m", "crossover", *words)
        with (
            tempfile.TemporaryFile("w+") as output,
            subprocess.Popen(  # noqa: S603
                command, cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.PIPE, text=True
            ) as process,
        ):
            assert process.stderr
            for line in process.stderr:
                hear(masked(line.rstrip()))
            code = process.wait()
            output.seek(0)
            return code, output.read()

    def _has_remote(self) -> bool:
        return bool(self._dvc("remote", "list"))

    def _dvc(self, *words: str) -> list[str]:
        code, lines = dvc(*words, folder=self.folder)
        if code:
            raise CrossoverError(masked(f"dvc {' '.join(words)} in {self.folder}: {last_error(lines)}"))
        return lines

    def _git(self, *words: str, folder: Path | None = None) -> str:
        command = ["git", "-C", str(folder or self.repository), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise CrossoverError(masked(f"{' '.join(command)}: {done.stderr.strip()}"))
        return done.stdout.strip()


def override(path: Path, changes: dict[str, Any]) -> None:
    """Set values of a params.yaml by dotted name, its comments kept. Raises `UsageError` for an unknown place."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 200
    params = yaml.load(path.read_text())
    for name, value in changes.items():
        *parents, last = name.split(".")
        place = params
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise UsageError(f"params: there is no '{'.'.join(parents)}' in params.yaml, so '{name}' cannot be set")
        place[last] = value
    with path.open("w") as file:
        yaml.dump(params, file)
