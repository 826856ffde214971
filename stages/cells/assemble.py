"""The tables of a study: one row of losses per planned row, curves and held-out blocks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from crossover.base.canonical import digest
from crossover.base.errors import DamageError
from stages.cells.plan import Plan, PlannedRow
from stages.store.store import Record, Store
from stages.study.costs import count_flops, count_parameters
from stages.study.tables import BLOCKS, CURVES, LOSSES, table, write_csv, write_parquet

_LOSSES = ("loss_validation", "loss_validation_se", "loss_seen", "loss_seen_se", "loss_fresh", "loss_fresh_se")
_NO_LOSSES = dict.fromkeys((*_LOSSES, "bits_per_byte"))
_TRAINED = ("status", "n_spikes", "loss_init", "loss_online")
_FAILED = {"status": "failed", "n_spikes": 0, "loss_init": None, "loss_online": None}
KEPT = 16
"""Blocks of each text that stay with the results."""
_NATS_PER_BIT = 0.6931471805599453


def write_tables(plan: Plan, store: Store, results: Path, folder: Path) -> None:
    """Write losses.csv and blocks.parquet to `results`, curves.parquet to `folder`.

    A cell that failed has a row without losses. Raises `DamageError` for one that is lost without having failed.
    """
    found = {fingerprint: _record(store, fingerprint) for fingerprint in plan.cells}
    records = {fingerprint: record for fingerprint, record in found.items() if record}
    done = {name: _evaluation(plan, store, record) for name, record in records.items() if record.status == "done"}
    rows = [_loss_row(plan, row, found[row.fingerprint], done.get(row.fingerprint)) for row in plan.rows]
    write_csv(results / "losses.csv", rows, LOSSES)
    write_parquet(folder / "curves.parquet", pa.concat_tables(_curve(store, record) for record in records.values()))
    blocks = [row for name, losses in done.items() for row in _block_rows(name, losses)]
    write_parquet(results / "blocks.parquet", table(blocks, BLOCKS))


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
