"""The tools that people watch training in, through their own libraries, which are imported where one is asked for."""

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from stages.live.events import Begun, Told

JOURNAL = "journal"
_KEPT = 7 * 86400.0  # seconds for which journals stay


def installed(name: str) -> bool:
    """Whether a library can be imported, without importing it."""
    return importlib.util.find_spec(name) is not None


class Sink:
    """Somewhere that curves go. The kinds of it are below, and do what these methods say."""

    def begin(self, cell: Begun) -> None:
        """A cell begins, or goes on from its checkpoint."""
        raise NotImplementedError

    def tell(self, cell: Begun, told: Told) -> None:
        """Some of its points."""
        raise NotImplementedError

    def end(self, cell: Begun, status: str) -> None:
        """It is `done`, `diverged`, or was `stopped`."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing more comes."""
        raise NotImplementedError


class Journal(Sink):
    """A line per event, in a file of this process."""

    def __init__(self, folder: Path) -> None:
        folder = folder / JOURNAL
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.jsonl"):
            if old.stat().st_mtime < time.time() - _KEPT:
                old.unlink(missing_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        self._file = (folder / f"{stamp}-{os.getpid()}.jsonl").open("a", encoding="utf-8")

    def begin(self, cell: Begun) -> None:
        self._write("begin", cell, asdict(cell))

    def tell(self, cell: Begun, told: Told) -> None:
        self._write("told", cell, asdict(told))

    def end(self, cell: Begun, status: str) -> None:
        self._write("end", cell, {"status": status})

    def close(self) -> None:
        self._file.close()

    def _write(self, kind: str, cell: Begun, more: dict[str, Any]) -> None:
        line = {"kind": kind, "time": time.time(), **more, "fingerprint": cell.fingerprint}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _folder_of(cell: Begun) -> Path:
    return Path(cell.study) / f"{cell.recipe}-w{cell.width}-s{cell.seed}-{cell.fingerprint[:8]}"


def _settings(cell: Begun) -> dict[str, Any]:
    return {**asdict(cell), "axes": json.dumps(json.loads(cell.axes))}


def _rows(cell: Begun, told: Told) -> Iterator[tuple[int, dict[str, float]]]:
    """Steps, and what is known and finite there."""
    for step, loss, lr, norm in zip(told.steps, told.losses, told.lrs, told.grad_norms, strict=True):
        values = {"loss": loss, "lr": lr, "grad_norm": norm, "tokens": float(step * cell.tokens_per_step)}
        yield step, {name: value for name, value in values.items() if isfinite(value)}


class TensorBoard(Sink):
    """Event files below data/live/tensorboard, a folder per cell: `tensorboard --logdir data/live/tensorboard`."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._make, self._folder = EventFileWriter, folder / "tensorboard"
        self._writers: dict[str, Any] = {}

    def begin(self, cell: Begun) -> None:
        self._writers.pop(cell.fingerprint, None)

    def tell(self, cell: Begun, told: Told) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        writer = self._writers.get(cell.fingerprint) or self._open(cell, told)
        for step, values in _rows(cell, told):
            parts = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
            writer.add_event(Event(wall_time=told.time, step=step, summary=Summary(value=parts)))
        writer.flush()

    def _open(self, cell: Begun, told: Told) -> Any:
        """A cell that begins anew begins its folder anew; one that goes on adds a file, as TensorBoard expects."""
        place = self._folder / _folder_of(cell)
        if told.steps[0] <= max(1, cell.steps // 200):
            shutil.rmtree(place, ignore_errors=True)
        self._writers[cell.fingerprint] = self._make(str(place))
        return self._writers[cell.fingerprint]

    def end(self, cell: Begun, status: str) -> None:  # noqa: ARG002
        if writer := self._writers.pop(cell.fingerprint, None):
            writer.close()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class Wandb(Sink):
    """A run per cell, a group per study; project, entity and mode are those of W&B's own variables."""

    def __init__(self, folder: Path) -> None:
        import wandb

        self._wandb, self._folder = wandb, folder
        self._runs: dict[str, Any] = {}

    def begin(self, cell: Begun) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._runs[cell.fingerprint] = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "crossover"), group=cell.study, name=cell.name,
            config=_settings(cell), dir=str(self._folder), reinit="create_new",
        )  # fmt: skip

    def tell(self, cell: Begun, told: Told) -> None:
        for step, values in _rows(cell, told):
            self._runs[cell.fingerprint].log(values, step=step)

    def end(self, cell: Begun, status: str) -> None:
        run = self._runs.pop(cell.fingerprint)
        run.summary["status"] = status
        run.finish(exit_code=0 if status == "done" else 1)

    def close(self) -> None:
        for run in self._runs.values():
            run.finish(exit_code=1)


class Mlflow(Sink):
    """A run per cell in the experiment of its study, at MLFLOW_TRACKING_URI or below data/live/mlruns."""

    def __init__(self, folder: Path) -> None:
        from mlflow.tracking import MlflowClient

        place = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").absolute().as_uri()
        self._client = MlflowClient(tracking_uri=place)
        self._runs: dict[str, str] = {}

    def begin(self, cell: Begun) -> None:
        known = self._client.get_experiment_by_name(cell.study)
        experiment = known.experiment_id if known else self._client.create_experiment(cell.study)
        run = self._client.create_run(experiment, run_name=cell.name)
        self._runs[cell.fingerprint] = run.info.run_id
        for name, value in _settings(cell).items():
            self._client.log_param(run.info.run_id, name, value)

    def tell(self, cell: Begun, told: Told) -> None:
        for step, values in _rows(cell, told):
            for name, value in values.items():
                self._client.log_metric(self._runs[cell.fingerprint], name, value, int(told.time * 1000), step)

    def end(self, cell: Begun, status: str) -> None:
        done = "FINISHED" if status == "done" else "FAILED"
        self._client.set_terminated(self._runs.pop(cell.fingerprint), done)

    def close(self) -> None:
        for run in self._runs.values():
            self._client.set_terminated(run, "KILLED")


class DvcLive(Sink):
    """A folder per cell below data/live/dvclive, as DVC's editor extension shows it."""

    def __init__(self, folder: Path) -> None:
        from dvclive.live import Live

        self._make, self._folder = Live, folder / "dvclive"
        self._runs: dict[str, Any] = {}

    def begin(self, cell: Begun) -> None:
        place = str(self._folder / _folder_of(cell))
        self._runs[cell.fingerprint] = self._make(place, save_dvc_exp=False, dvcyaml=None, monitor_system=False)
        self._runs[cell.fingerprint].log_params(_settings(cell))

    def tell(self, cell: Begun, told: Told) -> None:
        run = self._runs[cell.fingerprint]
        for step, values in _rows(cell, told):
            run.step = step
            for name, value in values.items():
                run.log_metric(name, value)
        run.make_summary()

    def end(self, cell: Begun, status: str) -> None:  # noqa: ARG002
        self._runs.pop(cell.fingerprint).end()

    def close(self) -> None:
        for run in self._runs.values():
            run.end()


SINKS: dict[str, Callable[[Path], Sink]] = {
    "tensorboard": TensorBoard, "wandb": Wandb, "mlflow": Mlflow, "dvclive": DvcLive,
}  # fmt: skip
