"""A logged run, whatever wrote it: values known once, and curves over the steps of training."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossover.base.errors import DamageError
from crossover.logs.points import Points

Scalar = bool | int | float | str
Curves = dict[str, Points]
"""Per metric its value by step."""
APART = "logged/"
"""Begins the name of a metric that a setting has as well."""
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_DEEPEST = 20
_LONGEST = 300
"""Characters of a text worth a column; longer ones are prompts, notes or whole files."""


@dataclass
class LoggedRun:
    """One training run as its log tells it."""

    name: str
    source: Path
    facts: dict[str, Scalar] = field(default_factory=dict)
    """Settings and other values known once."""
    curves: Curves = field(default_factory=dict)
    earlier: list[Curves] = field(default_factory=list)
    """While it is read: launches that ended before `curves`, which is the last one (`crossover.logs.launches`)."""
    purge: float = math.inf
    """While it is read: the step from which on its log says that what was logged before it is void."""
    twice: int = 0
    """Losses that another value at the same step replaced."""
    notes: list[str] = field(default_factory=list)
    """What the reader wants to be known, such as a log that was cut."""

    def log(self, step: float, values: Mapping[str, float]) -> None:
        """Add what was logged at a step, where later counts; a metric whose steps fall begins another launch."""
        for metric in values:
            if (known := self.curves.get(metric)) is not None and step < known.last:
                self.begin()
                break
        for metric, value in values.items():
            if (points := self.curves.get(metric)) is None:
                points = self.curves[metric] = Points()
            self.twice += points.put(step, value) and "loss" in metric.lower()

    def begin(self) -> None:
        """Another launch: what comes is not of the one before."""
        if self.curves:
            self.earlier.append(self.curves)
            self.curves = {}

    def tidy(self) -> None:
        """Bring names and texts into one line each."""
        self.name = one_line(self.name)
        self.facts = {
            one_line(name): one_line(value) if isinstance(value, str) else value for name, value in self.facts.items()
        }
        self.curves = {one_line(name): points for name, points in self.curves.items()}


def one_line(text: str) -> str:
    """A text with a blank for every character that cannot be printed, such as a line's end or half a surrogate."""
    return text if text.isprintable() else "".join(mark if mark.isprintable() else " " for mark in text)


def flatten(value: Any, prefix: str = "", depth: int = 0) -> dict[str, Scalar]:
    """The scalars of nested mappings by their path, as `optimizer.lr`; lists, nulls and long texts are left out.

    So is what lies more than twenty deep: YAML can name a mapping within itself.
    """
    if isinstance(value, dict):
        found: dict[str, Scalar] = {}
        for key, item in value.items() if depth < _DEEPEST else ():
            found |= flatten(item, f"{prefix}.{key}" if prefix else str(key), depth + 1)
        return found
    if isinstance(value, str) and len(value) > _LONGEST:
        return {}
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        value = as_number(value)
    return {prefix: value} if isinstance(value, (bool, int, float, str)) and prefix else {}


def as_number(value: Any) -> float | None:
    """A number as a float, NaN and infinity included (also as the texts JSON writers use); None for anything else."""
    if isinstance(value, str) and value.lower() in ("nan", "infinity", "-infinity", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def parse_json(content: str | bytes) -> Any:
    """JSON, or `ValueError` whatever is wrong with it."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_lines(content: bytes) -> list[Any]:
    """JSON in every line that is not blank, or `ValueError`."""
    decode = json.JSONDecoder().decode
    try:
        return [decode(line) for line in content.decode(json.detect_encoding(content)).split("\n") if line.strip()]
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def require_content(path: Path) -> None:
    """Refuse a pointer that git left in the place of a large file. Raises `DamageError`."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise DamageError(f"{path} is a pointer of Git LFS, not the file; run `git lfs pull` where it was cloned")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `DamageError` for anything else."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        body = YAML(typ="safe").load(path)
    except (YAMLError, ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise DamageError(f"{path} holds no mapping that can be read; copy it again, or move it away")
    return body


def unwrapped(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of W&B's `config.yaml`, which wraps each with its description, as they are."""
    plain = {key: item for key, item in settings.items() if key not in ("_wandb", "wandb_version")}
    return {
        key: item["value"] if isinstance(item, dict) and "value" in item and set(item) <= {"value", "desc"} else item
        for key, item in plain.items()
    }


def name_apart(runs: Iterable[LoggedRun]) -> list[LoggedRun]:
    """The runs made tidy, those of equal names told apart by a number."""
    runs, seen = list(runs), set[str]()
    for run in runs:
        run.tidy()
        name, number = run.name, 1
        while run.name in seen:
            number += 1
            run.name = f"{name}#{number}"
        seen.add(run.name)
    return runs
