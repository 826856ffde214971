"""Protobuf's wire format and CRC-32C, by published examples."""

import pytest

from crossover.logs.readers.wire import WireError, integer, message, parts, text
from tests.logs.encode import checksum


def unmasked(value: int) -> int:
    rotated = (value - 0xA282EAD8) & 0xFFFF_FFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)],
)
def test_crc32c_by_the_vectors_of_rfc_3720(data: bytes, crc: int) -> None:
    assert unmasked(int.from_bytes(checksum(data), "little")) == crc


def test_fields_by_the_examples_of_the_encoding_guide() -> None:
    assert integer(message(bytes.fromhex("089601")), 1) == 150
    assert text(message(bytes.fromhex("120774657374696e67")), 2) == "testing"
    assert integer(message(bytes.fromhex("08feffffffffffffffff01")), 1) == -2
    assert message(bytes.fromhex("3206038e029ea705")) == {6: [bytes.fromhex("038e029ea705")]}
    assert message(b"") == {}
    assert integer({}, 1) == 0
    assert text({}, 1) == ""


@pytest.mark.parametrize("broken", ["08", "08ffffffffffffffffffff01", "1207746573", "0b", "0d0000", "09000000"])
def test_what_is_no_message_is_refused(broken: str) -> None:
    with pytest.raises(WireError):
        message(bytes.fromhex(broken))


def test_a_field_of_another_type_is_refused() -> None:
    with pytest.raises(WireError, match="where bytes are due"):
        parts(message(bytes.fromhex("089601")), 1)
    with pytest.raises(WireError, match="where a number is due"):
        integer(message(bytes.fromhex("0a0161")), 1)
