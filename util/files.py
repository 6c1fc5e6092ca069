"""Files that survive a kill: text replaced whole or appended line by line, folders of results replaced whole."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from util.run.folder import check_writable, make_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


def real_path(path: Path) -> Path:
    """Where a path leads when all links are followed; where links lead in a circle, up to there.

    ``Path.resolve`` raises RuntimeError for such a circle before Python 3.13.
    """
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, to be written in the context; it takes the place of ``path`` at its end.

    A reader, and a start after a kill, sees the old content or the new one, never a part. Several processes and threads
    may write at once. Its name is short, as that of ``path`` may have all of the 255 bytes that systems allow.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full. The old file is then untouched.
    """
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None and str(path) not in str(error):  # of a full disk
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace_text(path: Path, pieces: Iterable[str]) -> None:
    """Write the joined pieces to ``path``, as ``replacing`` does. Line ends stay as given.

    A file name that is no Unicode (Python keeps its bytes as lone surrogates) is written with backslashes.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full. The old file is then untouched.
    """
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        file.writelines(pieces)


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Alone among the processes that lock this file or folder; without effect on Windows.

    Args:
        path: of a file, which is made and stays, or of a folder, which some network disks cannot lock: without effect
            there.
        waiting: logged while another process has it.

    Raises:
        OSError: the file cannot be made.
    """
    if fcntl is None:
        yield
        return
    is_folder = path.is_dir()
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        if not _try_lock(handle, is_folder):
            log.info("%s; waiting for it", waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int, is_folder: bool) -> bool:
    """False if another process has it; true also for a folder on a disk that cannot lock folders."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if not is_folder or error.errno not in (errno.EBADF, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL):
            raise
    return True


class LineFile:
    """A text file that grows by whole lines; each line is handed to the system before ``append`` returns.

    A killed process leaves at most one cut line, the last, which is known by its missing line end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "a", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115 (open as long as the run)

    def append(self, line: str) -> None:
        """Add ``line`` (without line end)."""
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def drafted(folder: Path, what: str) -> Iterator[Path]:
    """A draft of the folder, beside it; its content takes the place of what is there once the context ends well.

    Folders in the draft, and ``images``, are replaced as a whole; of the rest, files of the same name.

    Args:
        folder: of the results.
        what: the flag that decides where, and its value, for messages.

    Raises:
        ValueError: it cannot be written, another process is writing it, or a folder of someone else has the draft's
            name.
    """
    real = real_path(folder)
    draft = real.with_name(f"{real.name}.partial")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{what}: {folder} is a file; name a folder")
    with _claimed(draft) as free:  # what a killed run left is free
        if not free:
            raise ValueError(f"{what}: another process is writing {folder}; wait for it, or name another folder")
    if draft.is_dir() and any(draft.iterdir()) and not (draft / "images").is_dir():  # not what a killed run left
        raise ValueError(f"{what}: {draft} is in the way, where results are made before they are moved; rename it")
    check_writable(folder, what)
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft, what)
    with _claimed(draft):
        try:
            yield draft
            real.mkdir(exist_ok=True)
            shutil.rmtree(real / "images", ignore_errors=True)
            for each in draft.iterdir():
                if each.is_dir():
                    shutil.rmtree(real / each.name, ignore_errors=True)
                each.replace(real / each.name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Hold a folder against other processes; false where one of them holds it. Without effect if there is no such
    folder, on Windows, and on network disks that lock no folders."""
    if fcntl is None or not folder.is_dir():
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _try_lock(handle, True)
    finally:
        os.close(handle)
