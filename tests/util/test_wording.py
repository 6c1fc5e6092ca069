"""Words of messages."""

from __future__ import annotations

import pytest

from util.wording import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("warning",), "0 warnings"),
        (1, ("warning",), "1 warning"),
        (2, ("warning",), "2 warnings"),
        (12000, ("image",), "12,000 images"),
        (1, ("class", "classes"), "1 class"),
        (3, ("class", "classes"), "3 classes"),
    ],
)
def test_a_number_has_the_right_noun(number, words, text):
    assert counted(number, *words) == text
