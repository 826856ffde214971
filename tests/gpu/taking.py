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
from datetime import UTC, datetime
from pathlib import Path

from crossover.base.errors import UsageError
from crossover.base.files import read_json, replacing, write_json
from stages.cells.plan import Plan, plan_from_json, read_plan
from stages.store.names import is_evaluation, travels
from stages.store.store import Store, store_from_environment
from stages.study.params import load_params
from tests.gpu.ladder import ARCHIVE
from tests.gpu.warming import SCALE, STUDY

KEY = f"{STUDY}-{SCALE}"
FROZEN = Path("data/frozen") / KEY
FIGURES = Path("data/benchmarks")
_KEPT = ("losses.csv", "runs.csv", "fit.json", "losses.check.json")
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
    plan = plan_from_json(read_json(folder / "data/studies" / KEY / "plan.json", "run `make gpu-pack`"))
    store = store_from_environment()
    print(f"{unpack(found / ARCHIVE, plan, store)} cells are new in {store.url}")
    _say_what_is_whole(plan, store)
    if KEY in load_params().active:
        _repro(store)
    else:
        _freeze(folder, plan, store, figures)


def unpack(archive: Path, plan: Plan, store: Store) -> int:
    """Finished cells of the plan, and of each only the files a cell has; `adopt` checks their digests.

    Returns how many the store lacked.
    """
    beside = archive.parent / "cells"
    with tarfile.open(archive) as tar:
        for member in tar:
            owner, _, name = member.name.partition("/")
            if member.isfile() and owner in plan.cells and travels(name) and (body := tar.extractfile(member)):
                target = (store.root if is_evaluation(name) else beside) / owner / name
                with replacing(target) as draft:
                    draft.write_bytes(body.read())
    taken = store.adopt(beside, plan.cells)
    shutil.rmtree(beside, ignore_errors=True)
    return taken


def _say_what_is_whole(plan: Plan, store: Store) -> None:
    there = {name for name in plan.cells if store.record(name)}
    print(f"{len(there)} of {len(plan.cells)} cells of {KEY} are in the store")
    need = Counter((row.recipe, row.cell.seed) for row in plan.rows)
    have = Counter((row.recipe, row.cell.seed) for row in plan.rows if row.fingerprint in there)
    print(
        "whole: "
        + ", ".join(f"{recipe} seed {seed}" for recipe, seed in need if have[recipe, seed] == need[recipe, seed])
    )


def _repro(store: Store) -> None:
    """Let DVC record what the store holds, where it holds everything that is planned here."""
    subprocess.run(["dvc", "--wait-for-lock", "repro", f"plan@{KEY}"], check=True)
    missing = [name for name in read_plan(STUDY, SCALE).cells if not store.record(name)]
    if missing:
        raise UsageError(
            f"{len(missing)} cells of {KEY} are missing, and `dvc repro` would train them on this machine; "
            f"cut the study in params.yaml to the recipes and seeds that are whole, or take {KEY} out of `active`"
        )
    subprocess.run(["dvc", "--wait-for-lock", "repro", f"fit@{KEY}"], check=True)


def _freeze(folder: Path, plan: Plan, store: Store, figures: dict[str, object]) -> None:
    """Tables, fit and page of the cells that are there, in the packed folder, and a copy of them for git."""
    rows = [row for row in plan.rows if store.record(row.fingerprint)]
    home = folder / "data/studies" / KEY
    packed = (home / "plan.json").read_bytes()
    write_json(home / "plan.json", plan.model_copy(update={"rows": rows}).to_json())
    (folder / "data/ledger.jsonl").touch()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "CROSSOVER_STORE": str(store.root.resolve())}
    commands = ["check tokens", *(f"{stage} {STUDY} {SCALE}" for stage in _STAGES), "ridge", "verdicts", "report"]
    for command in commands:
        words = [sys.executable, "-m", *f"stages.{command}".split()]
        subprocess.run(words, cwd=folder, env=environment, check=True)
    (home / "plan.json").write_bytes(packed)
    FROZEN.mkdir(parents=True, exist_ok=True)
    for name in _KEPT:
        shutil.copyfile(folder / "data/results" / KEY / name, FROZEN / name)
    shutil.copyfile(folder / "data/report/index.html", FROZEN / "index.html")
    about = {
        "commit": figures.get("commit"),
        "cells": len({row.fingerprint for row in rows}),
        "look": figures.get("look"),
    }
    (FROZEN / "about.json").write_text(json.dumps(about, indent=2) + "\n")
    print(f"{FROZEN}: tables, fit and page of {about['cells']} cells of commit {about['commit']}")
