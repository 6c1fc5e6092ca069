"""Keeping decoded pictures in memory."""

import numpy as np
import pytest

from data import cache
from data.cache import PixelCache, check_memory, estimate, fill
from data.transforms import Prepared


def picture(height: int, width: int, channels: int, dtype: str, seed: int = 0) -> Prepared:
    values = np.random.default_rng(seed).uniform(0, 200, (height, width, channels)).astype(dtype)
    return Prepared(values, dtype)  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", [False, True])
def test_pictures_of_all_kinds_over_several_blocks(shared: bool) -> None:
    units = [
        {"A": picture(5, 7, 3, "uint8"), "B": picture(5, 7, 1, "uint16")},
        {"A": picture(3, 3, 1, "uint8", 1)},  # 9 bytes: the next picture must start aligned
        {"B": picture(9, 4, 2, "float32", 2)},
        {"A": picture(40, 40, 3, "uint8", 3)},  # larger than a block
    ]
    kept = PixelCache(shared=shared, chunk_bytes=512)
    for unit in units:
        kept.append(unit)
    assert len(kept) == 4
    assert kept.nbytes == 512 + 40 * 40 * 3
    for number, unit in enumerate(units):
        assert list(kept[number]) == list(unit)
        for found, expected in zip(kept[number].values(), unit.values(), strict=True):
            assert found.format == expected.format and found.array.dtype == expected.array.dtype
            assert found.array.flags.aligned
            np.testing.assert_array_equal(found.array, expected.array)


def test_fill_keeps_the_order_and_reads_each_unit() -> None:
    kept = fill(lambda unit: {"A": Prepared(np.full((2, 2, 1), unit, np.uint8), "uint8")}, 50)
    assert [kept[unit]["A"].array.max() for unit in range(50)] == list(range(50))


def test_estimate_is_the_mean_times_the_count() -> None:
    assert estimate(lambda unit: {"A": picture(10, 10, 3, "uint16")}, 1000) == 600 * 1000
    assert estimate(lambda unit: {"A": picture(1, 1 + unit, 1, "uint8")}, 3) == 6  # 1 + 2 + 3


def test_too_little_memory_is_refused_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: 10 * 2**30)
    check_memory(8 * 2**30)
    with pytest.raises(ValueError, match=r"--cache ram needs about 9\.5 GB, but 10\.0 GB .*: use --cache none"):
        check_memory(int(9.5 * 2**30))
    with pytest.raises(ValueError, match=r"16\.0 GB \(2 processes with 8\.0 GB each\)"):
        check_memory(8 * 2**30, copies=2)


def test_a_broken_unit_stops_the_filling() -> None:
    def decode(unit: int) -> dict[str, Prepared]:
        if unit == 3:
            raise ValueError("3.png: cannot be read")
        return {"A": picture(2, 2, 1, "uint8")}

    with pytest.raises(ValueError, match=r"3\.png"):
        fill(decode, 8)
