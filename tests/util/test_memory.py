"""Free memory."""

import pytest

from util.memory import free_memory, gigabytes


def test_free_memory_is_known_here_or_said_to_be_unknown() -> None:
    free = free_memory()
    assert free is None or 2**20 < free < 2**50


@pytest.mark.parametrize(("size", "text"), [(3 * 2**29, "1.5 GB"), (2**30, "1.0 GB"), (5 * 2**20, "5 MB")])
def test_sizes_are_said_in_their_unit(size: int, text: str) -> None:
    assert gigabytes(size) == text
