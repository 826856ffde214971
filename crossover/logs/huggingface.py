"""Hugging Face `trainer_state.json`, with what lies beside it as JSON.

`transformers.TrainerState` writes its `log_history` there: one object per logging, with `step`, and `loss`,
`eval_loss` and so on where they were logged. `config.json` beside it is the model's; weights tell the number of
parameters by the header of their file (https://huggingface.co/docs/safetensors, "Format"). `training_args.bin` is a
pickle and is not opened.
"""

import math
import re
from pathlib import Path
from typing import Any

from crossover.base.errors import DamageError
from crossover.logs.logged import LoggedRun, as_number, flatten, parse_json

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_UNSET = ("num_input_tokens_seen", "total_flos")
"""Counters that stay 0 where the trainer was not asked to count."""


def run_folder(state: Path) -> Path:
    """The output folder of the run that a `trainer_state.json` belongs to."""
    folder = state.parent
    return folder.parent if _CHECKPOINT.fullmatch(folder.name) else folder


def read_trainer(name: str, states: list[Path]) -> LoggedRun:
    """The run of one output folder, from its own `trainer_state.json` or that of its last checkpoint.

    Raises `DamageError` that names the file and the remedy where it is broken or logs nothing.
    """
    state = max(states, key=_place)
    run = LoggedRun(name, state)
    body = _read(state, "take an earlier checkpoint or copy it again")
    if not isinstance(body, dict) or not isinstance(body.get("log_history"), list):
        raise DamageError(f"{state} has no log_history; it is no state of a Trainer, leave it out")
    for entry in body["log_history"]:
        _take(run, entry)
    if not run.curves:
        raise DamageError(f"{state} logs no number; set logging_steps below the number of steps, or leave it out")
    facts = {key: value for key, value in body.items() if key not in ("log_history", "stateful_callbacks")}
    run.facts = {key: value for key, value in flatten(facts).items() if key not in run.curves}
    for key in _UNSET:
        if run.facts.get(key) == 0:
            del run.facts[key]
    if _place(state) < math.inf:
        run.notes.append(f"read from {state.parent.name}, the last one there: the run did not save its final state")
    _add_siblings(run, state, states)
    return run


def _place(state: Path) -> float:
    """The number of the checkpoint; the state of the whole run comes after all."""
    match = _CHECKPOINT.fullmatch(state.parent.name)
    return int(match[1]) if match else math.inf


def _read(path: Path, remedy: str) -> Any:
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        what = "is empty" if not path.stat().st_size else f"is not valid JSON ({error})"
        raise DamageError(f"{path} {what}; {remedy}") from None


def _take(run: LoggedRun, entry: Any) -> None:
    step = as_number(entry.get("step")) if isinstance(entry, dict) else None
    if step is None:
        raise DamageError(f"{run.source} has an entry in log_history without a step; copy it again, or leave it out")
    for key, value in flatten(entry).items():
        number = as_number(value)
        if number is not None and key != "step":
            run.log(key, step, number)


def _add_siblings(run: LoggedRun, state: Path, states: list[Path]) -> None:
    """Settings of the model and of the training, and the number of parameters, from the first folder that has them."""
    folders = [state.parent, *(other.parent for other in sorted(states, key=_place, reverse=True) if other != state)]
    for stem, prefix in (("config", "config"), ("training_args", "args"), ("args", "args")):
        found = next((path for folder in folders if (path := folder / f"{stem}.json").exists()), None)
        if found is not None:
            run.facts |= flatten(_read(found, "copy it again, or move it away"), prefix)
    for folder in folders:
        weights = sorted(folder.glob("model*.safetensors"))
        if weights:
            run.facts.setdefault("n_parameters", sum(_parameters(path) for path in weights))
            return


def _parameters(path: Path) -> int:
    """The number of elements of all tensors in a safetensors file, from its header."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size <= path.stat().st_size else b""
    try:
        shapes = [tensor["shape"] for key, tensor in parse_json(header).items() if key != "__metadata__"]
        return sum(math.prod(map(int, shape)) for shape in shapes)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DamageError(f"{path} is damaged in its header; copy it again, or move it away") from None
