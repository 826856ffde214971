"""Tokenization from the corpus to shards on disk, against bare `encode_batch` of the same text held in memory.

Text: C4 and books from `../shared/corpus` where they are at hand, else the documentation in this Python's packages.
A vocabulary of 8,192 trained on the first megabyte. Both use every core. Memory: the peak of a process that tokenizes
the text once, and of one that does it ten times over.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer as Encoder

from stages.shards.manifest import SplitName, Text
from stages.study.corpora import C4, Pydocs, Tokenizer
from stages.tokens.corpora import CorpusReader, open_corpus
from stages.tokens.tokenizer import end_of_text, make_tokenizer
from stages.tokens.writing import ShardWriter, append
from tests.bench.keeping import keep
from tests.conftest import SHARED

BYTES = 24_000_000
ROUNDS = 3


def corpora() -> list[CorpusReader]:
    """What is read, one after the other."""
    if not (SHARED / "corpus").exists():
        return [open_corpus(Pydocs(packages=["numpy", "scipy", "pandas", "torch", "sympy"]))]
    sample = C4(kind="c4", path=str(SHARED / "corpus/c4_sample"), train_shards=2, validation_shards=2)
    return [open_corpus(sample), Books()]


class Books:
    """The first shard of the books: one file, read as `datasets` does."""

    own_split = True

    def documents(self, _: SplitName) -> Iterator[str]:
        from stages.study.corpora import Files

        folder = SHARED / "corpus/mixed_en/en"
        paths = sorted(map(str, folder.glob("c4-train.*")))
        return open_corpus(Files(kind="files", train=paths, validation=paths)).documents("train")


def documents(repeats: int = 1) -> Iterator[str]:
    """About `BYTES` of text, again and again."""
    for _ in range(repeats):
        left = BYTES
        for document in chain.from_iterable(corpus.documents("train") for corpus in corpora()):
            yield document
            left -= len(document.encode())
            if left <= 0:
                break


def bare(encoder: Encoder, texts: list[str]) -> float:
    """Seconds of `encode_batch` alone, a thousand documents at a time."""
    started = time.perf_counter()
    waiting = iter(texts)
    while batch := list(islice(waiting, 1000)):
        encoder.encode_batch(batch, add_special_tokens=False)
    return time.perf_counter() - started


def ours(encoder: Encoder, folder: Path, repeats: int = 1) -> tuple[float, int]:
    """Seconds from the corpus to shards, and tokens."""
    text = Text(
        identity="", tokenizer_digest="", vocab_size=8192, end_of_text=end_of_text(encoder), dtype="uint16",
        shard_tokens=1 << 20,
    )  # fmt: skip
    started = time.perf_counter()
    writer = ShardWriter(folder, text, text.train, lambda: None)
    append(writer, text.train, documents(repeats), encoder, text.end_of_text, sys.maxsize)
    return time.perf_counter() - started, text.train.tokens


def peak_mb(tokenizer: Path, repeats: int) -> float:
    """Peak memory of a process of its own."""
    command = [sys.executable, "-m", "tests.bench.tokens", str(tokenizer), str(repeats)]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def main() -> None:
    """Measure, print and keep; or, as a child, tokenize and tell the peak."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) > 1:
            ours(Encoder.from_file(sys.argv[1]), folder / "shards", int(sys.argv[2]))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            return
        texts = list(documents())
        size = sum(len(text.encode()) for text in texts)
        spec = Tokenizer(vocab_size=8192, train_bytes=1_000_000)
        encoder = make_tokenizer(spec, iter(texts), folder / "tokenizer.json")
        rounds = [(bare(encoder, texts), ours(encoder, folder / f"{n}")[0]) for n in range(ROUNDS)]
        plain, whole = (min(column) for column in zip(*rounds, strict=True))
        once, tenfold = (peak_mb(folder / "tokenizer.json", repeats) for repeats in (1, 10))
    figures = {
        "text_mb": size / 1e6, "bare_mb_per_second": size / 1e6 / plain, "ours_mb_per_second": size / 1e6 / whole,
        "ratio": plain / whole, "peak_mb": once, "peak_mb_tenfold": tenfold,
    }  # fmt: skip
    table = Table("", "MB/s", title=f"tokenization of {size / 1e6:.0f} MB")
    table.add_row("bare encode_batch", f"{figures['bare_mb_per_second']:.2f}")
    table.add_row("ours, corpus to shards", f"{figures['ours_mb_per_second']:.2f}")
    table.add_row("ratio", f"{figures['ratio']:.2f}")
    Console().print(table)
    print(f"peak memory {once:.0f} MB; {tenfold:.0f} MB for ten times the text")
    keep("tokens", figures)


if __name__ == "__main__":
    main()
