"""A folder of results that is replaced whole: what an earlier run left stays until the new one is finished."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from util.run_folder import check_writable, make_folder


@contextlib.contextmanager
def drafted(folder: Path, what: str) -> Iterator[Path]:
    """A draft of the folder, beside it; its content takes the place of what is there once the context ends well.

    ``images`` is replaced as a whole; of the rest, files of the same name.

    Args:
        folder: of the results.
        what: the flag that decides where, and its value, for messages.

    Raises:
        ValueError: it cannot be written.
    """
    real = folder.resolve()
    draft = real.with_name(f"{real.name}.partial")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{what}: {folder} is a file; name a folder")
    check_writable(folder, what)
    make_folder(draft, what)
    try:
        yield draft
        folder.mkdir(exist_ok=True)
        shutil.rmtree(folder / "images", ignore_errors=True)
        for each in draft.iterdir():
            each.replace(folder / each.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
