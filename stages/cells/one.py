"""One cell: look in the store; train, evaluate and record what is missing."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file

from crossover.base.files import replacing, sha256_file
from stages.cells.command import Left, run_command
from stages.cells.locking import alone
from stages.cells.plan import Plan
from stages.evaluate.losses import Evaluation, evaluate, summarise
from stages.model.transformer import Transformer, build
from stages.shards.reading import Stream, map_prefix, read_prefix
from stages.store.names import WORK
from stages.store.store import Provenance, Record, Store
from stages.study.cell import Cell
from stages.study.tables import CURVE, write_parquet
from stages.train.checkpoint import Checkpoint
from stages.train.loop import Curve, Trained, train
from stages.train.observer import Observer
from stages.train.ranks import ALONE, Ranks

CHECKPOINT_SECONDS = float(os.environ.get("CROSSOVER_CHECKPOINT_SECONDS", "30"))


@dataclass(frozen=True)
class Worker:
    """Brings cells of one plan to completion on one device."""

    plan: Plan
    store: Store
    device: torch.device
    ranks: Ranks = ALONE

    def complete(self, fingerprint: str, observe: Observer, stopping: Callable[[], bool]) -> Record:
        """Train and evaluate the cell as far as the store lacks it; returns its record."""
        self.plan.require_this_source()
        cell = self.plan.cells[fingerprint]
        record = self.store.record(fingerprint)
        if record and self.store.complete(fingerprint, self.plan.evaluation(cell)):
            self.store.settle(record)
            return record
        if not cell.trainer:
            return self._complete(cell, fingerprint, record, observe, stopping)
        with alone(self.store.folder(fingerprint) / WORK, stopping):
            return self._complete(cell, fingerprint, self.store.record(fingerprint), observe, stopping)

    def _complete(
        self, cell: Cell, fingerprint: str, record: Record | None, observe: Observer, stopping: Callable[[], bool]
    ) -> Record:
        if record is None:
            return self._train(cell, fingerprint, observe, stopping)
        if not self.store.complete(fingerprint, self.plan.evaluation(cell)):
            self._evaluate(cell, fingerprint, self._again(cell, record, observe, stopping))
        self.store.settle(record)
        return record

    def follow(self, fingerprint: str, stopping: Callable[[], bool]) -> None:
        """Take part in the training of a cell that another process records (see `stages.train.ranks`)."""
        self.plan.require_this_source()
        cell = self.plan.cells[fingerprint]
        trained = self._run(cell, None, lambda _: None, stopping)
        if self.ranks.sharded and not trained.diverged:
            self._losses(cell, trained.model)

    def _train(self, cell: Cell, fingerprint: str, observe: Observer, stopping: Callable[[], bool]) -> Record:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        folder = self.store.folder(fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        if cell.trainer:
            trained: Trained | Left = self._command(cell, fingerprint, observe, stopping)
        else:
            checkpoint = Checkpoint(_own(folder / "checkpoint.safetensors"), fingerprint)
            trained = self._run(cell, checkpoint, observe, stopping)
        files = {"curve.parquet": _write_curve(folder / "curve.parquet", cell, trained)}
        if not trained.diverged:
            if self.plan.keep == "final" and (weights := _write_weights(folder / "weights.safetensors", trained)):
                files["weights.safetensors"] = weights
            self._evaluate(cell, fingerprint, trained if isinstance(trained, Left) else trained.model)
        record = Record(
            fingerprint=fingerprint,
            payload=self.plan.payload(cell),
            status="diverged" if trained.diverged else "done",
            steps_done=trained.steps_done,
            n_spikes=trained.n_spikes(cell),
            loss_init=_finite(trained.loss_init),
            loss_online=trained.loss_online(cell),
            files=files,
            provenance=_provenance(self.device, started, trained, cell),
        )
        self.store.finish(record)
        return record

    def _run(
        self, cell: Cell, checkpoint: Checkpoint | None, observe: Observer, stopping: Callable[[], bool]
    ) -> Trained:
        tokens = self._stream(cell.unique_tokens + 1)
        return train(cell, tokens, self.device, checkpoint, CHECKPOINT_SECONDS, observe, stopping, ranks=self.ranks)

    def _command(self, cell: Cell, fingerprint: str, observe: Observer, stopping: Callable[[], bool]) -> Left:
        return run_command(self.plan, cell, self.store.folder(fingerprint) / WORK, self.device, observe, stopping)

    def _again(self, cell: Cell, record: Record, observe: Observer, stopping: Callable[[], bool]) -> Transformer | Left:
        """The final model from its kept weights, retrained where none were kept; a program evaluates its own."""
        if cell.trainer:
            return self._command(cell, record.fingerprint, observe, stopping)
        if "weights.safetensors" not in record.files:
            return self._run(cell, None, observe, stopping).model
        model = build(cell)
        model.load_state_dict(load_file(self.store.verified(record, "weights.safetensors")))
        return model.to(self.device)

    def _evaluate(self, cell: Cell, fingerprint: str, outcome: Transformer | Left) -> None:
        losses = self._losses(cell, outcome)
        self.store.put_evaluation(fingerprint, self.plan.evaluation(cell), asdict(losses))

    def _losses(self, cell: Cell, outcome: Transformer | Left) -> Evaluation:
        plan = self.plan
        held_out = read_prefix(plan.text_name, plan.text, "validation", plan.validation_tokens + 1)
        if isinstance(outcome, Left):
            return summarise(cell.seq_len, outcome.evaluated, held_out, plan.text.end_of_text)
        stream = self._stream(cell.reach(plan.seen_tokens))
        return evaluate(outcome, cell, stream, held_out, plan.text.end_of_text, plan.seen_tokens)

    def _stream(self, tokens: int) -> Stream:
        return map_prefix(self.plan.text_name, self.plan.text, "train", tokens)


def _write_curve(path: Path, cell: Cell, trained: Curve) -> str:
    steps = list(range(trained.steps_done))
    columns = {
        "step": steps,
        "tokens": [step * cell.batch * cell.seq_len for step in steps],
        "lr": trained.lrs,
        "loss": trained.losses.double().numpy(),
        "grad_norm": trained.grad_norms.double().numpy(),
    }
    write_parquet(path, pa.table(columns, schema=CURVE))
    return sha256_file(path)


def _write_weights(path: Path, trained: Trained | Left) -> str | None:
    """Digest of the kept weights; None where a program left none."""
    if isinstance(trained, Trained):
        with replacing(path) as draft:
            draft.touch()
            mode = draft.stat().st_mode
            save_file(trained.parameters, draft)
            draft.chmod(mode)  # it is written for its owner alone, whatever the umask says
    elif trained.weights:
        with replacing(path) as draft:
            shutil.copyfile(trained.weights, draft)
    else:
        return None
    return sha256_file(path)


def _own(checkpoint: Path) -> Path:
    """Where a checkpoint is kept; one of another user's that may not be read is given up for one of our own."""
    if checkpoint.exists() and not os.access(checkpoint, os.R_OK):
        checkpoint.unlink()
    return checkpoint


def _finite(value: float) -> float | None:
    return value if torch.isfinite(torch.tensor(value)) else None


def _provenance(device: torch.device, started: str, trained: Trained | Left, cell: Cell) -> Provenance:
    return Provenance(
        commit=_commit(),
        host=platform.node(),
        device=device_name(device),
        torch=torch.__version__,
        numpy=" ".join(filter(None, (np.__version__, os.environ.get("OPENBLAS_CORETYPE")))),
        python=platform.python_version(),
        started=started,
        seconds=round(trained.seconds, 2),
        tokens_per_second=round(trained.steps_done * cell.batch * cell.seq_len / trained.seconds, 1),
    )


def device_name(device: torch.device) -> str:
    """The processor's marketing name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str:
    """What $CROSSOVER_COMMIT says, else the working tree's commit, with `-dirty` where tracked files differ."""
    if told := os.environ.get("CROSSOVER_COMMIT"):
        return told
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
