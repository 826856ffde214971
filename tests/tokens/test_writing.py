"""Shards: fixed size, append-only, and the same whether written in one go or in many."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Encoder
from tokenizers import models, pre_tokenizers

from stages.shards.manifest import Split, Text
from stages.shards.reading import read_prefix
from stages.tokens.writing import ShardWriter, append

END = 256


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """One token per byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Encoder(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return made


def write(folder: Path, documents: list[str | None], encoder: Encoder, needs: list[int]) -> Text:
    text = Text(identity="", tokenizer_digest="", vocab_size=257, end_of_text=END, dtype="uint16", shard_tokens=16)
    for need in needs:
        writer = ShardWriter(folder / "t/train", text, text.train, lambda: None)
        append(writer, text.train, documents, encoder, END, need)
    return text


def expected(documents: list[str | None], encoder: Encoder) -> list[int]:
    return [i for d in documents if d is not None for i in [*encoder.encode(d).ids, END]]


documents_of_many_sizes = st.lists(
    st.one_of(st.none(), st.text("abc é", min_size=1, max_size=50)), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents_of_many_sizes, st.lists(st.integers(1, 400), min_size=1, max_size=4))
def test_many_appends_equal_one(
    tmp_path_factory: pytest.TempPathFactory, encoder: Encoder, documents: list[str | None], needs: list[int]
) -> None:
    stream = expected(documents, encoder)
    needs = sorted(min(need, len(stream)) for need in needs)
    if not stream:
        return
    pieces = write(tmp_path_factory.mktemp("pieces"), documents, encoder, needs)
    root = tmp_path_factory.mktemp("whole")
    whole = write(root, documents, encoder, needs[-1:])
    assert pieces == whole
    held = whole.train.tokens
    assert held >= needs[-1]
    assert read_prefix("t", whole, "train", held, root).tolist() == stream[:held]
    ended = whole.train.documents + whole.train.dropped
    assert whole.train.documents == sum(document is not None for document in documents[:ended])
    assert sum(s.document_bytes for s in whole.train.shards) == sum(len(d.encode()) for d in documents[:ended] if d)


def test_stops_at_the_need_and_at_the_end(tmp_path: Path, encoder: Encoder) -> None:
    documents: list[str | None] = ["x" * 30] * 20
    text = write(tmp_path / "a", documents, encoder, [33])
    assert [shard.tokens for shard in text.train.shards] == [16, 16, 16]
    assert not text.train.exhausted
    text = write(tmp_path / "b", documents, encoder, [100_000])
    assert text.train.tokens == 20 * 31
    assert text.train.exhausted
    assert text.train.shards[-1].tokens == 20 * 31 % 16
    assert Split(shards=text.train.shards[:2]).tokens == 32


def test_wide_vocabularies_take_four_bytes(tmp_path: Path, encoder: Encoder) -> None:
    text = Text(identity="", tokenizer_digest="", vocab_size=70_000, end_of_text=69_999, dtype="uint32", shard_tokens=8)
    append(
        ShardWriter(tmp_path / "t/train", text, text.train, lambda: None), text.train, ["abcdefg"], encoder, 69_999, 8
    )
    assert read_prefix("t", text, "train", 8, tmp_path).tolist()[-1] == 69_999
    assert (tmp_path / "t/train/00000.bin").stat().st_size == 4 * 8
    assert np.dtype(text.dtype).itemsize == 4
