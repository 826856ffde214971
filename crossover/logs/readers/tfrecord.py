"""TFRecord files: a record's length (8 bytes), its masked CRC-32C (4), its bytes, and theirs (4), until the end.

https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details".
"""

import mmap
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossover.logs.readers.wire import CutError, WireError

_HEADER = struct.Struct("<8sI")


class Records:
    """The records of a file, whose checksums are compared for those that were taken, all at once."""

    def __init__(self, path: Path) -> None:
        """Raises `CutError` for an empty file."""
        if not path.stat().st_size:
            raise CutError("it is empty")
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._taken: dict[int, list[int]] = {}
        self.count = 0
        """Records passed so far."""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Every record with its place.

        The length's checksum is compared here, a record's by `verify`: most of a large file is pictures and
        histograms, which nobody asks for. Raises `CutError` where the file ends early.
        """
        data, at, size = self._bytes, 0, len(self._bytes)
        while at < size:
            header = data[at : at + 12]
            if len(header) < 12 or not any(header):
                raise CutError("cut in a header")  # or zeros, where a machine crashed before it wrote
            written, checksum = _HEADER.unpack(header)
            length, expected = _length(written)
            if checksum != expected:
                raise WireError(f"wrong checksum of the length at byte {at}")
            if at + length + 16 > size:
                raise CutError("cut in a record")
            yield at + 12, data[at + 12 : at + 12 + length]
            self.count += 1
            at += length + 16

    def take(self, place: int, length: int) -> None:
        """Something in this record counts."""
        self._taken.setdefault(length, []).append(place)

    def verify(self) -> None:
        """Raises `WireError` where a record that was taken has another checksum than its own."""
        data = np.frombuffer(self._bytes, np.uint8)
        for length, places in self._taken.items():
            starts = np.array(places)[:, None]
            expected = data[starts + length + np.arange(4)].copy().view("<u4").ravel()
            wrong = np.flatnonzero(masked_crc32c(data[starts + np.arange(length)]) != expected)
            if len(wrong):
                raise WireError(f"wrong checksum of the record at byte {places[wrong[0]]}")


@lru_cache(maxsize=4096)
def _length(written: bytes) -> tuple[int, int]:
    """A record's length, of which there are few in a file, and its checksum."""
    checksum = masked_crc32c(np.frombuffer(written, np.uint8)[None])
    return int.from_bytes(written, "little"), int(checksum[0])


def _crc_table() -> npt.NDArray[Any]:
    table: npt.NDArray[Any] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = table >> 1 ^ np.where(table & 1, np.uint32(0x82F63B78), np.uint32(0))
    return table


_CRC = _crc_table()


def masked_crc32c(rows: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """CRC-32C (RFC 3720, appendix B.4) of each row of bytes `(n, length)`, rotated and shifted as TFRecords have it."""
    crc: npt.NDArray[Any] = np.full(len(rows), 0xFFFF_FFFF, np.uint32)
    for column in rows.T:
        crc = _CRC[(crc ^ column) & 0xFF] ^ crc >> 8
    crc ^= np.uint32(0xFFFF_FFFF)
    return (crc >> 15 | crc << 17) + np.uint32(0xA282EAD8)
