"""Records to log, short to write."""

from __future__ import annotations

import numpy as np

from util.types import EpochRecord, ImageRecord, ScalarRecord


def scalars(total: int, epoch: int = 1, epoch_iter: int | None = None, **losses: float) -> ScalarRecord:
    return ScalarRecord(
        epoch=epoch,
        epoch_iter=total if epoch_iter is None else epoch_iter,
        total_iters=total,
        losses=losses or {"G_GAN": 0.5, "G_L1": 20.0},
        lr=2e-4,
        t_comp=0.1234,
        t_data=0.0012,
        images_per_s=8.0,
        data_wait=0.25,
        memory_mb=100.0,
    )


def epoch(number: int, total: int, metrics: dict[str, float] | None = None, **means: float) -> EpochRecord:
    return EpochRecord(number, total, means or {"G_GAN": 0.5, "G_L1": 20.0}, 2e-4, 3.5, metrics or {})


def images(total: int, epoch: int = 1, value: int = 128, size: int = 8) -> ImageRecord:
    colour = np.full((size, size, 3), value, np.uint8)
    return ImageRecord(epoch, total, {"real_A": colour[:, :, :1], "fake_B": colour}, ("a/1.png",))
