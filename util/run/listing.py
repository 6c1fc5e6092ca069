"""What the files of a run say of it, without loading a network: how far it is, what it measured, its size on disk."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from util.files import real_path
from util.run.folder import CHECKPOINT_FILE, check_name, holds_run, is_training

_KEPT = ("latest", "best")
_WATCHED = (".pth", ".jsonl", ".csv")  # the newest of these says when the run was changed


@dataclass(frozen=True)
class FinishedEpoch:
    """What the log has of an epoch: its number, seconds of training, and the means and metrics that are numbers."""

    number: int
    seconds: float
    means: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunInfo:
    """A run on disk.

    Attributes:
        folder: of the run.
        name: as ``--name`` takes it: with the folders between, such as ``sweep/trial_0``.
        options: as saved; empty for runs of other programs.
        epochs: the finished ones, from the first to the last.
        training: whether a process trains it now.
        changed: time of the last change of a checkpoint or a log, seconds since 1970.
        size: of the folder in bytes.
        checkpoints: tag -> its files.
    """

    folder: Path
    name: str
    options: Mapping[str, Any]
    epochs: tuple[FinishedEpoch, ...]
    training: bool
    changed: float
    size: int
    checkpoints: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def last_epoch(self) -> int:
        """Epochs that are planned; 0 where the run is bounded by steps or its options are unknown."""
        if self.options.get("n_iters") or self.options.get("n_iters_decay"):
            return 0
        return sum(int(_number(self.options.get(name))) for name in ("n_epochs", "n_epochs_decay"))

    @property
    def epoch(self) -> int:
        """The last finished one; 0 before."""
        return self.epochs[-1].number if self.epochs else 0

    @property
    def state(self) -> str:
        """``training``, ``done``, ``stopped``, or ``weights only`` for networks without a log."""
        if self.training:
            return "training"
        if not self.epochs:
            return "stopped" if "latest" in self.checkpoints and self.options else "weights only"
        return "done" if self.last_epoch and self.epoch >= self.last_epoch else "stopped"

    @property
    def seconds(self) -> float:
        """Time of training, evaluations left out."""
        return sum(epoch.seconds for epoch in self.epochs)

    def metrics(self) -> dict[str, float]:
        """The metrics of the last epoch in which any were measured."""
        return next((dict(epoch.metrics) for epoch in reversed(self.epochs) if epoch.metrics), {})

    def losses(self) -> dict[str, float]:
        """The mean losses of the last epoch."""
        return dict(self.epochs[-1].means) if self.epochs else {}

    def prunable(self, keep: int) -> dict[str, tuple[Path, ...]]:
        """Checkpoints of epochs and iterations except the newest ``keep`` of each kind; latest and best ones stay."""
        numbered = [tag for tag in self.checkpoints if not tag.startswith(_KEPT)]
        kinds = ([tag for tag in numbered if tag.isdigit()], [tag for tag in numbered if not tag.isdigit()])
        old = [tag for tags in kinds for tag in sorted(tags, key=_place)[: max(len(tags) - keep, 0)]]
        return {tag: self.checkpoints[tag] for tag in old}


def _place(tag: str) -> int:
    return int(re.sub(r"\D", "", tag))


def read_run(folder: Path, name: str = "") -> RunInfo:
    """The run in a folder, whatever is left of it: what its log has that is none, or files that vanish, are left out.

    Args:
        folder: of the run.
        name: of the run where it is not that of the folder.

    Raises:
        ValueError: there is no run.
    """
    name = name or folder.name
    if not folder.is_dir() or not holds_run(folder):
        raise ValueError(f"--name {name}: there is no run in {folder}")
    checkpoints: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.pth")):
        if (found := CHECKPOINT_FILE.fullmatch(file.name)) and not file.is_dir():
            checkpoints.setdefault(found["tag"], []).append(file)
    files = {file: status for file in folder.rglob("*") if (status := _file_status(file))}
    watched = [status for file, status in files.items() if file.parent == folder and file.suffix in _WATCHED]
    return RunInfo(
        folder,
        name,
        _options(folder / "train_opt.json"),
        tuple(_epochs(folder / "metrics.jsonl")),
        is_training(folder),
        max((status.st_mtime for status in watched), default=0.0),
        sum(status.st_size for status in files.values()),
        {tag: tuple(files) for tag, files in checkpoints.items()},
    )


def find_runs(checkpoints_dir: Path) -> list[RunInfo]:
    """All runs below a folder, those in folders of folders too, by name; a run that links lead to again, once.

    Raises:
        FileNotFoundError: no such folder.
    """
    if not checkpoints_dir.is_dir():
        raise FileNotFoundError(f"--checkpoints_dir {checkpoints_dir}: there is no such folder")
    found: dict[Path, RunInfo] = {}
    folders = [*checkpoints_dir.iterdir(), *checkpoints_dir.glob("*/*")]
    for folder in sorted(folders, key=lambda each: (each.is_symlink() or each.parent.is_symlink(), each)):
        if (real := real_path(folder)) not in found:
            with contextlib.suppress(ValueError, OSError):  # no run, or one that is being deleted
                found[real] = read_run(folder, folder.relative_to(checkpoints_dir).as_posix())
    return sorted(found.values(), key=lambda run: run.name)


def named_run(checkpoints_dir: Path, name: str) -> RunInfo:
    """One run by its name. Raises ValueError as ``read_run``."""
    check_name(name)
    return read_run(checkpoints_dir / name, name)


def _options(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _file_status(file: Path) -> os.stat_result | None:
    """None for folders, links to nothing, and files that a training removes while they are looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _epochs(file: Path) -> Iterator[FinishedEpoch]:
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"kind": "epoch"' not in line:  # one line of hundreds
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("kind") == "epoch" and type(record.get("epoch")) is int:
            means, metrics = (_numbers(record.get(name)) for name in ("means", "metrics"))
            yield FinishedEpoch(record["epoch"], _number(record.get("seconds")), means, metrics)


def _numbers(values: object) -> dict[str, float]:
    found = values.items() if isinstance(values, dict) else ()
    return {name: float(value) for name, value in found if type(value) in (int, float)}


def _number(value: object) -> float:
    """0 for what is no finite number."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
