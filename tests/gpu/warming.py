"""Compile every shape of the ladder and of the measurement, side by side, into one cache on disk."""

import os
import subprocess
import time

from stages.cells.plan import Plan, read_plan
from stages.study.cell import Cell
from stages.study.params import load_params
from stages.train.loop import train
from tests.gpu.phases import Context
from tests.gpu.plain import PlainLoop
from tests.gpu.shapes import device, settle, speed_cells, tokens_for

SCALE = "gpu10"


def packed_plans() -> list[Plan]:
    """Of the studies that are active in the folder, in their order."""
    return [read_plan(active.study, active.scale) for active in load_params().active.values()]


def warm(context: Context) -> None:
    """A process per shape; those that are not done in time are ended."""
    jobs = [f"ours {_short(cell)}" for cell in _shapes(context)]
    jobs += [f"plain {_short(cell)}" for cell in speed_cells(context.miniature) if "speed" in context.only]
    at_once, results = max(1, (os.cpu_count() or 2) - 2), []
    running: list[tuple[str, float, subprocess.Popen[bytes]]] = []
    while (jobs or running) and not context.over():
        while jobs and len(running) < at_once:
            job = jobs.pop(0)
            command = context.phase(f"compile:{job}")
            running.append((job, time.time(), subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})))
        time.sleep(0.2)
        for item in [item for item in running if item[2].poll() is not None]:
            running.remove(item)
            results.append(
                {"job": item[0][:60], "seconds": round(time.time() - item[1], 1), "exit": item[2].returncode}
            )
    for item in running:
        item[2].kill()
        results.append({"job": item[0][:60], "exit": "cut"})
    context.keep("warm", results)


def compile(_: Context, job: str) -> None:  # noqa: A001 (the phase's name)
    """One shape."""
    kind, told = job.split(" ", 1)
    cell = Cell.model_validate_json(told)
    where = device()
    if kind == "ours":
        train(cell, tokens_for(cell), where)
        return
    loop = PlainLoop(cell, where, tokens_for(cell))
    for _ in range(2):
        loop()
    settle(where)


def _shapes(context: Context) -> list[Cell]:
    """One cell of every shape, those that are measured first."""
    cells = speed_cells(context.miniature) if "speed" in context.only else []
    cells += [cell for plan in packed_plans() for cell in plan.cells.values()]
    return list({_shape(cell): cell for cell in reversed(cells)}.values())[::-1]


def _shape(cell: Cell) -> tuple[object, ...]:
    """What is compiled apart."""
    block = (cell.width, cell.hidden, cell.activation, cell.qk_norm)
    return *block, cell.vocab_size, cell.micro_batch, cell.seq_len


def _short(cell: Cell) -> str:
    """One step over little text."""
    few = {"steps": 1, "warmup_steps": 1, "unique_tokens": cell.batch * cell.seq_len * 2}
    return cell.model_copy(update=few).model_dump_json()
