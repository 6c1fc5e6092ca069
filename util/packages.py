"""Optional packages: what to say where one is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def needs(who: str, package: str) -> Iterator[None]:
    """Around the import of an optional package.

    Args:
        who: cannot do without, with its verb, such as ``videos need``.
        package: as ``import`` and pip name it.

    Raises:
        ValueError: it is missing or does not import; the message says how to get it.
    """
    try:
        yield
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        why = "" if missing else f" ({error})"  # such as a library of the system that it needs in turn
        raise ValueError(f"{who} the package {package}{why}: pip install {package}") from None
