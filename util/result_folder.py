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
        ValueError: it cannot be written, or a folder of someone else has the draft's name.
    """
    real = folder.resolve()
    draft = real.with_name(f"{real.name}.partial")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{what}: {folder} is a file; name a folder")
    if draft.is_dir() and any(draft.iterdir()) and not (draft / "images").is_dir():  # not what a killed run left
        raise ValueError(f"{what}: {draft} is in the way, where results are made before they are moved; rename it")
    check_writable(folder, what)
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft, what)
    try:
        yield draft
        folder.mkdir(exist_ok=True)
        shutil.rmtree(folder / "images", ignore_errors=True)
        for each in draft.iterdir():
            each.replace(folder / each.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
