"""A compressed table says nothing of its size: one that unpacks to gigabytes is refused before it fills the memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from crossover.base.errors import UsageError

_MOST = 2 << 30
"""Bytes; a hundred million rows of runs."""
_DENSEST = 1032
"""Bytes that one of gzip's can stand for (https://zlib.net/zlib_tech.html, "Maximum Compression Factor")."""
_CODECS = {".gz": "gzip", ".zst": "zstd"}
_CELL = 8


def require_moderate(path: Path) -> None:
    """Raises `UsageError` for a file that unpacks to more than two gibibytes; one that is broken is told of later."""
    codec = _CODECS.get(path.suffix)
    try:
        if path.suffix == ".parquet":
            about = pa.parquet.read_metadata(path)
            large = about.num_rows * about.num_columns * _CELL > _MOST
        else:
            large = codec is not None and _unpacks_to_more(path, codec)
    except (OSError, pa.ArrowException):
        return
    if large:
        raise UsageError(
            f"{path} unpacks to more than {_MOST >> 30} GiB, and is no table of runs; "
            "if it is one, unpack it and keep the columns that are needed"
        )


def _unpacks_to_more(path: Path, codec: str) -> bool:
    if codec == "gzip" and path.stat().st_size * _DENSEST < _MOST:
        return False
    total = 0
    with pa.input_stream(str(path), compression=codec) as stream:
        while block := stream.read(1 << 22):
            total += len(block)
            if total > _MOST:
                return True
    return False
