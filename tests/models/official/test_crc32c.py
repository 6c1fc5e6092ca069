"""CRC-32C against published check values and the plain form, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest

from models.official.crc32c import crc32c, masked_crc32c


def eight_bits(state: int) -> int:
    for _ in range(8):
        state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state


TABLE = [eight_bits(byte) for byte in range(256)]


def byte_by_byte(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state = TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    return state ^ 0xFFFFFFFF


def crc(data: bytes) -> int:
    return crc32c(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"123456789", 0xE3069283),  # the catalogue's check value
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4, and the three below
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_published_values(data, value) -> None:
    assert crc(data) == value


@pytest.mark.parametrize("size", [1, 3, 63, 64, 65, 1000, 4097])
def test_any_length(size) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    assert crc(data) == byte_by_byte(data)


def test_blocks_are_joined() -> None:
    data = bytes((1 << 21) - 5) + b"abcdefghij"  # zeros in front count, and the second block has 5 bytes
    assert crc(data) == byte_by_byte(data)


def test_the_masked_form_is_rotated_and_moved() -> None:
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert masked_crc32c(np.frombuffer(b"123456789", np.uint8)) == (rotated + 0xA282EAD8) % 2**32
