"""Weights & Biases run folders, as `offline-run-20261123_120000-abcd1234/run-abcd1234.wandb`.

The file is a log in LevelDB's format (https://github.com/google/leveldb/blob/main/doc/log_format.md) after seven
bytes of its own, with zlib's CRC-32 in the place of CRC-32C; every entry is one protobuf `Record`. Field numbers:
`wandb_internal.proto` of the `wandb` package (read with 0.31): Record history 2, summary 3, config 5, run 17;
RunRecord run_id 1, project 3, config 4, summary 5, run_group 6, job_type 7, display_name 8, tags 10; HistoryRecord
item 1, step 2; items key 1, nested_key 2, value_json 16.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from crossover.base.errors import DamageError
from crossover.logs.logged import LoggedRun, as_number, flatten, parse_json
from crossover.logs.readers.wire import CutError, Value, WireError, integer, message, parts, text

_BLOCK = 32768
_HEADER = struct.Struct("<IHB")
_OPENING = b":W&B" + struct.pack("<H", 0xBEE1)
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_wandb(path: Path) -> LoggedRun:
    """The run of a `.wandb` file: its configuration, its history, and what was only put into its summary.

    Raises `DamageError` for a file that is empty, no such log, or damaged before its end. One that ends too early, as
    that of a killed run, gives what it has, with a note.
    """
    run = LoggedRun(path.stem.removeprefix("run-"), path)
    summary: dict[str, Any] = {}
    count = 0
    try:
        with path.open("rb") as file:
            for entry in _entries(file):
                _take(run, summary, entry)
                count += 1
    except CutError:
        run.notes.append(f"the log ends early, after {count} records: the run was killed or is still going")
    except (WireError, ValueError) as error:
        raise DamageError(f"{path} is damaged ({error}); copy the run folder again, or leave it out") from None
    if not count:
        raise DamageError(f"{path} holds no record: the run was killed at its start; leave it out")
    for name, value in flatten(summary).items():
        if name not in run.curves and not name.startswith("_"):
            run.facts.setdefault(name, value)
    return run


def _entries(file: BinaryIO) -> Iterator[bytes]:
    """The entries of the log, each put together from the pieces in its blocks of 32 KiB."""
    opening = file.read(7)
    if len(opening) < 7 and _OPENING.startswith(opening):
        raise CutError("cut in its opening")
    if opening != _OPENING + b"\0":
        raise WireError("it does not begin as a W&B log of version 0 does")
    whole = b""
    expected = (_FULL, _FIRST)
    while (piece := _piece(file)) is not None:
        kind, data = piece
        if kind not in expected:
            raise WireError(f"a piece of kind {kind} out of order before byte {file.tell()}")
        whole = data if kind in (_FULL, _FIRST) else whole + data
        expected = (_FULL, _FIRST) if kind in (_FULL, _LAST) else (_MIDDLE, _LAST)
        if kind in (_FULL, _LAST):
            yield whole
    if expected == (_MIDDLE, _LAST):
        raise CutError("cut between two pieces")


def _piece(file: BinaryIO) -> tuple[int, bytes] | None:
    """The next piece of an entry with its kind; None at the end of the file."""
    left = _BLOCK - file.tell() % _BLOCK
    if left < _HEADER.size:
        file.seek(left, 1)
    begin = file.tell()
    header = file.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise CutError("cut in a header")
    checksum, size, kind = _HEADER.unpack(header)
    data = file.read(size)
    if not any(header):
        _require_zeros(file, begin)
    if len(data) < size:
        raise CutError("cut in a piece")
    if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
        raise WireError(f"wrong checksum at byte {begin}")
    return kind, data


def _require_zeros(file: BinaryIO, begin: int) -> None:
    """Space that a crashed machine gave the file but never filled is a cut; zeros before other bytes are damage."""
    while block := file.read(1 << 20):
        if any(block):
            raise WireError(f"zeros at byte {begin}")
    raise CutError("cut, and filled with zeros")


def _take(run: LoggedRun, summary: dict[str, Any], entry: bytes) -> None:
    record = message(entry)
    for body in parts(record, 17):
        _take_run(run, summary, message(body))
    for body in parts(record, 5):
        run.facts |= _settings(body)
    for body in parts(record, 3):
        _merge(summary, _items(body))
    for body in parts(record, 2):
        _take_history(run, body)


def _take_run(run: LoggedRun, summary: dict[str, Any], found: dict[int, list[Value]]) -> None:
    run.name = text(found, 8) or text(found, 1) or run.name
    for body in parts(found, 4):
        run.facts |= _settings(body)
    for body in parts(found, 5):
        _merge(summary, _items(body))
    tags = ",".join(tag.decode(errors="replace") for tag in parts(found, 10))
    known = {"run_id": text(found, 1), "project": text(found, 3), "group": text(found, 6), "job_type": text(found, 7)}
    for name, value in (known | {"tags": tags}).items():
        if value:
            run.facts.setdefault(name, value)


def _settings(body: bytes) -> dict[str, Any]:
    values = {name: value for name, value in _items(body).items() if name != "_wandb"}
    return flatten(values)


def _take_history(run: LoggedRun, body: bytes) -> None:
    found = message(body)
    values = _items(body)
    step = as_number(values.pop("_step", None))
    if step is None:
        step = float(integer(message(b"".join(parts(found, 2)[-1:])), 1))
    numbers = {name: as_number(value) for name, value in flatten(values).items() if name != "_timestamp"}
    run.log(step, {name: number for name, number in numbers.items() if number is not None})


def _items(body: bytes) -> dict[str, Any]:
    """The updates of a config, summary or history record, all in field 1, as one nested mapping."""
    found: dict[str, Any] = {}
    for item in parts(message(body), 1):
        given = message(item)
        path = [part.decode(errors="replace") for part in parts(given, 2)] or [text(given, 1)]
        value = parse_json(text(given, 16) or "null")
        for part in reversed(path):
            value = {part: value}
        _merge(found, value)
    return found


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Nested mappings are joined, anything else replaced: a summary is sent in pieces."""
    for name, value in values.items():
        there = into.get(name)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(there, value)
        else:
            into[name] = value
