"""The tokenizer: a byte-level BPE trained on a fixed byte budget, so that a longer stream never changes it."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer as Encoder
from tokenizers import decoders, models, pre_tokenizers, trainers

from crossover.base.errors import UsageError
from crossover.base.files import replacing
from stages.study.corpora import Tokenizer

END_OF_TEXT = "<|endoftext|>"
_ENDINGS = (END_OF_TEXT, "</s>", "<eos>", "<|end_of_text|>")


def make_tokenizer(spec: Tokenizer, documents: Iterator[str], path: Path) -> Encoder:
    """Train (or take over) the tokenizer of a text and write it to `path`; deterministic."""
    encoder = _given(spec.file) if spec.file else _trained(spec, documents)
    if encoder.get_vocab_size() != spec.vocab_size:
        raise UsageError(
            f"the tokenizer has {encoder.get_vocab_size()} tokens, params.yaml says vocab_size {spec.vocab_size}; "
            "correct it, or raise train_bytes"
        )
    with replacing(path) as draft:
        encoder.save(str(draft))
    return encoder


def _given(file: str) -> Encoder:
    try:
        return Encoder.from_file(file)
    except Exception as error:  # the library raises a bare Exception, which may quote the whole file
        raise UsageError(f"tokenizer {file} cannot be read: {str(error)[:200]}") from None


def _trained(spec: Tokenizer, documents: Iterator[str]) -> Encoder:
    encoder = Encoder(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    encoder.train_from_iterator(_first_bytes(documents, spec.train_bytes), trainer)
    return encoder


def _first_bytes(documents: Iterator[str], budget: int) -> Iterator[str]:
    """The first `budget` UTF-8 bytes of the documents; raises `UsageError` where there are fewer."""
    left = budget
    for document in documents:
        raw = document.encode()
        yield raw[:left].decode(errors="ignore")
        left -= len(raw)
        if left <= 0:
            return
    raise UsageError(
        f"the training split holds {budget - left} bytes, the tokenizer wants train_bytes: {budget}; "
        "lower it or use a larger corpus"
    )


def end_of_text(encoder: Encoder) -> int:
    """Id of the token that ends a document. Raises `UsageError` where the tokenizer has none we know."""
    for token in _ENDINGS:
        if (number := encoder.token_to_id(token)) is not None:
            return int(number)
    raise UsageError(f"the tokenizer has no end-of-text token; add one of {', '.join(_ENDINGS)}")
