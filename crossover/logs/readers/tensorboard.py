"""TensorBoard event files: scalars in both of their forms, hyperparameters, and settings logged as JSON text.

The file is a TFRecord (https://www.tensorflow.org/tutorials/load_data/tfrecord): per record the length (8 bytes), its
masked CRC-32C (4), the bytes, and theirs (4). Every record is one protobuf `Event`. Field numbers, from the `.proto`
files of `tensorboard/compat/proto` and `tensorboard/plugins/hparams`: Event step 2, summary 5; Summary value 1; Value
tag 1, simple_value 2, tensor 8, metadata 9; SummaryMetadata plugin_data 1 (plugin_name 1, content 2); TensorProto
dtype 1, tensor_content 4, then one field per type; HParamsPluginData session_start_info 3, its map hparams 1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crossover.base.errors import DamageError
from crossover.logs.launches import join
from crossover.logs.logged import Curves, LoggedRun, Scalar, flatten, parse_json, some
from crossover.logs.readers.wire import CutError, Value, WireError, integer, masked_crc32c, message, parts, text

_TENSORS = {1: (5, "f"), 2: (6, "d"), 3: (7, None), 9: (10, None), 19: (13, None), 14: (13, None)}
"""By dtype (float, double, int32, int64, half, bfloat16) the field with the values, and how they are packed."""
_CONTENT = {1: "<f", 2: "<d", 3: "<i", 9: "<q", 19: "<e"}
"""By dtype how one value lies in `tensor_content`."""


@dataclass
class _File(LoggedRun):
    """What one event file holds."""

    is_session: bool = False
    """Whether it holds hyperparameters: `add_hparams` gives them a folder of their own, named by the time."""


def read_event_runs(name: str, home: Path, files: list[Path]) -> list[LoggedRun]:
    """The runs of a folder with event files; tags of those in folders below it get that folder's name in front.

    Every file is a launch, in the order of their names, which hold the second of its beginning. Raises `DamageError`
    for a file that is no event file or damaged before its end, and for files without any value. A file that ends too
    early, as that of a killed run, gives what was written before, with a note.
    """
    launches, joined = list[LoggedRun](), set[str]()
    for path in sorted(files, key=lambda file: (file.name, file)):
        part = _read_file(path)
        below = path.parent.relative_to(home).as_posix()
        prefix = "" if below == "." or part.is_session else f"{below}/"
        joined |= {below} if prefix and part.curves else set()
        launch = LoggedRun(name, home, part.facts, _under(prefix, part.curves), notes=part.notes)
        launch.earlier = [_under(prefix, curves) for curves in part.earlier]
        launches.append(launch)
    if not any(launch.curves or launch.facts for launch in launches):
        raise DamageError(f"{home} holds event files without a single scalar; leave it out")
    runs = join(launches)
    if joined:
        runs[0].notes.append(f"{some(sorted(joined))} below it taken as part of this run")
    return runs


def _under(prefix: str, curves: Curves) -> Curves:
    return {prefix + tag: points for tag, points in curves.items()}


def _read_file(path: Path) -> _File:
    part, count = _File(path.name, path), 0
    try:
        for payload, checksum in _records(path):
            if _take(part, payload) and masked_crc32c(payload) != checksum:
                raise WireError(f"wrong checksum in record {count + 1}")
            count += 1
    except CutError:
        part.notes.append(f"{path.name} ends early, after {count} records: the run was killed or is still going")
    except WireError as error:
        raise DamageError(f"{path} is damaged ({error}); copy it again, or leave it out") from None
    return part


@lru_cache(maxsize=4096)
def _checksum(length: bytes) -> int:
    """Of a record's length, of which there are few in a file."""
    return masked_crc32c(length)


def _records(path: Path) -> Iterator[tuple[bytes, int]]:
    """Every record with the checksum it should have.

    The length's checksum is checked here, the record's where something is taken from it: most of a large file is
    pictures and histograms, which nobody asks for.
    """
    size = path.stat().st_size
    if not size:
        raise CutError("it is empty")
    with path.open("rb") as file:
        while header := file.read(12):
            if not any(header) or len(header) < 12:
                raise CutError("cut in a header")  # or zeros, where a machine crashed before it wrote
            if _checksum(header[:8]) != struct.unpack("<I", header[8:])[0]:
                raise WireError(f"wrong checksum of the length at byte {file.tell() - 12}")
            (length,) = struct.unpack("<Q", header[:8])
            if file.tell() + length + 4 > size:
                raise CutError("cut in a record")
            payload = file.read(length)
            yield payload, struct.unpack("<I", file.read(4))[0]


