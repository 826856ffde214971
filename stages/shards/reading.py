"""Reading a prefix of a split as one array, after checking every shard it touches."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.shards.manifest import TOKENS, Shard, SplitName, Text
from stages.study.errors import DamageError
from stages.study.files import sha256_file

TokenArray = npt.NDArray[Any]
"""uint16 or uint32."""


def read_prefix(name: str, text: Text, split: SplitName, tokens: int, root: Path = TOKENS) -> TokenArray:
    """The first `tokens` tokens of a split, shape (tokens,). Raises `DamageError` for an altered shard."""
    count = len(text.digests(split, tokens))
    parts = [_read_shard(root / name / split, shard, text.dtype) for shard in text.split(split).shards[:count]]
    return np.concatenate(parts)[:tokens]


def _read_shard(folder: Path, shard: Shard, dtype: str) -> TokenArray:
    path = folder / shard.file
    _verify(path, shard.sha256)
    tokens: TokenArray = np.fromfile(path, dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False)
    return tokens


@cache
def _verify(path: Path, sha256: str) -> None:
    """Once per process and shard."""
    if not path.exists() or sha256_file(path) != sha256:
        raise DamageError(f"{path} is missing or altered; delete it and run `dvc repro -f tokens`")
