"""Protobuf's wire format, the little of it that training logs need, without its library.

Format: https://protobuf.dev/programming-guides/encoding. A message is a list of fields, each a varint of
`number << 3 | type` and a value. What the numbers mean is said where they are used.
"""

from collections.abc import Iterator

Value = int | bytes


class WireError(ValueError):
    """Bytes that are no message, or not the one expected."""


class CutError(WireError):
    """The bytes end where more were announced: the writer was killed, or is still writing."""


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Every field as (number, value): a varint as an unsigned integer, all others as their bytes.

    Raises `WireError` where the bytes follow no such format.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case other:
                raise WireError(f"wire type {other} at byte {at}")
        if at + size > len(data):
            raise WireError(f"a field of {size} bytes at byte {at} of {len(data)}")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + i + 1
    raise WireError(f"no whole number at byte {at}")


def message(data: bytes) -> dict[int, list[Value]]:
    """The fields of a message by number, each with its values in order."""
    found: dict[int, list[Value]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def parts(found: dict[int, list[Value]], number: int) -> list[bytes]:
    """The values of a field that holds bytes, text or messages; raises `WireError` where it holds numbers."""
    values = found.get(number, [])
    if not all(isinstance(value, bytes) for value in values):
        raise WireError(f"field {number} holds a number where bytes are due")
    return [value for value in values if isinstance(value, bytes)]


def text(found: dict[int, list[Value]], number: int) -> str:
    """The last value of a text field, "" where it is absent."""
    return b"".join(parts(found, number)[-1:]).decode(errors="replace")


def integer(found: dict[int, list[Value]], number: int) -> int:
    """The last value of an int64 field, 0 where it is absent."""
    value = found.get(number, [0])[-1]
    if not isinstance(value, int):
        raise WireError(f"field {number} holds bytes where a number is due")
    return value - (1 << 64) if value >> 63 else value
