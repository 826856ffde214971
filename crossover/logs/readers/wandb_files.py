"""Folders of Weights & Biases without their binary log: `files/wandb-summary.json` and `files/config.yaml`.

People commit these two and leave the log out. The summary has the last value of every metric, and the config wraps each
setting as `{value: ...}`.
"""

import re
from pathlib import Path

from crossover.base.errors import DamageError
from crossover.logs.logged import APART, LoggedRun, flatten, parse_json, read_yaml, unwrapped

_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(\w+)")


def is_wandb_summary(path: Path) -> bool:
    """Whether it is the summary of a run whose log is not beside it."""
    home = path.parent.parent
    return path.name == "wandb-summary.json" and path.parent.name == "files" and not any(home.glob("*.wandb"))


def read_wandb_files(summary: Path) -> list[LoggedRun]:
    """The run of a folder, named by its id. Raises `DamageError` for a broken file."""
    home = summary.parent.parent
    match = _FOLDER.fullmatch(home.name)
    run = LoggedRun(match[1] if match else home.name, summary)
    try:
        values = parse_json(summary.read_bytes())
    except ValueError as error:
        raise DamageError(
            f"{summary} is not valid JSON ({error}); copy the run folder again, or leave it out"
        ) from None
    if not isinstance(values, dict):
        raise DamageError(f"{summary} holds no object; copy the run folder again, or leave it out")
    logged = flatten({name: value for name, value in values.items() if name != "_wandb"})
    if (config := summary.with_name("config.yaml")).exists():
        run.facts = flatten(unwrapped(read_yaml(config)))
    step = logged.pop("_step", None)
    names = {name: value for name, value in logged.items() if not name.startswith("_")}
    if isinstance(step, (int, float)):
        run.facts.setdefault("step", step)
    run.facts |= {name if name not in run.facts else f"{APART}{name}": value for name, value in names.items()}
    run.notes.append("read from its summary: its log run-*.wandb is not there, so each value is the last one")
    return [run]
