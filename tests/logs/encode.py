"""Logs in a few bytes, where the real libraries are not asked: for the fuzzer to break, and for tests of their own."""

import json
import struct
import zlib
from collections.abc import Iterable

import numpy as np

from crossover.logs.readers.tfrecord import masked_crc32c


def field(number: int, value: int | bytes | float) -> bytes:
    """A protobuf field: a varint, a float of four bytes, or bytes after their length."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])


def checksum(data: bytes) -> bytes:
    """As TFRecords have it."""
    return masked_crc32c(np.frombuffer(data, np.uint8)[None]).astype("<u4").tobytes()


def event_file(losses: Iterable[float] = (4.0, 3.0, 2.5), steps: Iterable[int] | None = None) -> bytes:
    """A TensorBoard file with one scalar."""
    content = b""
    for step, loss in enumerate(losses) if steps is None else zip(steps, losses, strict=True):
        value = field(1, b"val/loss") + field(2, loss)
        record = b"\x09" + struct.pack("<d", 1.0) + field(2, step) + field(5, field(1, value))
        length = struct.pack("<Q", len(record))
        content += length + checksum(length) + record + checksum(record)
    return content


def wandb_log(losses: Iterable[float] = (4.0, 3.0, 2.5), steps: Iterable[int] | None = None) -> bytes:
    """A log of a run with one setting and one metric."""
    records = [field(17, field(1, b"abc") + field(4, field(1, field(1, b"lr") + field(16, b"0.01"))))]
    for step, loss in enumerate(losses) if steps is None else zip(steps, losses, strict=True):
        item = field(1, field(2, b"loss") + field(16, json.dumps(loss).encode()))
        records.append(field(2, item + field(2, field(1, step))))
    content = b":W&B\xe1\xbe\x00"
    for record in records:
        checksum = zlib.crc32(record, zlib.crc32(b"\x01"))
        content += struct.pack("<IHB", checksum, len(record), 1) + record
    return content


def trainer_state(losses: tuple[float, ...] = (4.0, 3.0, 2.5)) -> bytes:
    """A `trainer_state.json`."""
    history = [{"step": step, "loss": loss, "learning_rate": 0.1} for step, loss in enumerate(losses)]
    return json.dumps({"global_step": len(losses), "log_history": history, "trial_params": {"a": 1}}).encode()
