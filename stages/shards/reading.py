"""Reading a prefix of a split, memory-mapped or as one array, after checking every shard it touches."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.base.errors import DamageError
from crossover.base.files import sha256_file
from stages.shards.manifest import TOKENS, Shard, SplitName, Text

TokenArray = npt.NDArray[Any]
"""uint16 or uint32."""


class Stream:
    """The first `tokens` tokens of parts laid end to end, which may lie on disk; all but the last are of one length."""

    def __init__(self, parts: Sequence[TokenArray], tokens: int) -> None:
        self._parts, self._tokens = parts, tokens

    @classmethod
    def of(cls, tokens: "TokenArray | Stream") -> "Stream":
        """A stream of one array, or the stream itself."""
        return tokens if isinstance(tokens, Stream) else cls([tokens], len(tokens))

    def __len__(self) -> int:
        return self._tokens

    @property
    def nbytes(self) -> int:
        """As one array."""
        return int(self._tokens * self._parts[0].itemsize)

    def whole(self) -> TokenArray:
        """All tokens in memory, shape (tokens,)."""
        last = self._tokens - len(self._parts[0]) * (len(self._parts) - 1)
        return np.concatenate([*self._parts[:-1], self._parts[-1][:last]])

    def blocks(self, starts: npt.NDArray[np.int64], length: int) -> TokenArray:
        """The `length` tokens from each of the starts on, shape (len(starts), length)."""
        blocks = np.empty((len(starts), length), self._parts[0].dtype)
        for block, start in zip(blocks, starts.tolist(), strict=True):
            self._fill(block, start)
        return blocks

    def _fill(self, block: TokenArray, start: int) -> None:
        done = 0
        while done < len(block):
            part, offset = divmod(start + done, len(self._parts[0]))
            piece = self._parts[part][offset : offset + len(block) - done]
            block[done : done + len(piece)] = piece
            done += len(piece)


def map_prefix(name: str, text: Text, split: SplitName, tokens: int, root: Path = TOKENS) -> Stream:
    """The first `tokens` tokens of a split, still on disk. Raises `DamageError` for an altered shard."""
    count = len(text.digests(split, tokens))
    shards = text.split(split).shards[:count]
    return Stream([_map_shard(root / name / split, shard, text.dtype) for shard in shards], tokens)


def read_prefix(name: str, text: Text, split: SplitName, tokens: int, root: Path = TOKENS) -> TokenArray:
    """The first `tokens` tokens of a split, shape (tokens,). Raises `DamageError` for an altered shard."""
    return map_prefix(name, text, split, tokens, root).whole()


def _map_shard(folder: Path, shard: Shard, dtype: str) -> TokenArray:
    path = folder / shard.file
    _verify(path, shard.sha256)
    return np.memmap(path, np.dtype(dtype).newbyteorder("<"), "r").view(dtype)


@cache
def _verify(path: Path, sha256: str) -> None:
    """Once per process and shard."""
    if not path.exists() or sha256_file(path) != sha256:
        raise DamageError(f"{path} is missing or altered; delete it and run `dvc repro -f tokens`")
