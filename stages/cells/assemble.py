"""The tables of a study: one row of losses per planned row, curves and held-out blocks."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from crossover.base.canonical import digest
from crossover.base.errors import DamageError
from stages.cells.plan import Plan, PlannedRow, folder
from stages.cells.pool import run_pool
from stages.store.store import Record, Store
from stages.study.costs import count_flops, count_parameters
from stages.study.tables import BLOCKS, CURVES, LOSSES, read_csv, table, write_csv, write_parquet

_LOSSES = ("loss_validation", "loss_validation_se", "loss_seen", "loss_seen_se", "loss_fresh", "loss_fresh_se")
_NO_LOSSES = dict.fromkeys((*_LOSSES, "bits_per_byte"))
_TRAINED = ("status", "n_spikes", "loss_init", "loss_online")
_FAILED = {"status": "failed", "n_spikes": 0, "loss_init": None, "loss_online": None}
KEPT = 16
"""Blocks of each text that stay with the results."""
_NATS_PER_BIT = 0.6931471805599453


def evaluate_all(plan: Plan, store: Store, workers: int | None = None) -> None:
    """Take in what `dvc pull` brought, then evaluate the trained cells whose losses are stale."""
    store.adopt(folder(plan.study, plan.scale) / "cells", plan.cells)
    trained = {name: cell for name, cell in plan.cells.items() if store.record(name)}
    stale = [name for name, cell in trained.items() if not store.complete(name, plan.evaluation(cell))]
    run_pool(plan, stale, store, workers)


def write_tables(plan: Plan, store: Store, results: Path, home: Path) -> None:
    """Write losses.csv and blocks.parquet to `results`, curves.parquet to `home`.

    A cell that failed has a row without losses. Raises `DamageError` for one that is lost without having failed.
    """
    found = {fingerprint: _record(store, fingerprint) for fingerprint in plan.cells}
    records = {fingerprint: record for fingerprint, record in found.items() if record}
    done = {name: _evaluation(plan, store, record) for name, record in records.items() if record.status == "done"}
    rows = [_loss_row(plan, row, found[row.fingerprint], done.get(row.fingerprint)) for row in plan.rows]
    write_csv(results / "losses.csv", rows, LOSSES)
    write_parquet(home / "curves.parquet", pa.concat_tables(_curve(store, record) for record in records.values()))
    blocks = [row for name, losses in done.items() for row in _block_rows(name, losses)]
    write_parquet(results / "blocks.parquet", table(blocks, BLOCKS))


def read_curves(study: str, scale: str, columns: Sequence[str] = CURVES.names) -> pa.Table:
    """The curves of a study's cells. Raises `DamageError` where they are not here."""
    path = folder(study, scale) / "curves.parquet"
    try:
        return pa.parquet.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException):
        remedy = f"run `dvc repro evaluate@{study}-{scale}`, or `dvc pull` it"
        raise DamageError(f"{path} is missing or cannot be read; {remedy}") from None


@dataclass(frozen=True)
class Derivation:
    """Rows of a table of losses that were derived again, and which of them say something else."""

    rows: int
    altered: dict[int, str]
    """By number of the row: what it is called, with the first column that differs."""


def derive_again(plan: Plan, store: Store, path: Path) -> Derivation:
    """Rows of a table at `path` against the sealed records and evaluations that are at hand.

    Where a file is altered by hand and DVC told to take it, nothing but this shows it. Raises `DamageError` for a table
    that cannot be read or has other rows than the plan.
    """
    lines = read_csv(path, LOSSES).to_pylist()
    if [line["fingerprint"] for line in lines] != [row.fingerprint for row in plan.rows]:
        raise DamageError(f"{path} has other rows than the plan; run `dvc repro`")
    rows, altered = 0, {}
    for number, (row, line) in enumerate(zip(plan.rows, lines, strict=True)):
        record = store.record(row.fingerprint)
        losses = store.evaluation(row.fingerprint, plan.evaluation(row.cell)) if record else None
        if record is None or (record.status == "done" and losses is None):
            continue
        rows += 1
        (made,) = table([_loss_row(plan, row, record, losses)], LOSSES).to_pylist()
        if wrong := [name for name in made if made[name] != line[name]]:
            altered[number] = f"{row.recipe} width {row.cell.width} seed {row.cell.seed} ({wrong[0]})"
    return Derivation(rows, altered)


