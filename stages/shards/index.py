"""The index of the token texts as everybody reads it who did not just write it: its names stay in their folders.

A module beside `stages.shards.manifest`, whose source decides what cells are called: it may not change for this.
"""

import re
from pathlib import Path

from crossover.base.errors import DamageError
from stages.shards import manifest
from stages.shards.manifest import Index, Text

_SHARD = re.compile(r"[0-9]+\.bin")


def strange_name(name: str, text: Text) -> str | None:
    """The first name in a text's manifest that is not of the kind we write; it could lead out of the text's folder."""
    if name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
        return name
    shards = (*text.train.shards, *text.validation.shards)
    return next((shard.file for shard in shards if not _SHARD.fullmatch(shard.file)), None)


def read_index(path: Path = manifest.INDEX) -> Index:
    """The index of all texts. Raises `DamageError` where it is missing, broken, or names other files than shards."""
    index = manifest.read_index(path)
    for name, text in index.texts.items():
        if (strange := strange_name(name, text)) is not None:
            remedy = f"delete {manifest.TOKENS} and run `dvc repro tokens`"
            raise DamageError(f"{path} names {strange[:200]!r}, which is no shard of a text; {remedy}")
    return index
