"""``images_noisy/``: ATME's maps of the tracked training images, every epoch, as pictures and as numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from util.background import BackgroundWriter
from util.image_io import save_array
from util.loggers.base import Logger
from util.types import TrackedMaps

FOLDER = "images_noisy"


class TrackedMapsLogger(Logger):
    """Writes, for every tracked image and epoch, ``epoch_003_D_<index>.png`` (the sigmoid of D's new logits, 0..255),
    ``epoch_003_W_<index>.png`` (W_t, -1..1 as 0..255) and ``epoch_003_<index>.npz`` (``logits`` ``[h, w]`` and ``W``
    ``[H, W]``, float32); and ``tracked.json`` with the indices and their files.

    The published code writes one of the tracked images of a batch, and D's map in the upper half of the scale.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = BackgroundWriter(num_threads=1)  # one at a time: they share tracked.json
        self._epoch = 0
        self._paths: dict[int, str] = {}

    def start_epoch(self, epoch: int, last_epoch: int, num_images: int, done: int) -> None:
        self._epoch = epoch

    def log_tracked(self, records: Sequence[TrackedMaps]) -> None:
        for record in records:
            self._writer.submit(self._write, f"epoch_{self._epoch:03d}", record)

    def close(self) -> None:
        self._writer.close()

    def _write(self, head: str, record: TrackedMaps) -> None:
        logits, W = record.logits.numpy(), record.W.numpy()
        pictures = {"D": torch.sigmoid(record.logits).numpy(), "W": (W + 1) / 2}
        for name, values in pictures.items():
            grey = np.rint(values * 255).clip(0, 255).astype(np.uint8)
            save_array(self._folder / f"{head}_{name}_{record.index}.png", grey[:, :, None])
        # of a batch smaller than the number of processes, two of them have the same image
        draft = self._folder / f".{head}_{record.index}.{os.getpid()}.tmp"
        with open(draft, "wb") as file:
            np.savez(file, logits=logits, W=W)
        os.replace(draft, self._folder / f"{head}_{record.index}.npz")
        self._paths[record.index] = record.path
        self._note_paths()

    def _note_paths(self) -> None:
        """Add to ``tracked.json``: other processes and earlier starts have entries there, too.

        Two processes that write at once may lose an entry, so it is looked up again at every map.
        """
        file = self._folder / "tracked.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"indices": [], "paths": []}
        before = dict(zip(known["indices"], known["paths"]))
        entries = {**before, **self._paths}
        if entries == before:
            return
        indices = sorted(entries)
        draft = file.with_name(f".tracked.{os.getpid()}.tmp")
        draft.write_text(json.dumps({"indices": indices, "paths": [entries[i] for i in indices]}), encoding="utf-8")
        os.replace(draft, file)
