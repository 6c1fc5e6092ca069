"""Running a trained generator over a data set, image by image, the same way for test.py and while training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from util.image_io import to_display
from util.metrics.images import Pixels, as_stored
from util.seed import seed_step
from util.types import Batch, ImageRecord, Visuals


class Translator(Protocol):
    """What is needed of a model."""

    batch_size: int
    networks: dict[str, nn.Module]

    def set_input(self, batch: Batch) -> None: ...

    def forward(self) -> None: ...

    def visuals(self) -> Visuals: ...

    def train(self, mode: bool = True) -> None: ...

    @property
    def needs_state(self) -> bool: ...

    def load_inference_state(self, state: Mapping[str, Any]) -> None: ...


class Trained(Protocol):
    """What is needed of a model in training to make pictures with it."""

    networks: dict[str, nn.Module]

    def inference_state(self) -> dict[str, Any]: ...


class Batches(Protocol):
    """What is needed of a loader."""

    num_images: int

    def batches(self, epoch: int, done: int = 0) -> Iterator[Any]: ...


def translate(model: Translator, loader: Batches, *, seed: int, total: int) -> Iterator[tuple[Batch, int, Visuals]]:
    """Translate the first ``total`` images in the loader's order.

    What a picture draws at random (dropout) depends on ``seed`` and its place alone, not on the pictures before it.

    Args:
        model: in the mode (training, evaluation) that it shall be used in.
        loader: of the images.
        seed: ``--seed``.
        total: how many.

    Yields:
        the batch, the row of the picture in it, and its visuals ``[C, H, W]`` on the CPU.
    """
    done = 0
    for batch in loader.batches(epoch=1):
        seed_step(seed, done, rank=0)
        model.set_input(batch)
        with torch.inference_mode():
            model.forward()
            visuals = {name: images.cpu() for name, images in model.visuals().items()}
        for row in range(min(model.batch_size, total - done)):
            yield batch, row, {name: images[row] for name, images in visuals.items()}
            done += 1
        if done >= total:
            break


def held_out_pictures(
    build: Callable[[], Translator],
    loader: Batches,
    trained: Trained,
    *,
    root: Path,
    seed: int,
    value_range: Sequence[float] = (),
) -> Iterator[tuple[str, dict[str, Pixels]]]:
    """What test.py would write of networks in training, without writing it.

    The model is a second one that lives as long as the iteration: what a forward pass changes (batch norm's running
    statistics, a model's pools) stays out of the training.

    Args:
        build: makes the model for inference.
        loader: of the held-out images.
        trained: the model in training.
        root: folder below which images are named.
        seed: ``--seed``.
        value_range: ``--value_range``.

    Yields:
        name of the result, and its visuals as they would be read back from the files.
    """
    model = build()
    for name, net in model.networks.items():
        net.load_state_dict(trained.networks[name].state_dict())
    if model.needs_state:
        model.load_inference_state(trained.inference_state())
    model.train()  # test.py's default
    names = ResultNames(root)
    for batch, row, visuals in translate(model, loader, seed=seed, total=loader.num_images):
        depths = {side: batch.get(f"{side}_format", ["uint8"] * (row + 1))[row] for side in "AB"}
        pixels = {
            visual: as_stored(image, depths["B" if visual == "real_B" else "A"], value_range)
            for visual, image in visuals.items()
        }
        yield names(Path(batch["A_paths"][row])), pixels


class ResultNames:
    """Names of results: the input's path below ``root`` without its suffix; unique."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._used: set[str] = set()

    def __call__(self, path: Path) -> str:
        """The name of the next result: a second of its name keeps the suffix, further ones get a number."""
        path = path.relative_to(self.root) if path.is_relative_to(self.root) else Path(path.name)
        name = stem = path.with_suffix("").as_posix()
        number = 1
        while name in self._used:
            name = f"{stem}_{path.suffix[1:]}" + (f"_{number}" if number > 1 else "")
            number += 1
        self._used.add(name)
        return name


def sample_record(batch: Batch, visuals: Visuals, epoch: int, total_iters: int) -> ImageRecord:
    """The visuals of a batch's first sample, ready for the loggers."""
    images = {name: to_display(image[0].cpu()) for name, image in visuals.items()}
    paths = tuple(batch[side][0] for side in ("A_paths", "B_paths", "path") if batch.get(side))
    return ImageRecord(epoch, total_iters, images, paths)
