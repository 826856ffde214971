"""The tokenizer: deterministic, bounded by its budget, lossless."""

from pathlib import Path

import pytest

from crossover.base.errors import UsageError
from crossover.base.files import sha256_file
from stages.study.corpora import Tokenizer
from stages.tokens.tokenizer import end_of_text, make_tokenizer

TEXT = ["the cat sat on the mat, and the dog — naïve — barked at the cat. " * 20] * 30


def test_trained_twice_is_the_same_file_and_later_text_does_not_matter(tmp_path: Path) -> None:
    spec = Tokenizer(vocab_size=280, train_bytes=10_000)
    make_tokenizer(spec, iter(TEXT), tmp_path / "a.json")
    make_tokenizer(spec, iter([*TEXT, "something else entirely"]), tmp_path / "b.json")
    assert sha256_file(tmp_path / "a.json") == sha256_file(tmp_path / "b.json")


def test_lossless_and_knows_its_ending(tmp_path: Path) -> None:
    encoder = make_tokenizer(Tokenizer(vocab_size=280, train_bytes=10_000), iter(TEXT), tmp_path / "a.json")
    assert encoder.decode(encoder.encode("añ\x00 �🙂 cat").ids) == "añ\x00 �🙂 cat"
    assert end_of_text(encoder) == 0


def test_given_file_must_fit(tmp_path: Path) -> None:
    make_tokenizer(Tokenizer(vocab_size=280, train_bytes=10_000), iter(TEXT), tmp_path / "a.json")
    make_tokenizer(Tokenizer(vocab_size=280, file=str(tmp_path / "a.json")), iter([]), tmp_path / "b.json")
    with pytest.raises(UsageError, match=r"280 tokens, params\.yaml says vocab_size 400"):
        make_tokenizer(Tokenizer(vocab_size=400, file=str(tmp_path / "a.json")), iter([]), tmp_path / "b.json")
    (tmp_path / "a.json").write_text('{"version": "' + "[" * 10_000 + '"}')
    with pytest.raises(UsageError, match=r"a\.json cannot be read") as caught:
        make_tokenizer(Tokenizer(vocab_size=280, file=str(tmp_path / "a.json")), iter([]), tmp_path / "b.json")
    assert len(str(caught.value)) < 600


def test_too_little_text_is_said_in_numbers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds 3 bytes, the tokenizer wants train_bytes: 10000"):
        make_tokenizer(Tokenizer(vocab_size=280, train_bytes=10_000), iter(["abc"]), tmp_path / "a.json")
