"""A cell trained by a program of one's own: what it is given, how it is watched, and what it has to leave.

The program is started in the project's root with one argument, a folder that stays until the cell is finished:

  cell.json    given: the cell's settings, and where its tokens are
  windows.npz  given: numbers of windows of `seq_len` inputs each (targets are one token on): `order` (steps, batch) of
               training, `validation` of the held-out tokens, `seen` and `fresh` of the training tokens
  curve.csv    left: step, tokens, lr, loss, grad_norm of every step, in order; rows may come as it goes
  losses.npz   left: for `validation`, `seen` and `fresh` the loss in nats of every target of these windows, in order
  weights.safetensors, anything else: left at will, for instance a checkpoint to go on from

A SIGTERM asks it to save what it has and to leave; started again with the same folder it goes on. A run that
diverged (by the rule of our own loop, applied to its curve) needs no losses.
"""

import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from crossover.base.errors import CrossoverError, DamageError, Interrupted
from crossover.base.files import replacing, write_json
from stages.cells.plan import Plan
from stages.evaluate.losses import Floats, evaluated_windows
from stages.shards.manifest import TOKENS, SplitName
from stages.shards.reading import read_prefix
from stages.shards.windows import window_order
from stages.study.cell import Cell
from stages.study.tables import CURVE, read_csv
from stages.train.loop import Curve, has_diverged
from stages.train.observer import Observer, Window

_GRACE = 15.0  # seconds it has to save what it has
_POLL = 0.2
_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|PYTHON\w+|VIRTUAL_ENV|CONDA_PREFIX|LD_LIBRARY_PATH|XDG_\w+|"
    r"(OMP|MKL|OPENBLAS|CUDA|NVIDIA|NCCL|ROCR|HIP|TORCH|PYTORCH|TRITON|MALLOC|KMP|GOMP)_\w+|"
    r"HF_HOME|HF_HUB_OFFLINE|WANDB_MODE"
)
"""Variables that a program gets: where things lie and how the machine is used. Keys it reads from files below HOME."""


class TrainerError(CrossoverError):
    """A program failed, or left something else than was asked for."""


@dataclass(frozen=True)
class Left(Curve):
    """What a program left."""

    evaluated: dict[str, Floats]
    """Losses of the final model by the names of `evaluated_windows`, one per target; empty where it diverged."""
    weights: Path | None
    seconds: float


def run_command(
    plan: Plan,
    cell: Cell,
    folder: Path,
    device: torch.device,
    observe: Observer,
    stopping: Callable[[], bool],
) -> Left:
    """Let the cell's program train it in `folder` and check what it left.

    Raises `TrainerError`, and `Interrupted` once it has saved what it had because `stopping` said so.
    """
    assert cell.trainer, "a cell of our own loop needs no program"
    folder.mkdir(parents=True, exist_ok=True)
    _give(plan, cell, folder)
    words, log, clock = _words(plan.trainers[cell.trainer].command), folder / "log.txt", folder / "seconds.json"
    earlier, started = float(json.loads(clock.read_text())) if clock.exists() else 0.0, time.monotonic()
    try:
        with log.open("a") as output:
            process = subprocess.Popen(  # noqa: S603
                [*words, str(folder.resolve())], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=_environment(device),
            )  # fmt: skip
            _watch(process, folder / "curve.csv", observe, stopping)
    except OSError as error:
        raise TrainerError(f"trainers.{cell.trainer}: `{words[0]}` cannot be started ({error.strerror})") from None
    finally:
        seconds = earlier + time.monotonic() - started
        write_json(clock, seconds)
    if process.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise TrainerError(f"trainers.{cell.trainer} ended with exit code {process.returncode}: {last[0]} (all: {log})")
    return _taken(plan, cell, folder, seconds)


def _words(command: str) -> list[str]:
    """The command line; `python` is the one that runs this, whatever the path says."""
    program, *rest = shlex.split(command)
    return [sys.executable if program == "python" else program, *rest]


def _give(plan: Plan, cell: Cell, folder: Path) -> None:
    shards = {
        "train": _paths(plan, "train", cell.reach(plan.seen_tokens)),
        "validation": _paths(plan, "validation", plan.validation_tokens + 1),
    }
    settings = {**cell.model_dump(), "options": dict(cell.options)}
    tokens = {"dtype": plan.text.dtype, "end_of_text": plan.text.end_of_text, **shards}
    write_json(folder / "cell.json", {"cell": settings, "tokens": tokens})
    windows: dict[str, Any] = evaluated_windows(cell, plan.validation_tokens, plan.seen_tokens)
    with replacing(folder / "windows.npz") as draft, draft.open("wb") as file:
        np.savez(file, order=window_order(cell), **windows)


def _paths(plan: Plan, split: SplitName, tokens: int) -> list[str]:
    """Shards that hold so many tokens, checked: raw little-endian numbers, one file after the other."""
    read_prefix(plan.text_name, plan.text, split, tokens)
    count = len(plan.text.digests(split, tokens))
    folder = (TOKENS / plan.text_name / split).resolve()
    return [str(folder / shard.file) for shard in plan.text.split(split).shards[:count]]


