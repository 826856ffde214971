"""One cell on several GPUs, in all processes that torchrun starts; the first one records it.

torchrun --nproc-per-node 8 -m stages.cells.together lr_crossover paper 3fa9c1

The cell is named by the beginning of its fingerprint, as in data/studies/lr_crossover-paper/plan.json. That says not
on how many devices it runs, nor on which: losses agree to the rounding of sums in another order. Parameters, gradients
and moments are sharded over the devices (FSDP2) where they would fill more than half of one, or with --shard.
"""

import argparse
import os
import signal
import sys
import threading
from dataclasses import replace

import torch
import torch.distributed as dist

from crossover.base.entry import guarded
from crossover.base.errors import UsageError
from stages.cells.one import Worker
from stages.cells.plan import Plan, read_plan
from stages.store.store import store_from_environment
from stages.study.cell import Cell
from stages.study.costs import count_parameters
from stages.train.ranks import Ranks

_STATE = 16  # bytes per parameter in training: itself, its gradient and two moments, in float32


def together(study: str, scale: str, beginning: str, shard: bool) -> None:
    """Train, evaluate and record one cell. Raises `UsageError` for an unknown cell or a batch that cannot be shared."""
    plan = read_plan(study, scale)
    fingerprint = _find(plan, beginning)
    if trainer := plan.cells[fingerprint].trainer:
        raise UsageError(f"trainers.{trainer} trains this cell; let its own command use several GPUs")
    gpus = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpus else torch.device("cpu")
    torch.set_flush_denormal(True)
    if gpus:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpus else "gloo")
    try:
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
        sharded = ranks.follow_first(shard or _crowded(plan.cells[fingerprint], device), torch.zeros(1, device=device))
        ranks = replace(ranks, sharded=bool(sharded))
        _train(Worker(plan, store_from_environment(), device, ranks), fingerprint)
    finally:
        dist.destroy_process_group()


def _find(plan: Plan, beginning: str) -> str:
    found = [fingerprint for fingerprint in plan.cells if fingerprint.startswith(beginning)]
    if len(found) != 1:
        raise UsageError(f"{len(found)} cells of {plan.study}-{plan.scale} begin with {beginning}; name one")
    return found[0]


def _crowded(cell: Cell, device: torch.device) -> bool:
    """Whether the state of training would leave less than half of a GPU to everything else."""
    if device.type == "cpu":
        return False
    return 2 * _STATE * count_parameters(cell).n_total > torch.cuda.get_device_properties(device).total_memory


def _train(worker: Worker, fingerprint: str) -> None:
    cell, ranks, stop = worker.plan.cells[fingerprint], worker.ranks, threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: stop.set())
    if cell.batch % ranks.count:
        raise UsageError(f"a batch of {cell.batch} cannot be shared by {ranks.count} processes evenly")
    there = ranks.follow_first(int(worker.store.record(fingerprint) is not None), torch.zeros(1, device=worker.device))
    if not there and not ranks.first:
        worker.follow(fingerprint, stop.is_set)
    elif there and ranks.first:
        print(f"{fingerprint[:12]} is in the store")
    elif ranks.first:
        record = worker.complete(
            fingerprint, lambda told: print(f"step {told.step} of {cell.steps}", flush=True), stop.is_set
        )
        print(f"{fingerprint[:12]}: {record.status}, {record.provenance.tokens_per_second:,.0f} tokens/s")


def main() -> None:
    """Parse the command line of one process."""
    parser = argparse.ArgumentParser(prog="torchrun -m stages.cells.together", description=__doc__)
    for name in ("study", "scale", "cell"):
        parser.add_argument(name)
    parser.add_argument("--shard", action="store_true", help="shard parameters even where they would fit whole")
    arguments = parser.parse_args()
    together(arguments.study, arguments.scale, arguments.cell, arguments.shard)


if __name__ == "__main__":
    sys.exit(guarded(main))
