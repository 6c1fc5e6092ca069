"""TensorBoard event files under ``<run>/tensorboard``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from options.schema import arg
from util.loggers import LOGGERS
from util.loggers.base import Logger, RunLog
from util.types import EpochRecord, ImageRecord, ScalarRecord


@dataclass(frozen=True, kw_only=True)
class TensorboardOptions:
    """TensorBoard."""

    use_tensorboard: bool = arg(False, help="also log to TensorBoard")


@LOGGERS.register("tensorboard")
class TensorboardLogger(Logger):
    """Writes losses (``loss/*``), epoch means (``epoch/*``), metrics in their own units (``metric/*``), learning rate,
    speed, memory and visuals (``visuals/*``), all over the images seen; look at them by
    ``tensorboard --logdir checkpoints``.

    torch's writer has a thread of its own and flushes every two minutes, so a kill may cost that much.

    Args:
        run_dir: folder of the run; it exists.
        resume_iters: None removes the event files of an older run of that folder; else TensorBoard hides what they
            hold beyond this number of images.

    Raises:
        ValueError: the package is missing.
    """

    Options = TensorboardOptions

    def __init__(self, run_dir: Path, resume_iters: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                f"--use_tensorboard: the package does not import ({error}); install it by `pip install tensorboard`"
            ) from None
        folder = run_dir / "tensorboard"
        if resume_iters is None:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        purge = None if resume_iters is None else resume_iters + 1
        self._writer = SummaryWriter(log_dir=str(folder), purge_step=purge)

    @classmethod
    def open(cls, run: RunLog, options: TensorboardOptions) -> TensorboardLogger | None:
        return cls(run.folder, run.resume_iters) if options.use_tensorboard else None

    def log_scalars(self, record: ScalarRecord) -> None:
        values = {f"loss/{name}": value for name, value in record.losses.items()}
        values |= {
            "run/lr": record.lr,
            "run/images_per_s": record.images_per_s,
            "run/data_wait": record.data_wait,
            "run/memory_mb": record.memory_mb,
            "run/epoch": record.epoch,
        }
        self._add(values, record.total_iters)

    def log_epoch(self, record: EpochRecord) -> None:
        values = {f"epoch/{name}": value for name, value in record.means.items()}
        values |= {f"metric/{name}": value for name, value in record.metrics.items()}
        self._add({**values, "epoch/seconds": record.seconds}, record.total_iters)

    def log_images(self, record: ImageRecord) -> None:
        for visual, pixels in record.images.items():
            self._writer.add_image(f"visuals/{visual}", pixels, record.total_iters, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()

    def _add(self, values: dict[str, float], total_iters: int) -> None:
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, total_iters)
