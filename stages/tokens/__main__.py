"""The stage `tokens`: tokenize as much of each corpus as the active studies need.

    python -m stages.tokens

Incremental: shards that a former run wrote under the same identity are kept, missing ones are appended. What the
index lists depends on params.yaml alone, never on what was made before.
"""

import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer as Encoder
from tqdm import tqdm

from crossover.base.entry import guarded
from crossover.base.errors import UsageError
from crossover.base.files import read_json, sha256_file, write_json
from stages.shards.manifest import INDEX, TOKENS, Index, Split, SplitName, Text
from stages.study.corpora import Corpus
from stages.study.params import load_params
from stages.study.plan import TextNeed, texts_needed
from stages.study.processes import die_with_this_parent
from stages.tokens.corpora import CorpusReader, open_corpus
from stages.tokens.duplicates import without_duplicates
from stages.tokens.identity import identity
from stages.tokens.tokenizer import end_of_text, make_tokenizer
from stages.tokens.writing import ShardWriter, append


def main() -> None:
    """Bring every needed text to the length the plan asks for, then write the index."""
    params = load_params()
    needs = texts_needed(params)
    texts = {}
    for name, need in sorted(needs.items()):
        texts[name] = tokenize(name, need, params.corpora[need.scale.corpus])
    for folder in TOKENS.iterdir() if TOKENS.exists() else []:
        if folder.is_dir() and folder.name not in needs:
            shutil.rmtree(folder)
    write_json(INDEX, Index(texts=texts).model_dump())


def tokenize(name: str, need: TextNeed, source: Corpus, root: Path = TOKENS) -> Text:
    """Make, or lengthen, one text below `root`. Raises `UsageError` where the corpus is too small."""
    folder, corpus = root / name, open_corpus(source)
    own = identity(need, source, corpus)
    text = _former(folder, own) or _begin(folder, own, need, corpus)
    encoder = Encoder.from_file(str(folder / "tokenizer.json"))
    wanted: dict[SplitName, int] = {"validation": need.validation_tokens, "train": need.train_tokens}
    for split, tokens in wanted.items():
        _trim(text.split(split), tokens, text.shard_tokens)
        if text.split(split).tokens < tokens:
            _lengthen(name, folder, text, encoder, corpus, split, tokens)
    _sweep(folder, text)
    _save(folder, text)
    train, held_out = text.train, text.validation
    print(
        f"{name}: {train.tokens:,} training and {held_out.tokens:,} held-out tokens, "
        f"{held_out.bytes_per_token:.2f} bytes/token, {train.documents:,} + {held_out.documents:,} documents, "
        f"{train.dropped} near-duplicates dropped"
    )
    return text


def _former(folder: Path, own: str) -> Text | None:
    """What an earlier run left under the same identity, if anything."""
    path = folder / "text.json"
    if not path.exists():
        return None
    text = Text.model_validate(read_json(path, "delete data/tokens and run again"))
    intact = text.identity == own and (folder / "tokenizer.json").exists()
    return text if intact and _verified(folder, text) else None


def _verified(folder: Path, text: Text) -> bool:
    return sha256_file(folder / "tokenizer.json") == text.tokenizer_digest and all(
        (path := folder / split / shard.file).exists() and sha256_file(path) == shard.sha256
        for split in ("train", "validation")
        for shard in text.split(split).shards
    )


def _begin(folder: Path, own: str, need: TextNeed, corpus: CorpusReader) -> Text:
    shutil.rmtree(folder, ignore_errors=True)
    spec = need.scale.tokenizer
    path = folder / "tokenizer.json"
    encoder = make_tokenizer(spec, corpus.documents("train"), path)
    return Text(
        identity=own,
        tokenizer_digest=sha256_file(path),
        vocab_size=spec.vocab_size,
        end_of_text=end_of_text(encoder),
        dtype="uint16" if spec.vocab_size <= 1 << 16 else "uint32",
        shard_tokens=need.scale.shard_tokens,
    )


def _trim(split: Split, tokens: int, shard_tokens: int) -> None:
    """Forget shards beyond the need, so that the index does not depend on history."""
    needed = -(-tokens // shard_tokens)
    if len(split.shards) > needed:
        split.shards, split.exhausted = split.shards[:needed], False


def _lengthen(
    name: str, folder: Path, text: Text, encoder: Encoder, corpus: CorpusReader, split: SplitName, tokens: int
) -> None:
    state = text.split(split)
    with tqdm(
        total=tokens, initial=state.tokens, unit="tok", unit_scale=True, desc=f"{name} {split}", disable=None
    ) as bar:

        def saved() -> None:
            _save(folder, text)
            bar.update(state.tokens - bar.n)

        writer = ShardWriter(folder / split, text, state, saved)
        append(writer, state, _documents(corpus, split, text), encoder, text.end_of_text, tokens)
    if state.tokens < tokens:
        raise UsageError(
            f"text {name}: the {split} split needs {tokens:,} tokens and its corpus holds {state.tokens:,}; "
            "use a larger corpus, or fewer or smaller widths"
        )


def _documents(corpus: CorpusReader, split: SplitName, text: Text) -> Iterator[str | None]:
    if split == "validation":
        return iter(corpus.documents(split))
    held_out = islice(corpus.documents("validation"), text.validation.documents + 1)  # the last may be cut
    return without_duplicates(corpus.documents("train"), held_out)


def _sweep(folder: Path, text: Text) -> None:
    """Remove files that the manifest does not name."""
    for split in ("train", "validation"):
        named = {shard.file for shard in text.split(split).shards}
        for path in (folder / split).iterdir():
            if path.name not in named:
                path.unlink()


def _save(folder: Path, text: Text) -> None:
    write_json(folder / "text.json", text.model_dump())


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
