"""Reading prefixes, noticing damage, and the order of windows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossover.base.errors import DamageError, UsageError
from crossover.base.files import sha256_file, write_json
from stages.shards import reading
from stages.shards.index import read_index
from stages.shards.manifest import Index, Shard, Split, Text
from stages.shards.windows import fresh_sample, seen_sample, window_order
from tests.conftest import make_cell


@pytest.fixture
def text(tmp_path: Path) -> Text:
    (tmp_path / "t/train").mkdir(parents=True)
    shards = []
    for number in range(3):
        path = tmp_path / f"t/train/{number}.bin"
        np.arange(number * 10, number * 10 + 10, dtype="<u2").tofile(path)
        shards.append(
            Shard(
                file=path.name, tokens=10, sha256=sha256_file(path), documents=1, dropped=0, document_bytes=1,
                document_tokens=1, offset=0,
            )
        )  # fmt: skip
    return Text(
        identity="i", tokenizer_digest="t", vocab_size=300, end_of_text=0, dtype="uint16", shard_tokens=10,
        train=Split(shards=shards),
    )  # fmt: skip


def test_prefix(text: Text, tmp_path: Path) -> None:
    for length in (1, 10, 11, 30):
        assert reading.read_prefix("t", text, "train", length, tmp_path).tolist() == list(range(length))
    with pytest.raises(UsageError, match="holds 30 tokens, 31 are needed"):
        reading.read_prefix("t", text, "train", 31, tmp_path)


def test_identity_needs_only_the_shards_that_are_read(text: Text) -> None:
    assert len(text.digests("train", 10)) == 1
    assert len(text.digests("train", 11)) == 2


def test_a_flipped_bit_is_noticed(text: Text, tmp_path: Path) -> None:
    path = tmp_path / "t/train/1.bin"
    content = bytearray(path.read_bytes())
    content[3] ^= 4
    path.write_bytes(content)
    assert reading.read_prefix("t", text, "train", 10, tmp_path).tolist() == list(range(10))
    with pytest.raises(DamageError, match=r"1\.bin is missing or altered"):
        reading.read_prefix("t", text, "train", 11, tmp_path)


def test_a_missing_or_broken_index_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="dvc repro tokens"):
        read_index(tmp_path / "index.json")
    (tmp_path / "index.json").write_text('{"texts": {"x": {}}}')
    with pytest.raises(DamageError, match="dvc repro tokens"):
        read_index(tmp_path / "index.json")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", "0.bin/../../x", "0.bin\n", ""])
def test_a_manifest_names_shards_alone(text: Text, tmp_path: Path, name: str) -> None:
    """Whether a text is so named or one of its shards: both are parts of paths."""
    path = tmp_path / "index.json"
    write_json(path, Index(texts={"words-my tokenizer300": text}).model_dump())
    assert read_index(path).texts["words-my tokenizer300"] == text
    forged = text.model_copy(
        update={"validation": Split(shards=[text.train.shards[0].model_copy(update={"file": name})])}
    )
    named = {} if name == "0.bin\n" else {name: text}
    for texts in ({"words": forged}, named):
        write_json(path, Index(texts=texts).model_dump())
        if texts:
            with pytest.raises(DamageError, match=r"^[^\n]* is no shard of a text; delete data/tokens and run"):
                read_index(path)


@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 4), st.integers(0, 5))
def test_every_pass_visits_every_window_once(batch: int, steps: int, passes: int, seed: int) -> None:
    windows = -(-steps * batch // passes)
    cell = make_cell(batch=batch, steps=steps, unique_tokens=windows * 16, seed=seed)
    order = window_order(cell)
    assert order.shape == (steps, batch)
    for start in range(0, order.size, windows):
        visited = order.ravel()[start : start + windows]
        assert len(set(visited)) == len(visited)
        assert visited.max() < windows


def test_the_seed_decides_the_order() -> None:
    orders = [window_order(make_cell(seed=seed)).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_seen_windows_were_trained_on() -> None:
    cell = make_cell(unique_tokens=640)
    sample = seen_sample(cell, 320)
    assert len(sample) == len(set(sample)) == 20
    assert set(sample) <= set(window_order(cell).ravel())


def test_fresh_windows_follow_those_trained_on() -> None:
    cell = make_cell(unique_tokens=640)
    sample = fresh_sample(cell, 320)
    assert len(sample) == len(set(sample)) == 20
    assert not set(sample) & set(window_order(cell).ravel())
    assert (sample.max() + 1) * cell.seq_len < cell.reach(320)
