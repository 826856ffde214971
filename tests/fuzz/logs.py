"""Logs of every kind that `crossover import` reads, whole, for the fuzzer to break one file of them."""

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossover.logs import Take, find_runs, propose, write_table
from tests.logs.encode import event_file, trainer_state, wandb_log
from tests.logs.test_lines import LLMC, MODDED, NANOGPT, TORCHTITAN

Reading = Literal["auto", "runs", "curves", "wide"]


@dataclass(frozen=True)
class Log:
    """How a broken file is read, and whole ones."""

    read: Callable[[Path], object]
    examples: list[bytes]
    suffix: str = ""


def _alone(reading: Reading = "auto") -> Callable[[Path], None]:
    def read(path: Path) -> None:
        taken(path, path.parent, reading)

    return read


def _within(place: str, **beside: str) -> Callable[[Path], None]:
    """Reads a folder in which the broken file lies at a place, among whole ones."""

    def read(path: Path) -> None:
        home = path.parent / "folder"
        shutil.rmtree(home, ignore_errors=True)
        for name, content in ({place: ""} | beside).items():
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        (home / place).write_bytes(path.read_bytes())
        taken(home, path.parent)

    return read


def taken(source: Path, folder: Path, reading: Reading = "auto") -> None:
    """Read, proposed, and one in eight written in every kind, which takes most of the time."""
    proposal = propose(find_runs([source], reading), {}, Take())
    written = zlib.crc32(proposal.table.to_csv().encode()) % 8 == 0
    for suffix in (".csv", ".jsonl", ".parquet") if written else ():
        write_table(folder / f"taken{suffix}", proposal.table)


_META = "run_id: abc\nrun_name: one\nexperiment_id: '1'\nstatus: 3\nlifecycle_stage: active\n"
_METRIC = "1700000000000 4.0 0\n1700000000001 3.0 10\n1700000000002 2.5 20\n"
_TSV = "timestamp\tstep\tloss\n1\t0\t4.0\n2\t1\t3.0\n"
_SUMMARY = json.dumps({"loss": 2.5, "_step": 20, "eval": {"loss": 2.6}, "_wandb": {"runtime": 3}})
_CONFIG = "wandb_version: 1\nlr:\n  desc: null\n  value: 0.1\nmodel:\n  value:\n    width: 64\n"
_CHART = "Step,a - loss,a - loss__MIN,a - loss__MAX,lr: 0.1 - loss\n0,4,4,4,4.5\n10,3,3,3,3.5\n20,2,2,2,2.5\n"
_STEPS = "step,loss,lr,optimizer\n0,4.0,0.1,adamw\n10,3.0,0.1,adamw\n20,2.5,0.05,adamw\n"
_LOCAL = "Modell;Parameter (M);Verlust;loss\na;1,5;4,25;3,5\nb;2.000,5;OOM;nan\n"
_HISTORY = json.dumps([{"_step": 0, "loss": 4.0}, {"_step": 5, "val": {"loss": 3.0}, "x": "NaN"}])
_RESULTS = '{"eval_loss": 2.0}'
_LINES = "".join(json.dumps({"step": step, "loss": 4 - step / 10, "note": "\u00e9"}) + "\n" for step in range(5))

LOGS = {
    "events": Log(_alone(), [event_file()], ".tfevents"),
    "two event files": Log(_within("events.out.tfevents.2"), [event_file((5.0, 4.0))]),
    "wandb log": Log(_alone(), [wandb_log()], ".wandb"),
    "history": Log(_alone(), [_HISTORY.encode()], ".json"),
    "lines of json": Log(_alone(), [_LINES.encode()], ".jsonl"),
    "trainer state": Log(_within("trainer_state.json", **{"all_results.json": _RESULTS}), [trainer_state()]),
    "results of a trainer": Log(
        _within("all_results.json", **{"trainer_state.json": trainer_state().decode()}), [_RESULTS.encode()]
    ),
    "steps": Log(_alone(), [_STEPS.encode()], ".csv"),
    "steps, stated": Log(_alone("curves"), [_STEPS.encode()], ".csv"),
    "decimal commas": Log(_alone("runs"), [_LOCAL.encode()], ".csv"),
    "chart": Log(_alone(), [_CHART.encode()], ".csv"),
    "columns of runs": Log(_alone("wide"), [_CHART.encode(), _STEPS.encode()], ".csv"),
    "printed lines": Log(_alone(), [text.encode() for text in (NANOGPT, MODDED, LLMC, TORCHTITAN)], ".log"),
    "mlflow's metric": Log(_within("1/abc/metrics/loss", **{"1/abc/meta.yaml": _META}), [_METRIC.encode()]),
    "mlflow's run": Log(_within("1/abc/meta.yaml", **{"1/abc/metrics/loss": _METRIC}), [_META.encode()]),
    "dvclive's plot": Log(
        _within("dvclive/plots/metrics/loss.tsv", **{"dvclive/metrics.json": '{"loss": 3.0}'}), [_TSV.encode()]
    ),
    "dvclive's metrics": Log(
        _within("dvclive/metrics.json", **{"dvclive/plots/metrics/loss.tsv": _TSV}), [b'{"loss": 3.0, "step": 1}']
    ),
    "wandb summary": Log(
        _within("run-20250101_120000-abc/files/wandb-summary.json",
                **{"run-20250101_120000-abc/files/config.yaml": _CONFIG}), [_SUMMARY.encode()]
    ),
    "wandb settings": Log(
        _within("run-20250101_120000-abc/files/config.yaml",
                **{"run-20250101_120000-abc/files/wandb-summary.json": _SUMMARY}), [_CONFIG.encode()]
    ),
}  # fmt: skip
"""By name; two kinds of one reader where it reads two files."""
