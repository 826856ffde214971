"""Corpora: where documents come from. Everything is read through `datasets`, streamed, in a fixed order.

A corpus says what it is (`identity`, hashed with everything else that decides the tokens) and yields the documents of a
split. Whatever is wrong with a file becomes one line that names it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape, glob
from pathlib import Path
from typing import Any, Protocol

from crossover.base.errors import CrossoverError, UsageError
from crossover.base.hints import nearest
from stages.shards.manifest import SplitName
from stages.study.corpora import C4, Corpus, Files, Pydocs, noticed
from stages.tokens import pydocs
from stages.tokens.sources import digests

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

_BATCH = 256
_SPLITS: tuple[SplitName, ...] = ("train", "validation")
_READERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


class CorpusReader(Protocol):
    """Documents of a corpus."""

    def identity(self) -> dict[str, Any]:
        """Everything outside our code that decides the documents."""

    def documents(self, split: SplitName) -> Iterator[str]:
        """The documents of a split, always in the same order."""


def open_corpus(corpus: Corpus) -> CorpusReader:
    """The reader for an entry of params.yaml."""
    if isinstance(corpus, Pydocs):
        return _PydocsReader(corpus)
    return _C4Reader(corpus) if isinstance(corpus, C4) else _FilesReader(corpus)


def _library() -> Any:
    """`datasets`, imported late (seconds) and without log lines of its own: our errors name the file."""
    import datasets

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    return datasets


class _PydocsReader:
    def __init__(self, corpus: Pydocs) -> None:
        self._packages = corpus.packages
        self._read = {split: _Remembered(_pydocs(corpus, split == "validation")) for split in _SPLITS}

    def identity(self) -> dict[str, Any]:
        return pydocs.versions(self._packages)

    def documents(self, split: SplitName) -> Iterator[str]:
        return iter(self._read[split])


class _Remembered:
    """An iterator that can be started again without reading again: this corpus is small, and parsing it is not."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._seen: list[str] = []

    def __iter__(self) -> Iterator[str]:
        yield from self._seen
        for item in self._source:
            self._seen.append(item)
            yield item


def _pydocs(corpus: Pydocs, held_out: bool) -> Iterator[str]:
    datasets = _library()
    packages = tuple(corpus.packages)  # of a list, `datasets` would make shards and read one package after another
    settings = {"packages": packages, "held_out": held_out, "share": corpus.validation_share}
    stream = datasets.IterableDataset.from_generator(_as_rows, gen_kwargs=settings)
    yield from (row["text"] for row in stream)


def _as_rows(packages: tuple[str, ...], held_out: bool, share: float) -> Iterator[dict[str, str]]:
    return ({"text": text} for text in pydocs.documents(packages, held_out, share))


class _C4Reader:
    def __init__(self, corpus: C4) -> None:
        self._corpus = corpus
        self._local = corpus.outside is not None or noticed(corpus.path)
        if self._local and not Path(corpus.path).is_dir():
            raise UsageError(f"corpus c4: folder {corpus.path} is missing; correct `path` or name a hub repository")
        if not self._local and corpus.revision is None:
            raise UsageError(f"corpus c4: pin `revision` of hub repository {corpus.path} to a commit")

    def identity(self) -> dict[str, Any]:
        corpus = self._corpus
        if self._local:
            folder = Path(corpus.path)
            return digests({split: [folder / name for name in self._names(split)] for split in _SPLITS})
        return {"path": corpus.path, "revision": corpus.revision, "config": corpus.config}

    def documents(self, split: SplitName) -> Iterator[str]:
        for name in self._names(split):
            yield from _read(f"{self._corpus.path}/{name}", self._opener(name), "text")

    def _names(self, split: str) -> list[str]:
        corpus = self._corpus
        count = corpus.train_shards if split == "train" else corpus.validation_shards
        return [f"{corpus.config}/c4-{split}.{shard:05d}-of-{count:05d}.json.gz" for shard in range(count)]

    def _opener(self, name: str) -> Callable[[], Any]:
        datasets = _library()
        corpus = self._corpus
        if self._local:
            path = Path(corpus.path) / name
            if not path.exists():
                raise UsageError(f"{path} is missing; correct the shard counts of corpus c4")
            return lambda: datasets.load_dataset("json", data_files=_literal(path), split="train", streaming=True)
        return lambda: datasets.load_dataset(
            corpus.path, data_files={"train": name}, revision=corpus.revision, split="train", streaming=True
        )


class _FilesReader:
    def __init__(self, corpus: Files) -> None:
        self._corpus = corpus
        self._own_split = bool(corpus.validation)

    def identity(self) -> dict[str, Any]:
        return digests({split: self._paths(split) for split in (_SPLITS if self._own_split else _SPLITS[:1])})

    def documents(self, split: SplitName) -> Iterator[str]:
        for path in self._paths(split):
            for document in _read(str(path), self._opener(path), self._column(path)):
                if self._own_split or self._held_out(document) == (split == "validation"):
                    yield document

    def _paths(self, split: str) -> list[Path]:
        patterns = self._corpus.validation if split == "validation" and self._own_split else self._corpus.train
        paths = []
        for pattern in patterns:
            found = sorted(Path(name) for name in glob(pattern, recursive=True))  # noqa: PTH207 (patterns may be absolute)
            if not found:
                raise UsageError(f"corpus files: nothing matches '{pattern}'; correct the glob in params.yaml")
            paths += found
        return paths

    def _held_out(self, document: str) -> bool:
        share = int.from_bytes(hashlib.sha256(document.encode()).digest()[:8], "big") / 2**64
        return share < self._corpus.validation_share

    def _column(self, path: Path) -> str:
        return "text" if _reader(path) == "text" else self._corpus.text_column

    def _opener(self, path: Path) -> Callable[[], Any]:
        datasets = _library()
        options = {"sample_by": "document"} if _reader(path) == "text" else {}
        return lambda: datasets.load_dataset(
            _reader(path), data_files=_literal(path), split="train", streaming=True, **options
        )


def _literal(path: Path) -> str:
    """A path for a library that takes paths for globs, those of the folders above included."""
    return escape(str(path.absolute()))


def _reader(path: Path) -> str:
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix not in _READERS:
        raise UsageError(f"{path}: unknown format '{path.suffix}'; use {', '.join(_READERS)}, json or txt also as .gz")
    return _READERS[suffix]


def _read(name: str, opener: Callable[[], Any], column: str) -> Iterator[str]:
    """Documents of one file, empty ones skipped."""
    with _naming(name):
        for batch in opener().iter(batch_size=_BATCH):
            if column not in batch:
                raise UsageError(f"{name} has no column '{column}'; {nearest(column, list(batch))}")
            for text in batch[column]:
                if text:
                    yield text


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn what a broken file or an unreachable hub raises into one line that names it."""
    try:
        yield
    except (CrossoverError, GeneratorExit):
        raise
    except ConnectionError:
        raise CrossoverError(f"{name}: the hub cannot be reached; set HF_ENDPOINT or use a local folder") from None
    except StopIteration:  # how `datasets` meets a file without a row
        raise UsageError(f"{name} is empty; replace the file or take it out of the corpus") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UsageError(f"{name} cannot be read ({reason}); replace the file or take it out of the corpus") from error
