"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, fast enough in numpy for gigabytes."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78  # reflected
_LANE = 64  # bytes
_BLOCK = 1 << 21  # bytes, a multiple of _LANE: the states of all lanes then stay in the cache
_MASK_DELTA = 0xA282EAD8


def crc32c(data: NDArray[np.uint8]) -> int:
    """The CRC-32C of some bytes.

    A CRC without its initial value is linear over GF(2). Therefore the bytes are cut into lanes of 64, all lanes are
    computed at the same time, and the results are joined in pairs: ``crc(a + b) = shift(crc(a), len(b)) ^ crc(b)``.
    Zeros in front change nothing, so that they fill up the lanes.

    Args:
        data: ``[n]``, also a view of a mapped file.
    """
    state = 0
    for start in range(0, data.size, _BLOCK):
        block = data[start : start + _BLOCK]
        state = _shift(state, block.size) ^ _linear(block)
    return _shift(0xFFFFFFFF, data.size) ^ state ^ 0xFFFFFFFF


def masked_crc32c(data: NDArray[np.uint8]) -> int:
    """The form in which TensorFlow and LevelDB store it: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _linear(block: NDArray[np.uint8]) -> int:
    """CRC of a block of at most ``_BLOCK`` bytes, with an initial value of 0 and nothing added at the end."""
    lanes = 1 << max(-(-block.size // _LANE) - 1, 0).bit_length()
    filled = np.zeros(lanes * _LANE, np.uint8)
    filled[filled.size - block.size :] = block
    columns = np.ascontiguousarray(filled.view("<u4").reshape(lanes, _LANE // 4).T)
    state = np.zeros(lanes, np.uint32)
    step = _power(2)  # 4 bytes
    for column in columns:
        state = _apply(step, state ^ column)
    level = _LANE.bit_length() - 1
    while state.size > 1:
        state = _apply(_power(level), state[::2]) ^ state[1::2]
        level += 1
    return int(state[0])


def _shift(state: int, count: int) -> int:
    """The state after ``count`` more bytes of 0."""
    value = np.array([state], np.uint32)
    for level in range(count.bit_length()):
        if count >> level & 1:
            value = _apply(_power(level), value)
    return int(value[0])


def _apply(table: Words, state: Words) -> Words:
    """A linear map of 32 bits, as the image of each of the two halves of the state: ``table`` ``[2, 65536]``."""
    return table[0].take(state & np.uint32(0xFFFF)) ^ table[1].take(state >> np.uint32(16))


@cache
def _power(level: int) -> Words:
    """The map by ``2 ** level`` bytes of 0."""
    if level:
        half = _power(level - 1)
        return np.stack([_apply(half, each) for each in half])
    low = np.arange(0x10000, dtype=np.uint32)
    table = np.stack([low, low << np.uint32(16)])
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ np.uint32(_POLYNOMIAL) * (table & np.uint32(1))
    return table
