"""Near-duplicates: training documents that a held-out document repeats, found by MinHash (Broder 1997)."""

from collections.abc import Iterable, Iterator

from datasketch import MinHash, MinHashLSH

_SHINGLE = 5  # words
_PERMUTATIONS = 64
_SIMILARITY = 0.8  # Jaccard


def without_duplicates(documents: Iterable[str], held_out: Iterable[str]) -> Iterator[str | None]:
    """The documents, with None in the place of each that equals or nearly equals a held-out one."""
    index = MinHashLSH(threshold=_SIMILARITY, num_perm=_PERMUTATIONS)
    for number, document in enumerate(held_out):
        index.insert(number, _signature(document))
    for document in documents:
        yield None if index.query(_signature(document)) else document


def _signature(document: str) -> MinHash:
    words = document.split()
    shingles = {" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}
    signature = MinHash(num_perm=_PERMUTATIONS)
    signature.update_batch(shingle.encode() for shingle in shingles)
    return signature
