"""None of the tests of metrics sees a network or a cache of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _alone(offline: Path) -> None:
    """For every test here."""
