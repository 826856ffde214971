"""A hundred thousand cells: plan, the plan stage, status with every cell stored, fit inputs, fit, report and diff.

A project of one study of 126,400 rows whose store holds a record for every cell and whose tables are made up from the
plan; only the numbers in them are invented. Every command runs in a process of its own; wall seconds and peak memory.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from crossover.base.files import _sealed, write_json
from stages.cells.assemble import _loss_row
from stages.cells.plan import Plan, folder, read_plan
from stages.shards.manifest import INDEX, Index, Shard, Split, Text
from stages.store.store import Provenance, Record, Store
from stages.study.costs import count_flops
from stages.study.params import load_params
from stages.study.tables import LOSSES, write_csv
from tests.bench.keeping import keep
from tests.conftest import REPOSITORY

STUDY: dict[str, Any] = {
    "title": "A hundred thousand cells", "seeds": 79, "hours": {"pocket": 1e9}, "pairs": [["constant", "inverse"]],
    "recipes": {"constant": {"label": "constant LR"}, "inverse": {"label": "LR ~ 1/D", "lr": {"exponent": -1}}},
    "axes": {"lr_octaves": [number / 10 for number in range(50)], "tokens_factor": [0.5, 1, 2, 4]},
}  # fmt: skip
COMMANDS = {
    "crossover plan": "crossover plan",
    "stage plan": "stages.cells plan books pocket",
    "crossover status": "crossover status",
    "stage fit": "stages.fit books pocket",
    "stage report": "stages.report",
    "crossover diff": "crossover diff HEAD",
}


def lay_out() -> None:
    """Params, and an index of tokens that were never written: a plan reads their digests only."""
    yaml = YAML()
    values = yaml.load(REPOSITORY / "params.yaml")
    values.update(studies={"books": STUDY}, active={"books-pocket": {"study": "books", "scale": "pocket"}}, claims={})
    yaml.dump(values, Path("params.yaml"))
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")
    scale = load_params().scale("pocket")
    size = scale.shard_tokens
    shards = [Shard(file=f"{n:05d}.bin", tokens=size, sha256=f"{n:064x}", documents=1, dropped=0, document_bytes=size,
                    document_tokens=size, offset=0) for n in range(64)]  # fmt: skip
    split = Split(shards=shards)
    text = Text(identity="", tokenizer_digest="t", vocab_size=scale.tokenizer.vocab_size, end_of_text=0, dtype="uint16",
                shard_tokens=size, train=split, validation=split.model_copy(deep=True))  # fmt: skip
    write_json(INDEX, Index(texts={scale.text: text}).model_dump())


def fill(plan: Plan) -> None:
    """A record for every cell, without waiting for the disk, and the study's tables and gates."""
    store, generator = Store(), np.random.default_rng(0)
    where = Provenance(commit="c", host="h", device="d", torch="t", python="p", started="s", seconds=1.0,
                       tokens_per_second=1.0)  # fmt: skip
    records = {}
    for name, cell in plan.cells.items():
        records[name] = record = Record(
            fingerprint=name, payload=plan.payload(cell), status="done", steps_done=cell.steps, n_spikes=0,
            loss_init=7.0, loss_online=4.0, files={"curve.parquet": "0" * 64}, provenance=where,
        )  # fmt: skip
        store.folder(name).mkdir(parents=True)
        text = json.dumps(record.model_dump(), indent=1).encode()
        (store.folder(name) / "record.json").write_bytes(_sealed(text))
    rows = []
    for row in plan.rows:
        loss = 2 + 40 * count_flops(row.cell).total ** -0.1 + 0.02 * generator.normal()
        names = ("validation", "seen", "fresh")
        losses = {f"loss_{name}": loss for name in names} | {f"loss_{name}_se": 0.01 for name in names}
        rows.append(_loss_row(plan, row, records[row.fingerprint], losses))
    results, larger = Path("data/results/books-pocket"), folder("books", "pocket")
    write_csv(results / "losses.csv", rows, LOSSES)
    pd.DataFrame({"fingerprint": list(records), "loss": 4.0}).to_parquet(larger / "curves.parquet")
    for path in (results / "losses.check.json", Path("data/results/tokens.check.json")):
        write_json(path, {"passed": True, "rules": []})
    write_json(Path("data/verdicts/verdicts.json"), [])


def timed(command: str) -> dict[str, float]:
    """Wall and processor seconds and peak memory of a command in a process of its own."""
    started, output = time.monotonic(), Path("output.txt")
    with output.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", *command.split()], stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{command}: {output.read_text()[-2000:]}")
    return {
        "seconds": time.monotonic() - started, "user_seconds": used.ru_utime, "peak_mb": used.ru_maxrss / 1024
    }  # fmt: skip


def main() -> None:
    """Measure, print and keep."""
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    home, figures = Path.cwd(), {}
    memory = Path("/dev/shm")  # 101,120 small files take minutes on some disks, before anything is measured
    with tempfile.TemporaryDirectory(dir=memory if memory.exists() else None) as name:
        os.chdir(name)
        lay_out()
        for label, command in COMMANDS.items():
            if label == "crossover status":
                fill(read_plan("books", "pocket"))
                _commit()
            figures[label] = timed(command)
        os.chdir(home)
    table = Table("", "seconds", "of processor", "peak MB", title="126,400 rows, 101,120 cells, all stored")
    for label, item in figures.items():
        table.add_row(label, f"{item['seconds']:.1f}", f"{item['user_seconds']:.1f}", f"{item['peak_mb']:,.0f}")
    Console().print(table)
    keep("books", figures)


def _commit() -> None:
    identity = "-c user.name=b -c user.email=b@b"
    for words in ("init -q .", "add params.yaml dvc.yaml data/results", f"{identity} commit -qm b"):
        subprocess.run(["git", *words.split()], check=True)


if __name__ == "__main__":
    main()
