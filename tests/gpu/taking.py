"""At home, after: cells into the store, figures into data/benchmarks, and a frozen copy of tables and page.

A study that lacks cells is never left to `dvc repro` here, which would train them on this machine's CPU.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from crossover.base.errors import UsageError
from crossover.base.files import read_json, replacing, write_json
from stages.cells.plan import Plan, plan_from_json, read_plan
from stages.cells.runs import read_runs
from stages.store.names import is_evaluation, travels
from stages.store.store import Store, store_from_environment
from stages.study.params import load_params
from tests.gpu.ladder import ARCHIVE
from tests.gpu.warming import SCALE

FROZEN = Path("data/frozen")
FIGURES = Path("data/benchmarks")
_KEPT = ("losses.csv", "fit.json", "losses.check.json")
_STAGES = ("cells evaluate", "check losses", "fit")


def take(folder: Path, found: Path) -> None:
    """Everything of one run. Raises `UsageError` where the active study would be trained further here."""
    figures = read_json(found / "gpu.json", "name the folder that `make gpu` wrote")
    if figures is None:
        raise UsageError(f"{found} holds no gpu.json; name the folder that `make gpu` wrote")
    now = datetime.now(UTC)
    write_json(FIGURES / f"{now:%Y-%m-%d-%H%M%S}-gpu.json", {"date": now.isoformat(timespec="seconds"), **figures})
    if (found / "profile.txt").exists():
        shutil.copyfile(found / "profile.txt", FIGURES / f"{now:%Y-%m-%d-%H%M%S}-gpu-profile.txt")
    if "ladder" not in figures:
        print(f"{found} holds figures only, now in {FIGURES}")
        return
    store, here = store_from_environment(), load_params().active
    plans = {key: _packed(folder, key) for key in load_params(folder / "params.yaml").active}
    print(f"{unpack(found / ARCHIVE, list(plans.values()), store)} cells are new in {store.url}")
    for key, plan in plans.items():
        _say_what_is_whole(key, plan, store)
        if key in here:
            _repro(key, plan, store)
    if not plans.keys() & here:
        _freeze(folder, plans, store)


def _packed(folder: Path, key: str) -> Plan:
    return plan_from_json(read_json(folder / "data/studies" / key / "plan.json", "run `make gpu-pack`"))


def unpack(archive: Path, plans: Sequence[Plan], store: Store) -> int:
    """Finished cells of the plans, and of each only the files a cell has; `adopt` checks their digests.

    Returns how many the store lacked.
    """
    beside, cells = archive.parent / "cells", {name: cell for plan in plans for name, cell in plan.cells.items()}
    with tarfile.open(archive) as tar:
        for member in tar:
            owner, _, name = member.name.partition("/")
            if member.isfile() and owner in cells and travels(name) and (body := tar.extractfile(member)):
                target = (store.root if is_evaluation(name) else beside) / owner / name
                with replacing(target) as draft:
                    draft.write_bytes(body.read())
    taken = store.adopt(beside, cells)
    shutil.rmtree(beside, ignore_errors=True)
    return taken


def _say_what_is_whole(key: str, plan: Plan, store: Store) -> None:
    there = {name for name in plan.cells if store.record(name)}
    print(f"{len(there)} of {len(plan.cells)} cells of {key} are in the store")
    need = Counter((row.recipe, row.cell.seed) for row in plan.rows)
    have = Counter((row.recipe, row.cell.seed) for row in plan.rows if row.fingerprint in there)
    print(
        "whole: "
        + ", ".join(f"{recipe} seed {seed}" for recipe, seed in need if have[recipe, seed] == need[recipe, seed])
    )


def _repro(key: str, packed: Plan, store: Store) -> None:
    """Let DVC record what the store holds, where it holds everything that is planned here."""
    subprocess.run(["dvc", "--wait-for-lock", "repro", f"plan@{key}"], check=True)
    missing = [name for name in read_plan(packed.study, packed.scale).cells if not store.record(name)]
    if missing:
        raise UsageError(
            f"{len(missing)} cells of {key} are missing, and `dvc repro` would train them on this machine; "
            f"cut the study in params.yaml to the recipes and seeds that are whole, or take {key} out of `active`"
        )
    subprocess.run(["dvc", "--wait-for-lock", "repro", f"fit@{key}"], check=True)


def _freeze(folder: Path, plans: Mapping[str, Plan], store: Store) -> None:
    """Tables, fits and one page of the cells that are there, in the packed folder, and a copy of them for git."""
    homes = {key: folder / "data/studies" / key / "plan.json" for key in plans}
    rows = {key: [row for row in plan.rows if store.record(row.fingerprint)] for key, plan in plans.items()}
    packed = {key: home.read_bytes() for key, home in homes.items()}
    for key, plan in plans.items():
        write_json(homes[key], plan.model_copy(update={"rows": rows[key]}).to_json())
    (folder / "data/ledger.jsonl").touch()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "CROSSOVER_STORE": str(store.root.resolve())}
    commands = [f"{stage} {plan.study} {plan.scale}" for plan in plans.values() for stage in _STAGES]
    (folder / "data/results").mkdir(exist_ok=True)
    shutil.copyfile("data/results/ridge.json", folder / "data/results/ridge.json")  # of no study, and minutes of work
    for command in ["check tokens", *commands, "verdicts", "report"]:
        words = [sys.executable, "-m", *f"stages.{command}".split()]
        subprocess.run(words, cwd=folder, env=environment, check=True)
    for key, home in homes.items():
        home.write_bytes(packed[key])
        _copy(folder, key, read_runs(store, (row.fingerprint for row in rows[key])).to_pandas())
    shutil.copyfile(folder / "data/report/index.html", FROZEN / f"{SCALE}.html")


def _copy(folder: Path, key: str, runs: pd.DataFrame) -> None:
    target = FROZEN / key
    target.mkdir(parents=True, exist_ok=True)
    for name in _KEPT:
        shutil.copyfile(folder / "data/results" / key / name, target / name)
    runs.to_csv(target / "runs.csv", index=False)
    commits, devices, torches = (sorted(set(runs[name])) for name in ("commit", "device", "torch"))
    about = {"cells": len(runs), "commits": commits, "devices": devices, "torch": torches}
    (target / "about.json").write_text(json.dumps(about, indent=2) + "\n")
    print(f"{target}: tables and fit of {len(runs)} cells of {', '.join(commits)}")
