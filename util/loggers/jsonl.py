"""``metrics.jsonl``: everything a run logs, one JSON object a line; other tools and the page are fed from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from util.files import LineFile, replace_text
from util.loggers.base import Logger
from util.types import EpochRecord, ImageRecord, ScalarRecord

FILE_NAME = "metrics.jsonl"


@dataclass(frozen=True)
class ImageEvent:
    """What the file keeps of an ``ImageRecord``: everything but the pixels."""

    epoch: int
    total_iters: int
    visuals: tuple[str, ...]
    paths: tuple[str, ...]


Record = ScalarRecord | EpochRecord | ImageEvent


class JsonlLogger(Logger):
    """Writes ``metrics.jsonl``.

    A line is ``{"kind": "scalars" | "epoch" | "images", ...the fields of the record}``; ``images`` lists the names of
    the visuals. JSON knows no NaN and no infinity: such a number is the string ``"NaN"``, ``"Infinity"`` or
    ``"-Infinity"``, which ``float()`` and JavaScript's ``Number()`` read. Every epoch has its ``metrics``, ``{}`` when
    nothing was measured; files of older versions lack them.

    Args:
        run_dir: folder of the run; it exists.
        resume_iters: None starts a new file; else lines with more ``total_iters`` are dropped, and so is a cut last
            line. What is logged again at the place of the checkpoint is not written twice.
    """

    def __init__(self, run_dir: Path, resume_iters: int | None = None) -> None:
        path = run_dir / FILE_NAME
        kept = _lines_until(path, resume_iters) if resume_iters is not None and path.exists() else []
        replace_text(path, (line + "\n" for line in kept))
        self._last = {entry["kind"]: _place(entry) for entry in map(json.loads, kept)}
        self._file = LineFile(path)

    def log_scalars(self, record: ScalarRecord) -> None:
        self._write("scalars", asdict(record))

    def log_epoch(self, record: EpochRecord) -> None:
        self._write("epoch", asdict(record))

    def log_images(self, record: ImageRecord) -> None:
        event = ImageEvent(record.epoch, record.total_iters, tuple(record.images), record.paths)
        self._write("images", asdict(event))

    def close(self) -> None:
        self._file.close()

    def _write(self, kind: str, fields: dict[str, Any]) -> None:
        if self._last.get(kind) == _place(fields):
            return
        self._last[kind] = _place(fields)
        self._file.append(json.dumps({"kind": kind, **_finite(fields)}, allow_nan=False))


def read_metrics(path: Path, until: int | None = None) -> Iterator[Record]:
    """Yield the records of a ``metrics.jsonl`` in order; kinds that are not known here and a cut last line are skipped.

    Args:
        path: the file.
        until: leave out records with more ``total_iters``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line that is not the last is no JSON object or lacks a field; names file and line.
    """
    for number, line in _whole_lines(path):
        entry = _parse(path, number, line)
        if until is not None and entry["total_iters"] > until:
            continue
        try:
            record = _to_record(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: line {number} has a wrong or missing field ({error}); remove the line") from None
        if record is not None:
            yield record


def _to_record(entry: Mapping[str, Any]) -> Record | None:
    kind = entry["kind"]
    fields = {key: value for key, value in entry.items() if key != "kind"}
    if kind == "images":
        visuals, paths = (tuple(str(item) for item in fields.pop(key)) for key in ("visuals", "paths"))
        return ImageEvent(**fields, visuals=visuals, paths=paths)
    if kind == "scalars":
        losses = {name: float(value) for name, value in fields.pop("losses").items()}
        return ScalarRecord(losses=losses, **_as_numbers(fields))
    if kind == "epoch":
        means = {name: float(value) for name, value in fields.pop("means").items()}
        metrics = {name: float(value) for name, value in fields.pop("metrics", {}).items()}
        return EpochRecord(means=means, metrics=metrics, **_as_numbers(fields))
    return None


def _as_numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(value) if isinstance(value, str) else value for name, value in fields.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _place(entry: Mapping[str, Any]) -> tuple[int, int, int | None]:
    return entry["epoch"], entry["total_iters"], entry.get("epoch_iter")


def _lines_until(path: Path, resume_iters: int) -> list[str]:
    return [line for number, line in _whole_lines(path) if _parse(path, number, line)["total_iters"] <= resume_iters]


def _whole_lines(path: Path) -> Iterator[tuple[int, str]]:
    with open(path, encoding="utf-8", newline="", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith("\n"):  # else the writer was killed within this line
                yield number, line[:-1]


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not {"kind", "epoch", "total_iters"} <= entry.keys():
        raise ValueError(f"{path}: line {number} is no record of a run; remove the line")
    return entry