def _record(store: Store, fingerprint: str) -> Record | None:
    record = store.record(fingerprint)
    if record is None and store.failure(fingerprint) is None:
        raise DamageError(
            f"{store.folder(fingerprint)} holds no finished cell; `dvc repro --force "
            "--single-item train@STUDY-SCALE` trains it"
        )
    return record


def _evaluation(plan: Plan, store: Store, record: Record) -> dict[str, Any]:
    losses = store.evaluation(record.fingerprint, plan.evaluation(record.payload.cell))
    if losses is None:
        raise DamageError(f"{store.folder(record.fingerprint)} lacks the plan's evaluation; run `dvc repro`")
    return losses


def _loss_row(plan: Plan, row: PlannedRow, record: Record | None, losses: dict[str, Any] | None) -> dict[str, Any]:
    cell, counts, flops = row.cell, count_parameters(row.cell), count_flops(row.cell)
    payload = record.payload if record else plan.payload(cell)
    copied = ("seed", "width", "depth", "heads", "seq_len", "batch", "lr", "schedule", "beta1", "beta2",
              "weight_decay", "clip", "qk_norm", "precision", "tokens", "unique_tokens", "steps", "optimizer", "l2",
              "normalise", "activation", "hidden")  # fmt: skip
    counted = ("n_embedding", "n_head", "n_attention", "n_mlp", "n_norm", "n_nonembedding", "n_total")
    return {
        "study": plan.study,
        "scale": plan.scale,
        "recipe": row.recipe,
        "axes": json.dumps(row.axes, sort_keys=True),
        **{name: getattr(cell, name) for name in copied},
        "warmup": cell.warmup_steps,
        **({name: getattr(record, name) for name in _TRAINED} if record else _FAILED),
        **(_measured(plan, losses) if losses else _NO_LOSSES),
        **{name: getattr(counts, name) for name in counted},
        "flops_6n": flops.flops_6n,
        "flops_head": flops.flops_head,
        "flops_attention": flops.flops_attention,
        "structural_pair": row.structural_pair,
        "fingerprint": row.fingerprint,
        "tokenizer_digest": payload.tokenizer,
        "data_digest": digest(payload.data),
        "evaluation_digest": plan.evaluation(cell),
    }


def _measured(plan: Plan, losses: dict[str, Any]) -> dict[str, float]:
    bits = losses["loss_validation"] / _NATS_PER_BIT
    return {name: losses[name] for name in _LOSSES} | {"bits_per_byte": bits / plan.text.validation.bytes_per_token}


def _curve(store: Store, record: Record) -> pa.Table:
    curve = pa.parquet.read_table(store.verified(record, "curve.parquet"))
    names = pa.array([record.fingerprint] * len(curve), pa.string())
    return curve.add_column(0, "fingerprint", names).cast(CURVES)


def _block_rows(fingerprint: str, losses: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Few blocks of each text: enough to tell by how much another text would change a difference of two runs."""
    for text, blocks in losses["blocks"].items():
        tokens, means = np.array(blocks["tokens"]), np.array(blocks["losses"])
        for number, part in enumerate(np.array_split(np.arange(len(tokens)), min(KEPT, len(tokens)))):
            count = int(tokens[part].sum())
            loss = float(tokens[part] @ means[part]) / count
            yield {"fingerprint": fingerprint, "text": text, "block": number, "tokens": count, "loss": loss}
