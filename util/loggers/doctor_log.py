"""The doctor: says once per sign what it sees in the losses and pictures of a failing training; ``doctor.jsonl``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from options.schema import arg
from util.files import LineFile, replace_text
from util.loggers import LOGGERS
from util.loggers.base import Logger, RunLog
from util.types import EpochRecord, ImageRecord, ScalarRecord

if TYPE_CHECKING:
    from util.run.doctor import Finding

R = TypeVar("R", ScalarRecord, ImageRecord, EpochRecord)

FILE_NAME = "doctor.jsonl"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Warnings about a failing training."""

    no_doctor: bool = arg(False, help="do not look for signs of a failing training in losses and pictures")


@LOGGERS.register("doctor")
class DoctorLogger(Logger):
    """Warns ``doctor: ...`` and appends ``{"sign", "about", "text", "epoch", "total_iters"}`` to ``doctor.jsonl``.

    A sign is reported once in a run, also over a resume. The file is made with the first of them. A doctor that fails
    says so once and looks no more: no training ends by it.

    Args:
        run_dir: folder of the run; it exists.
        resume_iters: None starts afresh; else what was found later than this is dropped.
        options: of the run, see ``util.run.doctor.Doctor``.
        history: losses and metrics so far, from which a resumed run takes up the doctor's windows.
    """

    Options = DoctorOptions

    def __init__(
        self,
        run_dir: Path,
        resume_iters: int | None = None,
        *,
        options: Mapping[str, object] | None = None,
        history: tuple[ScalarRecord | EpochRecord, ...] = (),
    ) -> None:
        from util.run.doctor import Doctor  # this file is read for --help, and that one needs numpy

        self._path = run_dir / FILE_NAME
        self._file: LineFile | None = None
        kept = [] if resume_iters is None else [e for e in read_findings(run_dir) if e["total_iters"] <= resume_iters]
        self._said = {(each["sign"], each["about"]) for each in kept}
        if self._path.exists():
            replace_text(self._path, (json.dumps(each) + "\n" for each in kept))
        self._doctor: Doctor | None = Doctor(options or {})
        for record in history:
            if isinstance(record, ScalarRecord):
                self._doctor.add_scalars(record)
            else:
                self._doctor.add_epoch(record)

    @classmethod
    def open(cls, run: RunLog, options: DoctorOptions) -> DoctorLogger | None:
        if options.no_doctor:
            return None
        return cls(run.folder, run.resume_iters, options=run.options, history=tuple(run.history))

    def log_scalars(self, record: ScalarRecord) -> None:
        if self._doctor:
            self._report(self._doctor.add_scalars, record)

    def log_images(self, record: ImageRecord) -> None:
        if self._doctor:
            self._report(self._doctor.add_images, record)

    def log_epoch(self, record: EpochRecord) -> None:
        if self._doctor:
            self._report(self._doctor.add_epoch, record)

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _report(self, judge: Callable[[R], list[Finding]], record: R) -> None:
        try:
            found = judge(record)
        except Exception as error:  # whatever it is: hours of training must not end by a remark about them
            log.warning("warning: the doctor looks no more: %s: %s", type(error).__name__, error)
            self._doctor = None
            return
        for each in found:
            if (each.sign, each.about) not in self._said:
                self._said.add((each.sign, each.about))
                log.warning("doctor: %s", each.text)
                self._file = self._file or LineFile(self._path)
                self._file.append(
                    json.dumps({**asdict(each), "epoch": record.epoch, "total_iters": record.total_iters})
                )


def read_findings(run_dir: Path) -> list[dict[str, Any]]:
    """What the doctor has said of a run, in order; empty without the file; cut and damaged lines are left out."""
    path = run_dir / FILE_NAME
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and _FIELDS.items() <= {key: type(entry.get(key)) for key in _FIELDS}.items():
            found.append(entry)
    return found


_FIELDS = {"sign": str, "about": str, "text": str, "epoch": int, "total_iters": int}
