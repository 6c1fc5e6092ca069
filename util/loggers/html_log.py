"""The training page: ``web/index.html`` with curves of losses and metrics and every epoch's pictures, newest first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dominate.dom_tag import dom_tag
from dominate.tags import div, p, span
from dominate.util import raw

from options.schema import arg
from util.files import replace_text, replacing
from util.loggers import LOGGERS
from util.loggers.base import Logger, RunLog
from util.loggers.doctor_log import read_findings
from util.loggers.jsonl import FILE_NAME as METRICS
from util.loggers.jsonl import ImageEvent, read_metrics
from util.metrics.measurement import metric_title, metrics_line, scaled
from util.pages.charts import Curves
from util.pages.html import fold, image_row, page, warning, wide_table
from util.types import SHEETS, EpochRecord, ImageRecord, ScalarRecord
from util.wording import counted

if TYPE_CHECKING:
    import numpy as np

REFRESH_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class HtmlOptions:
    """The page of a run."""

    no_html: bool = arg(False, help="do not write checkpoints/<name>/web/index.html")
    update_html_freq: int = arg(1000, minimum=1, help="images between two updates of the web page's pictures")
    display_winsize: int = arg(256, minimum=1, help="width of a picture on the web page (pixels)")


@LOGGERS.register("html")
class HtmlLogger(Logger):
    """Writes ``web/index.html`` and ``web/images/epoch<number>_<visual>.png``.

    The pictures of an epoch are those of its first image event; later events of the epoch replace them when a multiple
    of ``update_html_freq`` images is crossed, as published. Only epochs that were drawn are on the page. It is written
    again with every drawn event and every epoch, its charts are drawn again at most every 30 seconds. A browser loads
    it again every 30 seconds while the run goes on and no more after ``close`` (the original code: every second, for
    ever).

    Args:
        run_dir: folder of the run; it exists.
        name: name of the experiment.
        resume_iters: None starts a new page; else curves and drawn epochs up to this number of images are taken over
            from ``metrics.jsonl``, and so are the pictures that lie in ``web/images``.
        options: the run's options, shown in a folded table.
        display_winsize: width of a picture in CSS pixels.
        update_html_freq: images between two drawings of an epoch's pictures.
        clock: seconds; its origin does not matter.
    """

    Options = HtmlOptions

    def __init__(
        self,
        run_dir: Path,
        name: str,
        *,
        resume_iters: int | None = None,
        options: Mapping[str, object] | None = None,
        display_winsize: int = 256,
        update_html_freq: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if update_html_freq < 1:
            raise ValueError(f"--update_html_freq {update_html_freq}: must be at least 1 image")
        self._title = f"Experiment name = {name}"
        self._run_dir = run_dir
        self._web = run_dir / "web"
        self._images = self._web / "images"
        self._images.mkdir(parents=True, exist_ok=True)
        rows = [(flag, str(value)) for flag, value in sorted((options or {}).items())]  # also None and tuples
        panel = fold("Options", wide_table([], rows, kind="options")) if rows else None
        self._options = raw(panel.render(pretty=False) if panel else "")  # once: it has hundreds of cells
        self._width = display_winsize
        self._freq = update_html_freq
        self._clock = clock
        self._losses, self._metrics = Curves(), Curves()
        self._charts = raw("")
        self._drawn_at = math.inf
        self._rows: dict[int, dom_tag] = {}  # epoch -> its row of pictures
        self._seen_iters = 0  # place of the last image event
        self._epochs = ""  # "epoch 3 of 200"
        self._latest: ScalarRecord | None = None
        self._measured: EpochRecord | None = None  # the last evaluation
        self._closed = False
        if resume_iters is not None and (run_dir / METRICS).exists():
            self._take_over(run_dir / METRICS, resume_iters)
        self._save()
        self._drawn_at = -math.inf  # charts come with the first event: a start does not wait for matplotlib

    @classmethod
    def open(cls, run: RunLog, options: HtmlOptions) -> HtmlLogger | None:
        if options.no_html:
            return None
        return cls(
            run.folder,
            run.name,
            resume_iters=run.resume_iters,
            options=run.options,
            display_winsize=options.display_winsize,
            update_html_freq=options.update_html_freq,
        )

    def start_epoch(self, epoch: int, last_epoch: int, num_images: int, done: int) -> None:
        self._epochs = f"epoch {epoch} of {last_epoch}"

    def log_scalars(self, record: ScalarRecord) -> None:
        self._latest = record
        self._losses.add(record.total_iters, record.losses)

    def log_images(self, record: ImageRecord) -> None:
        if self._is_due(record.epoch, record.total_iters):
            for visual, pixels in record.images.items():
                _write_png(self._images / epoch_image(record.epoch, visual), pixels)
            self._add_row(record.epoch, tuple(record.images))
            self._save()
        self._seen_iters = record.total_iters

    def log_epoch(self, record: EpochRecord) -> None:
        self._add_metrics(record)
        self._save()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._save()

    def _is_due(self, epoch: int, total_iters: int) -> bool:
        return epoch not in self._rows or total_iters // self._freq > self._seen_iters // self._freq

    def _add_metrics(self, record: EpochRecord) -> None:
        if record.metrics:
            self._measured = record
            self._metrics.add(record.total_iters, scaled(record.metrics))

    def _add_row(self, epoch: int, visuals: Sequence[str]) -> None:
        files = [epoch_image(epoch, visual) for visual in visuals]
        self._rows[epoch] = image_row(f"epoch [{epoch}]", files, visuals, files, self._width, own_width=SHEETS)

    def _take_over(self, metrics: Path, resume_iters: int) -> None:
        for record in read_metrics(metrics, until=resume_iters):
            if isinstance(record, ScalarRecord):
                self.log_scalars(record)
            elif isinstance(record, EpochRecord):
                self._add_metrics(record)
            elif isinstance(record, ImageEvent):
                there = [v for v in record.visuals if (self._images / epoch_image(record.epoch, v)).exists()]
                if there:
                    self._add_row(record.epoch, there)
                self._seen_iters = record.total_iters

    def _save(self) -> None:
        if self._closed or self._clock() - self._drawn_at >= REFRESH_SECONDS:
            self._charts = self._draw_charts()
            self._drawn_at = self._clock()
        seen = [f"epoch {each['epoch']}: {each['text']}" for each in read_findings(self._run_dir)]
        doctor = warning("Signs of a failing training", seen) if seen else raw("")
        pieces = [self._status(), doctor, self._charts, self._options]
        pieces += [self._rows[epoch] for epoch in sorted(self._rows, reverse=True)]
        if not self._rows:
            pieces.append(p("No pictures yet.", cls="status"))
        refresh = 0 if self._closed else REFRESH_SECONDS
        replace_text(self._web / "index.html", [page(self._title, pieces, refresh=refresh)])

    def _status(self) -> dom_tag:
        parts = [self._epochs] if self._epochs else []
        if self._latest is not None:
            last = self._latest
            parts += [f"{counted(last.total_iters, 'image')}", f"{last.images_per_s:.3g} images/s", f"lr {last.lr:.3g}"]
            parts += [f"{last.data_wait:.0%} of the time waiting for data", f"{last.memory_mb:,.0f} MB peak"]
        if self._measured is not None:
            parts.append(metrics_line(self._measured))
        state = "ended" if self._closed else "training, as of"
        parts.append(f"{state} {time.strftime('%Y-%m-%d %H:%M:%S')}")
        return p((span(part) for part in parts), cls="status")

    def _draw_charts(self) -> dom_tag:
        charts = [curve.chart(name) for name, curve in self._losses.items()]
        charts += [curve.chart(metric_title(name)) for name, curve in self._metrics.items()]
        return raw(div((chart.inline() for chart in charts), cls="charts small").render(pretty=False))


def epoch_image(epoch: int, visual: str) -> str:
    """Return the file name of an epoch's picture: ``epoch003_fake_B.png``."""
    return f"epoch{epoch:03d}_{visual}.png"


def _write_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image  # this file is read for --help

    with replacing(path) as temporary:
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(temporary, format="PNG")
