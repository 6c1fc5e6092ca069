"""The folder of a run: whether it may be used, and by one process at a time."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

from util.run.restart import MARKER, Job, read_job, this_job

OURS = (
    *("*_net_*.pth", "*_state.pth", "*_opt.txt", "*_opt.json", "loss_log.*", "metrics.jsonl", "label_to_classname.txt"),
    *("*.tmp", MARKER, "import_report.txt", "import_check.png"),
)
OUR_FOLDERS = ("web", "tensorboard", "wandb", "images_noisy")
LOCK = ".lock"
CHECKPOINT_FILE = re.compile(r"(?P<tag>latest|iter_\d+|best_\w+?|\d+)_(?:net_.+|state)\.pth")
"""Name of a file of a checkpoint, with its tag."""
RESTART_SECONDS = 20.0
"""How long a process of torchrun waits for a lock: the job may have been started again a moment ago."""


def check_name(name: str) -> None:
    """Refuse a run name that would lead out of the folder of runs.

    Raises:
        ValueError: empty, absolute, or with ``..``.
    """
    path = Path(name)
    if not name.strip() or path.is_absolute() or ".." in path.parts or name.strip(" .") == "":
        raise ValueError(f"--name {name!r}: give a plain name, such as facades_pix2pix")


def holds_run(folder: Path) -> bool:
    """Whether there is something to lose: a checkpoint, or the log of an epoch.

    What a start left behind that failed before that (options, empty logs) is not a run: the corrected command may
    simply be given again.
    """
    if any(any(folder.glob(pattern)) for pattern in ("*_net_*.pth", "*_state.pth", MARKER)):
        return True
    log = folder / "loss_log.csv"
    return log.is_file() and len(log.read_text(encoding="utf-8", errors="replace").splitlines()) > 1


def check_run_folder(folder: Path, *, continue_train: bool, overwrite: bool) -> None:
    """Refuse to start where that would lose something. Creates nothing.

    Raises:
        ValueError: there is a run already, or none to continue, or the folder cannot be written.
    """
    name = folder.name
    if continue_train and overwrite:
        raise ValueError("--continue_train and --overwrite contradict each other: give one of them")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--name {name}: {folder} is a file; choose another --name")
    if continue_train and not holds_run(folder):
        raise ValueError(f"--continue_train: there is no run in {folder}; check --name, or leave the flag out to start")
    if not continue_train and not overwrite and holds_run(folder):
        raise ValueError(
            f"--name {name}: {folder} holds a run already; --continue_train goes on with it, "
            "--overwrite deletes it, another --name keeps it"
        )
    check_writable(folder, f"--checkpoints_dir {folder.parent}")


def check_writable(folder: Path, what: str) -> None:
    """Refuse a place that could not be written. Creates nothing.

    Args:
        folder: a folder or file to be written; need not exist.
        what: the flag and its value, for the message.

    Raises:
        ValueError: a parent is a file, or not ours to write.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not (existing.is_dir() or existing in (folder, folder.absolute())) or not os.access(existing, os.W_OK):
        raise ValueError(f"{what}: {existing} cannot be written; choose another folder")


def make_folder(folder: Path, what: str) -> None:
    """Make a folder and its parents.

    Raises:
        ValueError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{what}: {folder} cannot be made ({error.strerror}); choose another folder") from None


def open_run_folder(folder: Path, *, overwrite: bool) -> IO[str]:
    """Make the folder, take its lock, and with ``overwrite`` delete what an earlier run wrote (nothing else).

    Returns:
        the lock: keep it open while the run lasts.

    Raises:
        ValueError: another process trains here.
    """
    make_folder(folder, f"--checkpoints_dir {folder.parent}")
    lock = _lock(folder)
    if overwrite:
        for pattern in OURS:
            for file in folder.glob(pattern):
                file.unlink()
        for name in OUR_FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=True)
    return lock


def is_training(folder: Path) -> bool:
    """Whether a process holds the folder's lock now."""
    if not (folder / LOCK).exists():
        return False
    try:
        _lock(folder).close()
    except ValueError:
        return True
    return False


def _lock(folder: Path) -> IO[str]:
    file = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115  (held open while the run lasts)
    if fcntl is None:
        return file
    job, end = this_job(), time.monotonic()
    if job is not None:  # processes that read images hold it for some seconds longer than the one that was killed
        end += RESTART_SECONDS
    while not _locked(file):
        if time.monotonic() < end:
            time.sleep(0.2)
            continue
        file.seek(0)
        holder = file.readline().strip() or "unknown"
        file.close()
        raise ValueError(
            f"--name {folder.name}: process {holder} is training in {folder}; wait, or choose another --name"
        ) from None
    before = last_job(folder)
    file.truncate(0)
    if job is not None:
        began = os.fstat(file.fileno()).st_mtime  # by the clock of the disk, as the checkpoints' times are
        job = replace(job, began=before.began if before is not None and job.same_as(before) else began)
    file.write(f"{os.getpid()}\n{job or ''}")
    file.flush()
    return file


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def last_job(folder: Path) -> Job | None:
    """The job of torchrun that trained here last, or still does; None if there is none."""
    try:
        lines = (folder / LOCK).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return read_job(lines[1]) if len(lines) > 1 else None
