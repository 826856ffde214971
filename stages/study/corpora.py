"""params.yaml's texts: where documents come from, and the tokenizer that reads them."""

from typing import Annotated, Literal

from pydantic import Field

from crossover.base.fields import Count, Strict


class Tokenizer(Strict):
    """A byte-level BPE trained on the first `train_bytes` of the training split, or a given tokenizer.json."""

    vocab_size: Annotated[int, Field(ge=257, strict=True)]
    train_bytes: Count = 4_000_000
    file: str | None = None


class Pydocs(Strict):
    """Docstrings and prose of installed packages; `python` is the standard library."""

    kind: Literal["pydocs"]
    packages: Annotated[list[str], Field(min_length=1)]
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of the subpackages, each of which is held out as a whole or not at all."""


class C4(Strict):
    """C4's own layout, from the hub at a pinned revision or from a local folder."""

    kind: Literal["c4"]
    path: str = "allenai/c4"
    config: str = "en"
    revision: str | None = None
    train_shards: Count = 1024
    validation_shards: Count = 8


class Files(Strict):
    """Globs of txt, jsonl, json.gz or parquet. Without validation globs, documents are split by their digest."""

    kind: Literal["files"]
    train: Annotated[list[str], Field(min_length=1)]
    validation: list[str] = Field(default_factory=list)
    text_column: str = "text"
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.05


Corpus = Annotated[Pydocs | C4 | Files, Field(discriminator="kind")]
