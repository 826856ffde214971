"""params.yaml's texts: where documents come from, and the tokenizer that reads them."""

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crossover.base.fields import Count, Strict

SOURCES = "data/sources"
"""Where every text and tokenizer lies that the project did not make: the stage `tokens` depends on it as a whole."""


def noticed(path: str) -> bool:
    """Whether a path or glob lies below `SOURCES`, where DVC notices that a file changed."""
    parts = PurePosixPath(path).parts
    return "/".join(parts[:2]) == SOURCES and len(parts) > 2 and ".." not in parts


class Tokenizer(Strict):
    """A byte-level BPE trained on the first `train_bytes` of the training split, or a given tokenizer.json."""

    vocab_size: Annotated[int, Field(ge=257, strict=True)]
    train_bytes: Count = 4_000_000
    file: str | None = None

    @property
    def outside(self) -> str | None:
        """The file, where it lies out of `SOURCES`."""
        return self.file if self.file and not noticed(self.file) else None


class Pydocs(Strict):
    """Docstrings and prose of installed packages; `python` is the standard library."""

    kind: Literal["pydocs"]
    packages: Annotated[list[str], Field(min_length=1)]
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of the subpackages, each of which is held out as a whole or not at all."""
    outside: ClassVar[None] = None
    """It comes with the environment, whose versions are pinned."""


class C4(Strict):
    """C4's own layout, from the hub at a pinned revision or from a local folder."""

    kind: Literal["c4"]
    path: str = "allenai/c4"
    config: str = "en"
    revision: str | None = None
    train_shards: Count = 1024
    validation_shards: Count = 8

    @property
    def outside(self) -> str | None:
        """A folder that lies out of `SOURCES`; a repository of the hub is pinned and does not change."""
        named = PurePosixPath(self.path)
        folder = named.is_absolute() or self.path.startswith(".") or len(named.parts) > 2
        return self.path if folder and not noticed(self.path) else None


class Files(Strict):
    """Globs of txt, jsonl, json.gz or parquet. Without validation globs, documents are split by their digest."""

    kind: Literal["files"]
    train: Annotated[list[str], Field(min_length=1)]
    validation: list[str] = Field(default_factory=list)
    text_column: str = "text"
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.05

    @property
    def outside(self) -> str | None:
        """The first glob that leads out of `SOURCES`, if one does."""
        return next((name for name in (*self.train, *self.validation) if not noticed(name)), None)


Corpus = Annotated[Pydocs | C4 | Files, Field(discriminator="kind")]
