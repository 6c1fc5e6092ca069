"""A training in a process of its own, whose epochs are read from its ``metrics.jsonl`` while it runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from util.loggers.jsonl import FILE_NAME
from util.metrics.measurement import short_name

_SAVING_SECONDS = 300.0
"""A training that was asked to stop has this long to save its checkpoint."""

_KEPT = 8000  # bytes of the log's end, where the line of an error stands


class EpochReader:
    """What is new in a ``metrics.jsonl``: a training that goes on replaces the file, which is then read from its begin.

    Args:
        folder: of the run; neither it nor the file need exist.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE_NAME
        self._inode, self._offset = 0, 0

    def new(self) -> list[tuple[int, dict[str, float]]]:
        """(epoch, losses and metrics by short name) of every epoch that ended since the last call."""
        try:
            with open(self._file, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset = status.st_ino, 0
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return []
        whole, end, _ = text.rpartition(b"\n")  # the last line may be in the making
        self._offset += len(whole) + len(end)
        return [_values(line) for line in whole.splitlines() if line.startswith(b'{"kind": "epoch"')]


def _values(line: bytes) -> tuple[int, dict[str, float]]:
    record = json.loads(line)
    found = {name: float(value) for name, value in record["means"].items()}
    found |= {short_name(name) or name: float(value) for name, value in record.get("metrics", {}).items()}
    return int(record["epoch"]), found


class TrainingProcess:
    """A running ``train.py``. It ignores the Ctrl-C of the terminal: whoever started it stops it.

    Args:
        command: the program with its words.
        log: file that its messages are added to.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        self._log = log

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Let it save and end; kill it where it does not."""
        self._process.terminate()
        try:
            self._process.wait(_SAVING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def error(self) -> str:
        """The last line of error that it wrote; empty if there is none."""
        with open(self._log, "rb") as file:
            file.seek(max(0, self._log.stat().st_size - _KEPT))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
        found = [line.partition(": error: ")[2] for line in lines if ": error: " in line]
        return found[-1].strip() if found else ""