def _environment(device: torch.device) -> dict[str, str]:
    """What a program needs of ours, and no key of anything: one core, or the worker's GPU as the only one."""
    ours = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    if device.type != "cuda":
        return {"OMP_NUM_THREADS": "1", **ours}
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    number = device.index or 0
    return {**ours, "CUDA_VISIBLE_DEVICES": seen[number] if seen else str(number)}


def _watch(process: "subprocess.Popen[bytes]", curve: Path, observe: Observer, stopping: Callable[[], bool]) -> None:
    """Wait for its end. Tells the rows of its curve as they come, and passes on the request to stop."""
    told, place = 0, 0

    def tell() -> None:
        nonlocal told, place
        rows, place = _new_rows(curve, place, told)
        if rows:
            steps, lrs, losses, norms = map(list, zip(*rows, strict=True))
            told = int(steps[-1]) + 1
            observe(Window(told, losses, lrs, norms))

    try:
        while process.poll() is None:
            time.sleep(_POLL)
            tell()
            if stopping():
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE)
                raise Interrupted(f"stopped after step {told}")
        tell()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _new_rows(curve: Path, place: int, told: int) -> tuple[list[tuple[float, ...]], int]:
    """Step, rate, loss and gradient norm of whole rows from step `told` on, and where in the file they end.

    A program that goes on from a checkpoint may write the file anew: where no next step is at `place`, all is read.
    """
    with suppress(OSError), curve.open("rb") as file:
        start = place if os.fstat(file.fileno()).st_size >= place else 0
        rows, end = _rows(file, start)
        if rows and rows[0][0] != told:
            rows, end = _rows(file, 0)
        return [row for row in rows if row[0] >= told], end
    return [], place


def _rows(file: BinaryIO, start: int) -> tuple[list[tuple[float, ...]], int]:
    file.seek(start)
    lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
    fields = [line.decode(errors="replace").strip().split(",") for line in lines]
    rows = [(_number(row[0]), *map(_number, row[2:])) for row in fields if len(row) == len(CURVE)]
    return [row for row in rows if not math.isnan(row[0])], start + sum(map(len, lines))


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:  # it is empty, or a name
        return math.nan


def _taken(plan: Plan, cell: Cell, folder: Path, seconds: float) -> Left:
    curve, losses, weights = (folder / name for name in ("curve.csv", "losses.npz", "weights.safetensors"))
    lrs, values, norms, diverged = _curve(cell, curve)
    return Left(
        diverged=diverged, lrs=lrs, losses=values, grad_norms=norms,
        evaluated={} if diverged else _losses(plan, cell, losses),
        weights=weights if weights.exists() else None, seconds=seconds,
    )  # fmt: skip


def _curve(cell: Cell, path: Path) -> tuple[list[float], torch.Tensor, torch.Tensor, bool]:
    try:
        columns = read_csv(path, CURVE).to_pydict()
    except DamageError as error:
        raise TrainerError(f"trainers.{cell.trainer}: {str(error).split(';')[0]}; it must leave {_said()}") from None
    steps = columns["step"]
    losses, norms = (
        torch.tensor([np.nan if x is None else x for x in columns[name]]) for name in ("loss", "grad_norm")
    )
    ends = [*range(cell.window, len(steps), cell.window), len(steps)]
    diverged = any(has_diverged(losses[:end], cell.window) for end in ends if end)
    if steps != list(range(len(steps))) or not steps or not (diverged or len(steps) == cell.steps):
        raise TrainerError(
            f"trainers.{cell.trainer}: {path} has {len(steps)} steps, not 0 to {cell.steps - 1} in order; "
            "write one row per step"
        )
    _require_tokens(cell, path, columns["tokens"])
    return _filled(columns["lr"]), losses, norms, diverged


def _require_tokens(cell: Cell, path: Path, told: list[int | None]) -> None:
    """A loss after more text than was planned would be taken for a better recipe."""
    for step, tokens in enumerate(told):
        if tokens != (planned := step * cell.batch * cell.seq_len):
            raise TrainerError(
                f"trainers.{cell.trainer}: {path} has {tokens} tokens before step {step}, and the cell's batches make "
                f"{planned}; train on what windows.npz names, and count it"
            )


def _filled(column: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in column]


def _said() -> str:
    return f"curve.csv with the columns {', '.join(CURVE.names)}"


def _losses(plan: Plan, cell: Cell, path: Path) -> dict[str, Floats]:
    windows = evaluated_windows(cell, plan.validation_tokens, plan.seen_tokens)
    try:
        with np.load(path) as file:
            found = {name: np.asarray(file[name], np.float64).ravel() for name in windows}
    except (OSError, ValueError, KeyError) as error:
        raise TrainerError(
            f"trainers.{cell.trainer}: {path} cannot be read ({error}); it must hold {', '.join(windows)}"
        ) from None
    for name, numbers in windows.items():
        if found[name].size != len(numbers) * cell.seq_len or not np.isfinite(found[name]).all():
            raise TrainerError(
                f"trainers.{cell.trainer}: {path}: `{name}` must hold {len(numbers) * cell.seq_len} finite losses, one "
                f"per target of its windows; it has {found[name].size}, {np.isfinite(found[name]).sum()} of them finite"
            )
    return found
