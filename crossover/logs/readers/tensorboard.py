"""TensorBoard event files: scalars in both of their forms, hyperparameters, and settings logged as JSON text.

Every record of the file is one protobuf `Event`. Field numbers, from the `.proto` files of `tensorboard/compat/proto`
and `tensorboard/plugins/hparams`: Event wall_time 1, step 2, summary 5, session_log 7 (its status 1); Summary value 1;
Value tag 1, simple_value 2, tensor 8, metadata 9; SummaryMetadata plugin_data 1 (plugin_name 1, content 2); TensorProto
dtype 1, tensor_content 4, then one field per type; HParamsPluginData session_start_info 3, its map hparams 1.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from crossover.base.errors import DamageError
from crossover.base.hints import some
from crossover.logs.launches import join
from crossover.logs.logged import Curves, LoggedRun, Scalar, flatten, parse_json
from crossover.logs.readers.tfrecord import Records
from crossover.logs.readers.wire import CutError, Value, WireError, integer, message, parts, text

_TENSORS = {1: (5, "f"), 2: (6, "d"), 3: (7, None), 9: (10, None), 19: (13, None), 14: (13, None)}
"""By dtype (float, double, int32, int64, half, bfloat16) the field with the values, and how they are packed."""
_CONTENT = {1: "<f", 2: "<d", 3: "<i", 9: "<q", 19: "<e"}
"""By dtype how one value lies in `tensor_content`."""


_START = 1
"""A session's status: `purge_step` writes that a training goes on from its event's step."""


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
        launch.purge, launch.twice = part.purge, part.twice
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
    part, records, layouts = _File(path.name, path), None, _Layouts()
    try:
        records = Records(path)
        for place, payload in records:
            if layouts.take(part, payload):
                records.take(place, len(payload))
            elif _take(part, payload):
                records.take(place, len(payload))
                layouts.learn(payload)
    except CutError:
        count = records.count if records else 0
        part.notes.append(f"{path.name} ends early, after {count} records: the run was killed or is still going")
    except WireError as error:
        raise _damage(path, error) from None
    try:
        if records:
            records.verify()
    except WireError as error:
        raise _damage(path, error) from None
    return part


def _damage(path: Path, error: WireError) -> DamageError:
    return DamageError(f"{path} is damaged ({error}); copy it again, or leave it out")


class _Layouts:
    """Events that differ from one before in time, step and number alone, as most of a long run's do.

    To parse each anew takes several times as long. What lies after the step is known by its bytes without the number's.
    """

    def __init__(self) -> None:
        self._places: dict[int, set[tuple[int, str]]] = {}
        self._tags: dict[tuple[int, str, bytes], str] = {}

    def take(self, run: _File, payload: bytes) -> bool:
        """Add the value of an event of a known layout; whether it is one."""
        step, after = _step(payload)
        rest = payload[after:]
        for place, form in self._places.get(len(rest), ()):
            end = place + struct.calcsize(form)
            tag = self._tags.get((place, form, rest[:place] + rest[end:]))
            if tag is not None and after:
                run.log(step, {tag: struct.unpack(form, rest[place:end])[0]})
                return True
        return False

    def learn(self, payload: bytes) -> None:
        """The layout of an event with one float or double, whose bytes occur once."""
        _, after = _step(payload)
        rest = payload[after:]
        event = message(rest)
        values = [item for summary in parts(event, 5) for item in parts(message(summary), 1)]
        if not after or set(event) != {5} or len(values) != 1 or b"hparams" in rest:
            return
        found = message(values[0])
        tensor = message(b"".join(parts(found, 8)))
        form = "<d" if tensor.get(1) == [2] else "<f"
        numbers = [*found.get(2, []), *tensor.get(4, []), *tensor.get(6 if form == "<d" else 5, [])]
        data = numbers[0] if len(numbers) == 1 and tensor.get(1, [1]) in ([1], [2]) else 0
        if isinstance(data, bytes) and len(data) == struct.calcsize(form) and rest.count(data) == 1:
            place = rest.index(data)
            self._places.setdefault(len(rest), set()).add((place, form))
            self._tags[place, form, rest.replace(data, b"")] = text(found, 1)


def _step(payload: bytes) -> tuple[int, int]:
    """The step of an event that begins with its time and goes on with its step, and where that ends; else 0, 0."""
    if payload[:1] != b"\x09":
        return 0, 0
    if payload[9:10] != b"\x10":
        return 0, 9
    step, at = 0, 10
    while at < min(len(payload), 19):
        step |= (payload[at] & 0x7F) << 7 * (at - 10)
        at += 1
        if payload[at - 1] < 0x80:
            return step, at
    return 0, 0


def _take(run: _File, payload: bytes) -> bool:
    """Add the values of an event; whether there were any."""
    event = message(payload)
    step, found = integer(event, 2), False
    if step > 0 and any(integer(message(session), 1) == _START for session in parts(event, 7)):
        run.purge = step
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
