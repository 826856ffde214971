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
from crossover.logs.logged import LoggedRun, as_number, flatten, parse_json, require_content
from crossover.logs.points import Points

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_COMPANION = re.compile(
    r"(adapter_|generation_|preprocessor_|processor_|peft_|model_)?config|.*tokenizer.*|special_tokens_map|added_tokens|"
    r"trainer_state|vocab|merges|chat_template|.*\.index|training_args|args|hparams|params|package(-lock)?"
)
"""Stems of JSON files that describe a model or its text, and are no run."""
_UNSET = ("num_input_tokens_seen", "total_flos")
"""Counters that stay 0 where the trainer was not asked to count."""


def is_companion(path: Path) -> bool:
    """Whether a file lies beside logs and describes a model, its text or its settings, by its name."""
    return path.suffix == ".json" and _COMPANION.fullmatch(path.stem) is not None


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
    odd = sum(not _take(run, entry) for entry in body["log_history"])
    if odd:
        run.notes.append(f"left out {odd} of {len(body['log_history'])} entries of log_history, without a step")
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
    _add_results(run, run_folder(state), as_number(body.get("global_step")))
    return run


def add_events(run: LoggedRun, launches: list[LoggedRun], home: Path) -> None:
    """Take the settings of the launch that logged what the state holds; say which others lie there and are left out.

    `transformers` logs the same values to its events, under `train/` and `eval/`, as 32-bit floats.
    """
    agreeing = [(_agreement(run, launch), launch) for launch in launches]
    best = max(agreeing, key=lambda item: item[0])
    for agreement, launch in agreeing:
        where = launch.source.relative_to(home)
        if launch is best[1] and agreement > 0:
            run.facts |= {key: value for key, value in launch.facts.items() if key not in run.facts}
            run.notes.append(f"the events in {where} are its own; their settings are taken")
        elif agreement > 0:
            run.notes.append(f"the events in {where} are of an earlier launch of it")
        else:
            ended = [f"{key} {points[points.last]:.5g}" for key, points in launch.curves.items() if "loss" in key]
            rate = launch.facts.get("args.learning_rate")
            said = ", ".join([*ended[:1], *([f"learning rate {rate}"] if rate is not None else [])]) or "nothing"
            run.notes.append(f"left out another launch, in {where}, whose points are not the state's: {said}")


def _agreement(run: LoggedRun, launch: LoggedRun) -> float:
    """The number of values that both have alike, less those that differ; 0 where most differ."""
    same = differ = 0
    for tag, points in launch.curves.items():
        head, _, name = tag.partition("/")
        known = run.curves.get(f"eval_{name}" if head == "eval" else name, Points())
        for step in points.keys() & known.keys():
            alike = math.isclose(points[step], known[step], rel_tol=1e-5) or points[step] != points[step]
            same, differ = same + alike, differ + (not alike)
    return max(0, same - differ)


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


def _take(run: LoggedRun, entry: Any) -> bool:
    """Add an entry of log_history; whether it has a step, which one that a script appended may lack."""
    step = as_number(entry.get("step")) if isinstance(entry, dict) else None
    if step is None or not math.isfinite(step):
        return False
    numbers = {key: as_number(value) for key, value in flatten(entry).items() if key != "step"}
    run.log(step, {key: number for key, number in numbers.items() if number is not None})
    return True


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
            try:
                run.facts.setdefault("n_parameters", sum(_parameters(path) for path in weights))
            except DamageError as error:
                run.notes.append(f"the number of parameters is not known: {error}")
            return


def _add_results(run: LoggedRun, folder: Path, end: float | None) -> None:
    """The evaluation after the end of training, which scripts save beside the state they saved before it."""
    path = next((path for name in ("all_results", "eval_results") if (path := folder / f"{name}.json").exists()), None)
    if path is None or end is None:
        return
    for name, value in flatten(_read(path, "copy it again, or move it away")).items():
        number, known = as_number(value), run.curves.get(name, Points())
        if number is None or not re.match("eval_.*loss", name):
            continue
        if not known or known.last < end:
            run.log(end, {name: number})
            run.notes.append(f"{name} at its end is that of {path.name}")
        elif known[known.last] != number:
            run.notes.append(f"{path.name} says {name} {number:.5g}, the state {known[known.last]:.5g}, which counts")


def _parameters(path: Path) -> int:
    """The number of elements of all tensors in a safetensors file, from its header."""
    require_content(path)
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size <= path.stat().st_size else b""
    try:
        shapes = [tensor["shape"] for key, tensor in parse_json(header).items() if key != "__metadata__"]
        return sum(math.prod(map(int, shape)) for shape in shapes)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DamageError(f"{path} is damaged in its header; copy it again, or move it away") from None
