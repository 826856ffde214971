"""What a tokenized text consists of. One `index.json` describes every text below `data/tokens`.

Shards have a fixed size and are append-only, so a longer stream has the shorter one as its prefix, and a cell's
identity needs only the digests of the shards its own prefix touches.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from crossover.base.errors import DamageError, UsageError
from crossover.base.files import read_json

TOKENS = Path("data/tokens")
INDEX = TOKENS / "index.json"
_REMEDY = "delete data/tokens and run `dvc repro tokens`"

SplitName = Literal["train", "validation"]


class Shard(BaseModel):
    """One file of tokens, and the documents that end in it."""

    model_config = ConfigDict(extra="forbid")

    file: str
    tokens: int
    sha256: str
    documents: int
    dropped: int
    """Documents left out here because they equal, or nearly equal, a held-out one."""
    document_bytes: int
    """UTF-8 bytes of the `documents`."""
    document_tokens: int
    """Tokens of the `documents`, end-of-text included."""
    offset: int
    """Tokens at the end of the shard that belong to a document ending later: where appending goes on."""


class Split(BaseModel):
    """One split's shards."""

    model_config = ConfigDict(extra="forbid")

    shards: list[Shard] = []
    exhausted: bool = False
    """The corpus has no more documents; the last shard may be short."""

    @property
    def tokens(self) -> int:
        """Tokens in all shards."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def documents(self) -> int:
        """Documents that lie wholly in the shards."""
        return sum(shard.documents for shard in self.shards)

    @property
    def dropped(self) -> int:
        """Documents left out as duplicates of held-out ones."""
        return sum(shard.dropped for shard in self.shards)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of text per token, end-of-text included."""
        return sum(s.document_bytes for s in self.shards) / sum(s.document_tokens for s in self.shards)


class Text(BaseModel):
    """A corpus under a tokenizer."""

    model_config = ConfigDict(extra="forbid")

    identity: str
    """Digest of the corpus, the settings and the code that made it; another identity starts anew."""
    tokenizer_digest: str
    vocab_size: int
    end_of_text: int
    dtype: Literal["uint16", "uint32"]
    shard_tokens: int
    train: Split = Split()
    validation: Split = Split()

    def split(self, name: SplitName) -> Split:
        """The split of that name."""
        return self.train if name == "train" else self.validation

    def digests(self, name: SplitName, tokens: int) -> list[str]:
        """Digests of the shards that the first `tokens` tokens of a split touch.

        Raises `UsageError` where the split holds fewer.
        """
        split = self.split(name)
        if split.tokens < tokens:
            raise UsageError(f"the {name} split holds {split.tokens} tokens, {tokens} are needed; use a larger corpus")
        return [shard.sha256 for shard in split.shards[: -(-tokens // self.shard_tokens)]]


class Index(BaseModel):
    """Every tokenized text of a project."""

    model_config = ConfigDict(extra="forbid")

    texts: dict[str, Text]


def read_index(path: Path = INDEX) -> Index:
    """The index of all texts. Raises `DamageError` where it is missing or broken."""
    try:
        return Index.model_validate(read_json(path, _REMEDY))
    except ValidationError as error:
        raise DamageError(f"{path}: {error.errors()[0]['msg']}; {_REMEDY}") from None
