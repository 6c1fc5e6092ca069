"""A video through a trained generator, frame by frame: what scripts/translate.py does with videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.translation import Ready, Translator
from util.images.io import Picture, scale_of
from util.images.labels import in_label_colours
from util.images.video import RGB, Frame, VideoSource
from util.images.video_writer import write_video
from util.wording import counted


@dataclass
class Change:
    """How much neighbouring frames differ: the mean absolute difference of 8-bit values, over every fourth pixel."""

    total: float = 0.0
    pairs: int = 0
    _last: NDArray[np.int16] | None = field(default=None, repr=False)

    def add(self, image: RGB) -> None:
        """The next frame."""
        now = image[::4, ::4].astype(np.int16)
        if self._last is not None:
            self.total += float(np.abs(now - self._last).mean())
            self.pairs += 1
        self._last = now

    @property
    def mean(self) -> float:
        """Over all pairs of neighbours; 0 of a single frame."""
        return self.total / self.pairs if self.pairs else 0.0


@dataclass(frozen=True)
class TranslatedVideo:
    """What was written.

    Attributes:
        frames: how many.
        change_in: how much neighbouring frames of the input differ, of 255.
        change_out: the same of the output; what it has more is flicker.
        notes: about the file, see ``VideoWriter.notes``.
    """

    frames: int
    change_in: float
    change_out: float
    notes: tuple[str, ...]


def translate_video(
    translator: Translator,
    source: VideoSource,
    target: Path,
    *,
    every: int = 1,
    batch_size: int = 8,
    crf: int = 18,
    progress: Callable[[int], object] = lambda frames: None,
) -> TranslatedVideo:
    """Translate the frames of a video into another one, which appears whole at the end.

    What a frame draws (dropout, noise) is the same for all frames: it would flicker otherwise.

    Args:
        translator: of the run.
        source: the video.
        target: the file that is written, with the frames' times and the sound of the source.
        every: frames 0, N, 2N, ... are translated.
        batch_size: frames that go through the network together.
        crf: quality of the file, see ``write_video``.
        progress: is called with the number of frames that were read since the last call.

    Raises:
        ValueError: the video is damaged, does not fit the run, or the target's kind is unknown.
        OSError: the target cannot be written.
    """
    before, after = Change(), Change()
    read = 0
    with write_video(target, source, crf=crf) as output:
        for batch in _batches(source.frames(every), batch_size):
            for frame, image in zip(batch, _translated(translator, source, batch)):
                before.add(frame.image)
                after.add(image)
                output.write(image, frame.pts)
            progress(batch[-1].number + 1 - read)
            read = batch[-1].number + 1
    return TranslatedVideo(before.pairs + 1, before.mean, after.mean, tuple(output.notes))


def _batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _translated(translator: Translator, source: VideoSource, batch: list[Frame]) -> list[RGB]:
    readies = [translator.ready(Picture(frame.image, "uint8"), str(source.path)) for frame in batch]
    grid = translator.grid(source.height, source.width)
    if grid is not None:
        return [_rgb(translator.tiled(ready, 0, grid), ready) for ready in readies]
    images = torch.stack([translator.tensor(ready) for ready in readies])
    made = translator.translate(images, [0] * len(batch))[0].cpu()
    return [_rgb(translator.stored(ready, each), ready) for ready, each in zip(readies, made)]


def _rgb(stored: NDArray[Any], ready: Ready) -> RGB:
    """A translation ``[H, W, C]`` as its file would store it, as 8-bit RGB: black and white are those of the domain.
    Labels are shown in their colours.

    Raises:
        ValueError: it has neither 1 nor 3 channels.
    """
    if ready.stored.labels:
        return in_label_colours(stored)
    channels = stored.shape[2]
    if channels not in (1, 3):
        raise ValueError(
            f"{ready.path}: the run makes pictures of {counted(channels, 'channel')}, and a video has 1 or 3"
        )
    if stored.dtype != np.uint8 or ready.value_range:
        low, high = ready.value_range or scale_of(ready.stored.format)
        stored = np.clip((stored.astype(np.float32) - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(stored, 3, axis=2) if channels == 1 else stored
