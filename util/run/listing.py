"""What the files of a run say of it, without loading a network: how far it is, what it measured, its size on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from util.run.folder import check_name, holds_run, is_training

_CHECKPOINT = re.compile(r"(?P<tag>latest|iter_\d+|best_\w+?|\d+)_(?:net_.+|state)\.pth")
_KEPT = ("latest", "best")


@dataclass(frozen=True)
class RunInfo:
    """A run on disk.

    Attributes:
        folder: of the run.
        options: as saved; empty for runs of other programs.
        epochs: records of the finished epochs, from the first to the last: ``epoch``, ``total_iters``, ``means``,
            ``lr``, ``seconds``, ``metrics``.
        training: whether a process trains it now.
        changed: time of the last change of a checkpoint or a log, seconds since 1970.
        size: of the folder in bytes.
        checkpoints: tag -> its files.
    """

    folder: Path
    options: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...]
    training: bool
    changed: float
    size: int
    checkpoints: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def last_epoch(self) -> int:
        """Epochs that are planned; 0 where the run is bounded by steps or its options are unknown."""
        if self.options.get("n_iters") or self.options.get("n_iters_decay"):
            return 0
        return int(self.options.get("n_epochs") or 0) + int(self.options.get("n_epochs_decay") or 0)

    @property
    def epoch(self) -> int:
        """The last finished one; 0 before."""
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

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
        return float(sum(record.get("seconds") or 0.0 for record in self.epochs))

    def metrics(self) -> dict[str, float]:
        """The metrics of the last epoch in which any were measured."""
        return next((dict(record["metrics"]) for record in reversed(self.epochs) if record.get("metrics")), {})

    def losses(self) -> dict[str, float]:
        """The mean losses of the last epoch."""
        return dict(self.epochs[-1].get("means") or {}) if self.epochs else {}

    def prunable(self, keep: int) -> dict[str, tuple[Path, ...]]:
        """Checkpoints of epochs and iterations except the newest ``keep`` of each kind; latest and best ones stay."""
        numbered = [tag for tag in self.checkpoints if not tag.startswith(_KEPT)]
        kinds = ([tag for tag in numbered if tag.isdigit()], [tag for tag in numbered if not tag.isdigit()])
        old = [tag for tags in kinds for tag in sorted(tags, key=_number)[: max(len(tags) - keep, 0)]]
        return {tag: self.checkpoints[tag] for tag in old}


def _number(tag: str) -> int:
    return int(re.sub(r"\D", "", tag))


def read_run(folder: Path) -> RunInfo:
    """The run in a folder; damaged lines of its log are skipped.

    Raises:
        ValueError: there is no run.
    """
    if not folder.is_dir() or not holds_run(folder):
        raise ValueError(f"--name {folder.name}: there is no run in {folder}")
    checkpoints: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.pth")):
        if found := _CHECKPOINT.fullmatch(file.name):
            checkpoints.setdefault(found["tag"], []).append(file)
    watched = [*folder.glob("*.pth"), *folder.glob("*.jsonl"), *folder.glob("*.csv")]
    return RunInfo(
        folder,
        _options(folder / "train_opt.json"),
        tuple(_epochs(folder / "metrics.jsonl")),
        is_training(folder),
        max((file.stat().st_mtime for file in watched), default=folder.stat().st_mtime),
        sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        {tag: tuple(files) for tag, files in checkpoints.items()},
    )


def find_runs(checkpoints_dir: Path) -> list[RunInfo]:
    """All runs below a folder, those in folders of folders too, by name.

    Raises:
        FileNotFoundError: no such folder.
    """
    if not checkpoints_dir.is_dir():
        raise FileNotFoundError(f"--checkpoints_dir {checkpoints_dir}: there is no such folder")
    folders = [folder for folder in (*checkpoints_dir.iterdir(), *checkpoints_dir.glob("*/*")) if folder.is_dir()]
    return [read_run(folder) for folder in sorted(folders) if holds_run(folder)]


def named_run(checkpoints_dir: Path, name: str) -> RunInfo:
    """One run by its name. Raises ValueError as ``read_run``."""
    check_name(name)
    return read_run(checkpoints_dir / name)


def _options(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _epochs(file: Path) -> Iterator[Mapping[str, Any]]:
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"epoch"' not in line:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("kind") == "epoch":
            yield record
