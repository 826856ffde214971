"""Every table's Arrow schema in one place, with the meaning and unit of each column.

Writers go through `write_csv` or `write_parquet`, which refuse a column that is missing, unknown or of another type.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from crossover.base.errors import DamageError
from crossover.base.files import replacing

_F, _I, _S, _B = pa.float64(), pa.int64(), pa.string(), pa.bool_()


def _schema(*columns: tuple[str, pa.DataType, str]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"meaning": meaning}) for name, kind, meaning in columns])


LOSSES = _schema(
    ("study", _S, "name in params.yaml"),
    ("scale", _S, "name in params.yaml"),
    ("recipe", _S, "name in params.yaml"),
    ("axes", _S, "value of each of the study's axes, as JSON"),
    ("seed", _I, "decides initialisation and data order"),
    ("width", _I, "D, model width"),
    ("depth", _I, "L, layers"),
    ("heads", _I, "attention heads"),
    ("seq_len", _I, "S, tokens per sequence"),
    ("batch", _I, "B, sequences per step"),
    ("lr", _F, "peak learning rate"),
    ("schedule", _S, "cosine or constant"),
    ("warmup", _I, "warmup steps"),
    ("beta1", _F, "AdamW"),
    ("beta2", _F, "AdamW"),
    ("weight_decay", _F, "independent weight decay per step at peak learning rate"),
    ("optimizer", _S, "adamw or lion"),
    ("l2", _F, "coefficient of the loss term l2 / 2 x sum of squared matrices"),
    ("clip", _F, "global gradient norm limit; null: none"),
    ("normalise", _B, "each tensor's gradient is divided by its norm"),
    ("activation", _S, "gelu or geglu"),
    ("hidden", _I, "F, inner width of the MLP"),
    ("qk_norm", _B, "queries and keys are normalised"),
    ("precision", _S, "fp32, tf32 or bf16"),
    ("tokens", _I, "tokens trained on, repeats included"),
    ("unique_tokens", _I, "distinct tokens trained on"),
    ("steps", _I, "planned optimizer steps"),
    ("status", _S, "done, diverged, or failed: its training crashed, so that nothing is known of it"),
    ("n_spikes", _I, "steps whose loss lies 7 standard deviations above the preceding window"),
    ("loss_init", _F, "nats/token, first batch before any update"),
    ("loss_validation", _F, "nats/token, final model on the held-out split; null: diverged"),
    ("loss_validation_se", _F, "nats/token, standard error over blocks of documents"),
    ("loss_seen", _F, "nats/token, final model on windows sampled from those it trained on"),
    ("loss_seen_se", _F, "nats/token, standard error over runs of windows"),
    ("loss_fresh", _F, "nats/token, final model on windows that follow those it trained on in the stream"),
    ("loss_fresh_se", _F, "nats/token, standard error over runs of windows"),
    (
        "loss_online",
        _F,
        "nats/token, mean over the last tenth of the first pass, before each window's first use",
    ),
    ("bits_per_byte", _F, "loss_validation in bits per byte of text"),
    ("n_embedding", _I, "parameters: embedding"),
    ("n_head", _I, "parameters: output head"),
    ("n_attention", _I, "parameters: attention matrices"),
    ("n_mlp", _I, "parameters: MLP matrices"),
    ("n_norm", _I, "parameters: norm gains"),
    ("n_nonembedding", _I, "n_attention + n_mlp; 12 L D^2 where F = 4D"),
    ("n_total", _I, "all parameters"),
    ("flops_6n", _F, "FLOP, 6 n_nonembedding tokens"),
    ("flops_head", _F, "FLOP, 6 n_head tokens"),
    ("flops_attention", _F, "FLOP, 12 L D S tokens"),
    ("structural_pair", _B, "another recipe's row is this very run"),
    ("fingerprint", _S, "identity of the cell"),
    ("tokenizer_digest", _S, "SHA-256"),
    ("data_digest", _S, "digest of the shards the cell reads"),
    ("evaluation_digest", _S, "digest of held-out data, settings and code of the evaluation"),
)

RUNS = _schema(
    ("fingerprint", _S, "identity of the cell"),
    ("device", _S, "processor that trained it"),
    ("host", _S, "machine that trained it"),
    ("torch", _S, "torch version and build"),
    ("numpy", _S, "NumPy version, whose BLAS multiplies matrices on a CPU, and its kernels where they were named"),
    ("python", _S, "Python version"),
    ("commit", _S, "commit of the working tree that trained it"),
    ("started", _S, "UTC, ISO 8601"),
    ("seconds", _F, "s, training and evaluation, all attempts"),
    ("tokens_per_second", _F, "tokens/s of the training loop"),
)

CURVES = _schema(
    ("fingerprint", _S, "identity of the cell"),
    ("step", _I, "optimizer step, from 0"),
    ("tokens", _I, "tokens seen before the step"),
    ("lr", _F, "learning rate of the step"),
    ("loss", _F, "nats/token on the step's batch before the update"),
    ("grad_norm", _F, "global gradient norm before clipping"),
)

CURVE = pa.schema([field for field in CURVES if field.name != "fingerprint"])

BLOCKS = _schema(
    ("fingerprint", _S, "identity of the cell"),
    ("text", _S, "validation, seen or fresh"),
    ("block", _I, "number of the block of consecutive documents or windows"),
    ("tokens", _I, "tokens in the block"),
    ("loss", _F, "nats/token, mean over the block"),
)


def table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of exactly that schema. Raises ValueError for a missing or unknown column."""
    for row in rows:
        if row.keys() != set(schema.names):
            wrong = sorted(row.keys() ^ set(schema.names))
            raise ValueError(f"columns {', '.join(wrong)} do not fit the schema")
    return pa.Table.from_pylist(rows, schema=schema)


def write_csv(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as CSV, atomically. Floats keep every digit; null is an empty field."""
    with replacing(path) as draft:
        pyarrow.csv.write_csv(table(rows, schema), draft, pyarrow.csv.WriteOptions(quoting_style="needed"))


def read_csv(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a CSV that `write_csv` wrote, with the schema's types. Raises `DamageError` for any other file."""
    convert = pyarrow.csv.ConvertOptions(
        column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    try:
        content = pyarrow.csv.read_csv(path, convert_options=convert)
    except FileNotFoundError:
        raise DamageError(f"{path} is missing; run `dvc repro`") from None
    except pa.ArrowInvalid as error:
        raise DamageError(f"{path} cannot be read ({str(error).splitlines()[0]}); run `dvc repro`") from None
    if content.schema.names != schema.names:
        raise DamageError(f"{path} has other columns than this version's; run `dvc repro`")
    return content


def write_parquet(path: Path, content: pa.Table) -> None:
    """Write a table as Parquet, atomically."""
    with replacing(path) as draft:
        pyarrow.parquet.write_table(content, draft, compression="zstd")
