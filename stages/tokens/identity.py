"""What decides a tokenized text: another identity is another text, made anew from its first document."""

from pathlib import Path

from crossover.base.canonical import digest
from crossover.base.errors import CrossoverError
from crossover.base.files import sha256_file
from stages.shards.manifest import Index
from stages.study.corpora import Corpus
from stages.study.identity import source_digest
from stages.study.params import Params
from stages.study.plan import TextNeed, texts_needed
from stages.tokens.corpora import CorpusReader, open_corpus


def identity(need: TextNeed, source: Corpus, corpus: CorpusReader) -> str:
    """Digest of the corpus, all of its content, the settings, and the code that makes tokens of it."""
    scale = need.scale
    spec = scale.tokenizer
    return digest(
        {
            "corpus": source.model_dump(),
            "content": corpus.identity(),
            "tokenizer": sha256_file(Path(spec.file)) if spec.file and Path(spec.file).exists() else spec.model_dump(),
            "shard_tokens": scale.shard_tokens,
            "held_out": need.validation_tokens,  # decides which training documents count as duplicates
            "source": source_digest("stages.tokens.__main__", ignore=("stages.study", "crossover")),
        }
    )


def changed_texts(params: Params, index: Index) -> dict[str, str]:
    """Tokenized texts that would be others if they were made now, each with the reason in words."""
    found = {}
    for name, need in texts_needed(params).items():
        if not (made := index.texts.get(name)):
            continue
        try:
            source = params.corpora[need.scale.corpus]
            if identity(need, source, open_corpus(source)) != made.identity:
                found[name] = "its documents, tokenizer, settings or code changed; `dvc repro -f tokens` makes it anew"
        except CrossoverError as error:
            found[name] = str(error)
    return found
