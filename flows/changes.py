"""What moved between two runs of a study: its few metrics and its verdicts, before and after.

This compares numbers as they stand. Whether a difference is more than noise is not decided here.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DATA = Path("data")
Value = str | float | int | None


@dataclass(frozen=True)
class Change:
    """One metric that is not what it was; None where it did not exist."""

    name: str
    before: Value
    after: Value

    @property
    def is_verdict(self) -> bool:
        """Whether it is a conclusion rather than a number."""
        return self.name.endswith("verdict")

    @staticmethod
    def shown(value: Value) -> str:
        """For a table."""
        return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


Results = dict[str, dict[str, Any]]
"""metrics.json of every study by key."""


def read_here(root: Path = DATA) -> Results:
    """The metrics in the working tree."""
    paths = [*sorted(root.glob("results/*/metrics.json")), *root.glob("verdicts/metrics.json")]
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def read_commit(commit: str, repository: Path) -> Results:
    """The metrics of a commit."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(repository), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603

    paths = git("ls-tree", "-r", "--name-only", commit, "data/results/", "data/verdicts/").splitlines()
    return {
        Path(path).parent.name: json.loads(git("show", f"{commit}:{path}"))
        for path in paths
        if path.endswith("/metrics.json")
    }


def compare_metrics(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Leaves that differ, in the order of `after`."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    names = dict.fromkeys([*new, *old])
    return [Change(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Value]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{name} {key}".strip())
    if {"value", "low", "high"} <= value.keys():
        yield f"{name} verdict", _sign(value["low"], value["high"])


def _sign(low: float | None, high: float | None) -> str:
    """Of a difference with an interval."""
    if low is None or high is None:
        return "no interval"
    return "below zero" if high < 0 else "above zero" if low > 0 else "undecided"
