"""The gate on tokenized text, before anything is trained on it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stages.check.gate import Finding, Rule, run_gate
from stages.shards.manifest import TOKENS, Index, SplitName, Text
from stages.study.plan import TextNeed

_BYTES_PER_TOKEN = (1.0, 12.0)


def shard_table(index: Index, root: Path = TOKENS) -> pd.DataFrame:
    """One row per shard of every text: what the index says and what is on disk."""
    rows = [
        {
            "shard": f"{name}/{split}/{shard.file}",
            "tokens": shard.tokens,
            "capacity": text.shard_tokens,
            "documents": shard.documents,
            "bytes_on_disk": _size(root / name / split / shard.file),
            "bytes_expected": shard.tokens * (2 if text.dtype == "uint16" else 4),
            "sha256": shard.sha256,
        }
        for name, text in index.texts.items()
        for split in ("train", "validation")
        for shard in text.split(split).shards
    ]
    return pd.DataFrame(rows)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def split_table(index: Index, needs: dict[str, TextNeed]) -> pd.DataFrame:
    """One row per split of every text: what it holds and what the plan needs."""
    rows = []
    for name, need in needs.items():
        text = index.texts.get(name)
        wanted: dict[SplitName, int] = {"train": need.train_tokens, "validation": need.validation_tokens}
        rows += [
            {"split": f"{name}/{split}", **_held(text, split), "needed": tokens} for split, tokens in wanted.items()
        ]
    return pd.DataFrame(rows)


def _held(text: Text | None, split: SplitName) -> dict[str, float | None]:
    if text is None or not text.split(split).shards:
        return {"tokens": None, "bytes_per_token": None}
    part = text.split(split)
    return {"tokens": part.tokens, "bytes_per_token": part.bytes_per_token}


def document_table(index: Index, root: Path = TOKENS) -> pd.DataFrame:
    """One row per held-out document of every text: is it, token by token, one of the training documents as well?"""
    rows = []
    for name, text in index.texts.items():
        held_out = list(_documents(root / name, text, "validation"))
        unseen = set(held_out)
        for document in _documents(root / name, text, "train"):
            unseen.discard(document)
        rows += [
            {"document": f"{name}/validation/{number}", "trained_on": document not in unseen}
            for number, document in enumerate(held_out)
        ]
    return pd.DataFrame(rows, columns=["document", "trained_on"])


def _documents(folder: Path, text: Text, split: SplitName) -> Iterator[bytes]:
    """The tokens of every document that lies wholly in a split, as raw bytes."""
    dtype, left = np.dtype(text.dtype).newbyteorder("<"), b""
    for shard in text.split(split).shards:
        path = folder / split / shard.file
        tokens = np.fromfile(path, dtype) if path.exists() else np.empty(0, dtype)
        start = 0
        for end in (np.flatnonzero(tokens == text.end_of_text) + 1).tolist():
            yield left + tokens[start:end].tobytes()
            start, left = end, b""
        left += tokens[start:].tobytes()


def check_documents(table: pd.DataFrame) -> list[Finding]:
    """Rules on single held-out documents."""
    import great_expectations.expectations as gxe

    says = "no held-out document is trained on"
    return run_gate(
        table, "document", [Rule(says, gxe.ExpectColumnValuesToBeInSet(column="trained_on", value_set=[False]))]
    )


def check_shards(table: pd.DataFrame) -> list[Finding]:
    """Rules on single shards."""
    import great_expectations.expectations as gxe

    rules = [
        Rule("there is at least one shard", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        Rule("a shard has a size", gxe.ExpectColumnValuesToNotBeNull(column="tokens")),
        Rule(
            "a shard holds tokens",
            gxe.ExpectColumnValuesToBeBetween(column="tokens", min_value=1, max_value=1 << 40),
        ),
        Rule(
            "a shard holds no more than its capacity",
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="capacity", column_B="tokens", or_equal=True),
        ),
        Rule("a shard's file is there", gxe.ExpectColumnValuesToNotBeNull(column="bytes_on_disk")),
        Rule(
            "a shard's file has the size its tokens take",
            gxe.ExpectColumnPairValuesToBeEqual(column_A="bytes_on_disk", column_B="bytes_expected"),
        ),
        Rule(
            "a shard has a digest",
            gxe.ExpectColumnValuesToMatchRegex(column="sha256", regex="^[0-9a-f]{64}$"),
        ),
        Rule("a shard's digest is not null", gxe.ExpectColumnValuesToNotBeNull(column="sha256")),
        Rule(
            "no shard is there twice (train and validation are disjoint)",
            gxe.ExpectColumnValuesToBeUnique(column="sha256"),
        ),
    ]
    return run_gate(table, "shard", rules)


def check_splits(table: pd.DataFrame) -> list[Finding]:
    """Rules on whole splits."""
    import great_expectations.expectations as gxe

    low, high = _BYTES_PER_TOKEN
    rules = [
        Rule("a needed split is tokenized", gxe.ExpectColumnValuesToNotBeNull(column="tokens")),
        Rule(
            "a split holds the tokens that the plan needs",
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="tokens", column_B="needed", or_equal=True),
        ),
        Rule("bytes per token are known", gxe.ExpectColumnValuesToNotBeNull(column="bytes_per_token")),
        Rule(
            f"bytes per token lie in [{low:g}, {high:g}]",
            gxe.ExpectColumnValuesToBeBetween(column="bytes_per_token", min_value=low, max_value=high),
        ),
    ]
    return run_gate(table, "split", rules)