def _take(run: _File, payload: bytes) -> bool:
    """Add the values of an event; whether there were any."""
    event = message(payload)
    step, found = integer(event, 2), False
    for summary in parts(event, 5):
        for item in parts(message(summary), 1):
            found |= _take_value(run, step, message(item))
    return found


def _take_value(run: _File, step: int, value: dict[int, list[Value]]) -> bool:
    tag = text(value, 1)
    metadata = message(b"".join(parts(value, 9)[-1:]))
    plugin = message(b"".join(parts(metadata, 1)[-1:]))
    if text(plugin, 1) == "hparams":
        settings = _hyperparameters(b"".join(parts(plugin, 2)))
        run.facts |= settings
        run.is_session |= bool(settings)
        return bool(settings)
    if 2 in value:
        run.log(step, {tag: _number(b"".join(parts(value, 2)[-1:]), "f")})
        return True
    for tensor in parts(value, 8):
        return _take_tensor(run, tag, step, message(tensor))
    return False


def _take_tensor(run: LoggedRun, tag: str, step: int, tensor: dict[int, list[Value]]) -> bool:
    kind = integer(tensor, 1)
    if kind == 7:
        return _take_text(run, tag, parts(tensor, 8))
    number = _scalar(kind, tensor)
    if number is None:
        return False
    run.log(step, {tag: number})
    return True


def _take_text(run: LoggedRun, tag: str, values: list[bytes]) -> bool:
    """Settings logged as the JSON of an object, as `transformers` does under `args` and `model_config`."""
    content = values[0].strip() if len(values) == 1 else b""
    if not content.startswith(b"{"):
        return False
    try:
        settings = flatten(parse_json(content), tag.removesuffix("/text_summary"))
    except ValueError:
        return False
    run.facts |= settings
    return True


def _scalar(kind: int, tensor: dict[int, list[Value]]) -> float | None:
    """The value of a tensor with one element; None for any other."""
    content = b"".join(parts(tensor, 4))
    if content:
        layout = _CONTENT.get(kind)
        fits = layout is not None and struct.calcsize(layout) == len(content)
        return float(struct.unpack(layout, content)[0]) if fits and layout else None
    number, layout = _TENSORS.get(kind, (0, None))
    values = tensor.get(number, [])
    if len(values) != 1:
        return None
    if layout:
        return _packed(values[0], layout)
    return _whole(kind, values[0])


def _packed(value: Value, layout: str) -> float | None:
    """One float or double of a repeated field, which lies alone and packed alike."""
    fits = isinstance(value, bytes) and len(value) == struct.calcsize(layout)
    return float(struct.unpack(f"<{layout}", value)[0]) if fits and isinstance(value, bytes) else None


def _whole(kind: int, value: Value) -> float | None:
    """One integer of a repeated field, packed or not; a half or bfloat16 lies in the bits of one."""
    found: dict[int, list[Value]] = message(b"\x08" + value) if isinstance(value, bytes) else {1: [value]}
    if list(found) != [1] or len(found[1]) != 1:
        return None
    number = integer(found, 1)
    if kind == 19:
        return float(struct.unpack("<e", struct.pack("<H", number & 0xFFFF))[0])
    if kind == 14:
        return float(struct.unpack("<f", struct.pack("<I", (number & 0xFFFF) << 16))[0])
    return float(number)


def _number(value: bytes, layout: str) -> float:
    number = _packed(value, layout)
    if number is None:
        raise WireError(f"a number of {len(value)} bytes")
    return number


def _hyperparameters(content: bytes) -> dict[str, Scalar]:
    """The map of a session's start: names to `google.protobuf.Value` (number 2, string 3, bool 4)."""
    found: dict[str, Scalar] = {}
    for start in parts(message(content), 3):
        for entry in parts(message(start), 1):
            pair = message(entry)
            value = message(b"".join(parts(pair, 2)[-1:]))
            if 2 in value:
                found[text(pair, 1)] = _number(b"".join(parts(value, 2)[-1:]), "d")
            elif 3 in value:
                found[text(pair, 1)] = text(value, 3)
            elif 4 in value:
                found[text(pair, 1)] = bool(integer(value, 4))
    return found
