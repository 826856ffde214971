"""Writing shards: append whole shards to a split until it holds the tokens a plan needs.

A shard is written to the disk before the manifest that names it, so a killed run goes on where it stopped. A batch is
encoded on every core (the tokenizer's own threads) while the one before is written and the one after it is read; these
and one shard are all that is held in memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Encoding
from tokenizers import Tokenizer as Encoder

from crossover.base.files import sha256_file, write_bytes
from stages.shards.manifest import Shard, Split, Text

_BATCH = 256


@dataclass
class _Ending:
    """Where in the stream a document ends, and what it adds to the counts."""

    position: int
    bytes: int
    tokens: int
    dropped: bool


class ShardWriter:
    """Cuts a stream of documents into shards and keeps `split` in step with the disk."""

    def __init__(self, folder: Path, text: Text, split: Split, saved: Callable[[], None]) -> None:
        self._folder, self._text, self._split, self._saved = folder, text, split, saved
        self._written = split.tokens
        self._offset = split.shards[-1].offset if split.shards else 0
        self._position = self._written - self._offset
        self._skip = self._offset
        self._parts: list[np.ndarray] = []
        self._pending = 0
        self._endings: deque[_Ending] = deque()

    def add(self, ids: list[int], size: int, dropped: bool) -> None:
        """Append one document of `size` bytes; `ids` is empty for a dropped one."""
        fresh = np.array(ids[self._skip :], dtype=self._text.dtype)
        self._skip = 0
        self._parts.append(fresh)
        self._pending += len(fresh)
        self._position += len(ids)
        self._endings.append(_Ending(self._position, size, len(ids), dropped))
        while self._pending >= self._text.shard_tokens:
            self._flush(self._text.shard_tokens)

    def close(self) -> None:
        """The corpus is exhausted: write what is left as a short shard."""
        if self._pending:
            self._flush(self._pending)
        self._split.exhausted = True
        self._saved()

    def _flush(self, count: int) -> None:
        stream = np.concatenate(self._parts)
        self._parts, self._pending = [stream[count:]], self._pending - count
        self._written += count
        ended = [self._endings.popleft() for _ in range(self._ended())]
        last = ended[-1].position if ended else self._written - count - self._offset
        self._offset = self._written - last
        name = f"{len(self._split.shards):05d}.bin"
        path = self._folder / name
        write_bytes(path, stream[:count].astype(stream.dtype.newbyteorder("<")).tobytes())
        kept = [end for end in ended if not end.dropped]
        self._split.shards.append(
            Shard(
                file=name,
                tokens=count,
                sha256=sha256_file(path),
                documents=len(kept),
                dropped=len(ended) - len(kept),
                document_bytes=sum(end.bytes for end in kept),
                document_tokens=sum(end.tokens for end in kept),
                offset=self._offset,
            )
        )
        self._saved()

    def _ended(self) -> int:
        return sum(end.position <= self._written for end in self._endings)


def append(
    writer: ShardWriter,
    split: Split,
    documents: Iterable[str | None],
    encoder: Encoder,
    ending: int,
    need: int,
) -> None:
    """Append documents (None: dropped) until the split holds `need` tokens or the corpus ends."""
    waiting = iter(islice(documents, split.documents + split.dropped, None))
    for document, encoding in _encoded(waiting, encoder):
        if split.tokens >= need:
            return
        if document is None:
            writer.add([], 0, dropped=True)
        else:
            writer.add([*encoding.ids, ending], len(document.encode()), dropped=False)
    if split.tokens < need:
        writer.close()


def _encoded(documents: Iterator[str | None], encoder: Encoder) -> Iterator[tuple[str | None, Encoding]]:
    """Documents with their encodings, a batch ahead of whoever asks."""

    def encode(batch: list[str | None]) -> Iterator[tuple[str | None, Encoding]]:
        texts = [document or "" for document in batch]
        return zip(batch, encoder.encode_batch_fast(texts, add_special_tokens=False), strict=True)

    with ThreadPoolExecutor(1) as aside:
        ready = aside.submit(encode, list(islice(documents, _BATCH)))
        while batch := list(islice(documents, _BATCH)):
            following = aside.submit(encode, batch)
            yield from ready.result()
            ready = following
        yield from ready.result()
