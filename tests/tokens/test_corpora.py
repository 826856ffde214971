"""Corpora through the real `datasets`: formats, splits, and one line for whatever is wrong with a file."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from crossover.base.errors import CrossoverError, UsageError
from stages.study.corpora import C4, Files, Pydocs
from stages.tokens.corpora import open_corpus
from stages.tokens.duplicates import without_duplicates
from tests.conftest import SHARED

TEXTS = [f"document number {number} says {'word ' * (number % 7)}" for number in range(40)]


def files(*patterns: object, **options: Any) -> Files:
    return Files(kind="files", train=[str(pattern) for pattern in patterns], **options)


def write_gz(path: Path, texts: list[str], column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({column: text, "url": "u"}) + "\n" for text in texts)
    return path


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    write_gz(tmp_path / "b.json.gz", TEXTS)
    pa.parquet.write_table(pa.table({"text": TEXTS}), tmp_path / "c.parquet")
    (tmp_path / "d").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / f"d/{number:02d}.txt").write_text(text)
    for pattern in ("a.jsonl", "b.json.gz", "c.parquet", "d/*.txt"):
        corpus = open_corpus(files(tmp_path / pattern, validation=[str(tmp_path / "a.jsonl")]))
        assert list(corpus.documents("train")) == TEXTS


def test_splitting_by_digest_shares_no_document(tmp_path: Path) -> None:
    write_gz(tmp_path / "b.json.gz", TEXTS)
    corpus = open_corpus(files(tmp_path / "b.json.gz", validation_share=0.3))
    train, held_out = list(corpus.documents("train")), list(corpus.documents("validation"))
    assert not set(train) & set(held_out)
    assert sorted(train + held_out) == sorted(TEXTS)
    assert 3 < len(held_out) < 22


def test_identity_follows_the_files(tmp_path: Path) -> None:
    path = write_gz(tmp_path / "b.json.gz", TEXTS)
    before = open_corpus(files(path)).identity()
    write_gz(path, [*TEXTS[:-1], "another"])
    assert open_corpus(files(path)).identity() != before


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _bad_utf8(path: Path) -> None:
    path.write_bytes(gzip.compress(b'{"text": "caf\xe9 \xff\xfe"}\n'))


def _not_json(path: Path) -> None:
    path.write_bytes(gzip.compress(b"hello\n"))


def _not_gzip(path: Path) -> None:
    path.write_bytes(b"hello\n")


def _lone_surrogate(path: Path) -> None:
    path.write_bytes(gzip.compress(b'{"text": "a\\ud800b"}\n'))


@pytest.mark.parametrize("spoil", [_lone_surrogate, _truncate, _bad_utf8, _not_json, _not_gzip])
def test_a_broken_file_is_named(tmp_path: Path, spoil: Any) -> None:
    path = write_gz(tmp_path / "b.json.gz", [text * 50 for text in TEXTS])
    spoil(path)
    with pytest.raises(CrossoverError, match=r"b\.json\.gz") as caught:
        list(open_corpus(files(path, validation=[str(path)])).documents("train"))
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"a\.jsonl is empty"):
        list(open_corpus(files(tmp_path / "a.jsonl")).documents("train"))


def test_wrong_columns_patterns_and_formats_are_named(tmp_path: Path) -> None:
    path = write_gz(tmp_path / "b.json.gz", TEXTS, column="texte")
    with pytest.raises(UsageError, match="no column 'text'; did you mean 'texte'"):
        list(open_corpus(files(path)).documents("train"))
    with pytest.raises(UsageError, match="nothing matches"):
        open_corpus(files(tmp_path / "*.nothing")).identity()
    (tmp_path / "x.docx").write_text("x")
    with pytest.raises(UsageError, match="unknown format"):
        list(open_corpus(files(tmp_path / "x.docx")).documents("train"))


def test_empty_documents_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": ""}\n{"text": null}\n{"text": "c"}\n')
    corpus = open_corpus(files(tmp_path / "a.jsonl", validation=[str(tmp_path / "a.jsonl")]))
    assert list(corpus.documents("train")) == ["a", "c"]


def test_c4_in_a_local_folder(tmp_path: Path) -> None:
    for split, texts in (("train", TEXTS[:30]), ("validation", TEXTS[30:])):
        for shard in range(2):
            write_gz(tmp_path / f"en/c4-{split}.{shard:05d}-of-00002.json.gz", texts[shard::2])
    corpus = open_corpus(C4(kind="c4", path=str(tmp_path), train_shards=2, validation_shards=2))
    assert list(corpus.documents("train")) == TEXTS[:30:2] + TEXTS[1:30:2]
    assert list(corpus.documents("validation")) == TEXTS[30::2] + TEXTS[31::2]
    with pytest.raises(UsageError, match="shard counts"):
        next(iter(open_corpus(C4(kind="c4", path=str(tmp_path), train_shards=3)).documents("train")))


@pytest.mark.parametrize(("path", "says"), [("./nowhere", "is missing"), ("allenai/c4", "pin `revision`")])
def test_c4_wrongly_named(path: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_corpus(C4(kind="c4", path=path))


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared C4 sample")
def test_the_real_c4_sample_reads_whole() -> None:
    corpus = open_corpus(C4(kind="c4", path=str(SHARED / "corpus/c4_sample"), train_shards=2, validation_shards=2))
    assert sum(1 for _ in corpus.documents("train")) == 1984
    assert sum(1 for _ in corpus.documents("validation")) == 2966


def test_any_prefix_of_pydocs_mixes_its_packages() -> None:
    """Documents come in the order of their digests over all packages, not one package after another."""
    documents = list(open_corpus(Pydocs(kind="pydocs", packages=["numpy", "networkx"])).documents("train"))
    digests = [hashlib.sha256(text.encode()).digest() for text in documents]
    assert digests == sorted(digests)
    first, second = documents[: len(documents) // 2], documents[len(documents) // 2 :]
    found = [sum("graph" in text for text in half) for half in (first, second)]
    assert min(found) > max(100, 0.8 * max(found))


def test_pydocs_splits_by_subpackage_and_repeats_itself() -> None:
    spec = Pydocs(kind="pydocs", packages=["numpy", "networkx"], validation_share=0.3)
    corpus = open_corpus(spec)
    train, held_out = list(corpus.documents("train")), list(corpus.documents("validation"))
    assert len(train) > 200
    assert len(held_out) > 50
    assert len(set(train)) == len(train)
    assert list(open_corpus(spec).documents("train")) == train
    assert list(corpus.documents("train")) == train
    with pytest.raises(UsageError, match="not installed"):
        open_corpus(Pydocs(kind="pydocs", packages=["no-such-package"])).identity()


def test_near_duplicates_of_held_out_documents_are_dropped() -> None:
    words = [f"w{number}" for number in range(100)]
    held_out = " ".join(words)
    near = " ".join([*words[:99], "changed"])
    half = " ".join([*words[:50], *(f"v{number}" for number in range(50))])
    assert list(without_duplicates([near, half, held_out, "short"], [held_out])) == [None, half, None, "short"]
