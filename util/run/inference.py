"""Running a trained generator over a data set, image by image, the same way for test.py and while training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from util.images.io import to_display
from util.metrics.images import Pixels, as_stored
from util.run.engine import seed_step
from util.types import IN_COLOURS, Batch, ImageRecord, Visuals

V = TypeVar("V")

STD_FACTOR = 8
"""The map of standard deviations is this much brighter than they are; it is white from 255 / 8 = 32 on."""


class Translator(Protocol):
    """What is needed of a model."""

    batch_size: int
    networks: dict[str, nn.Module]

    @property
    def visuals_of_B(self) -> Collection[str]: ...

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


def translate(
    model: Translator, loader: Batches, *, seed: int, total: int, num_samples: int = 1
) -> Iterator[tuple[Batch, int, Visuals]]:
    """Translate the first ``total`` images in the loader's order.

    What a picture draws at random (dropout) depends on ``seed``, its place and the number of the draw alone, not on
    the pictures before it, and not on how many draws there are.

    Args:
        model: in the mode (training, evaluation) that it shall be used in.
        loader: of the images.
        seed: ``--seed``.
        total: how many.
        num_samples: draws of every picture; beyond 1 the visuals are those of ``with_samples``.

    Yields:
        the batch, the row of the picture in it, and its visuals ``[C, H, W]`` on the CPU.
    """
    done = 0
    for batch in loader.batches(epoch=1):
        draws = []
        for draw in range(1, num_samples + 1):
            seed_step(seed, done, rank=0, draw=draw)
            model.set_input(batch)
            with torch.inference_mode():
                model.forward()
                draws.append({name: images.cpu() for name, images in model.visuals().items()})
        visuals = with_samples(draws) if num_samples > 1 else draws[0]
        for row in range(min(model.batch_size, total - done)):
            yield batch, row, {name: images[row] for name, images in visuals.items()}
            done += 1
        if done >= total:
            break


def with_samples(draws: Sequence[Visuals]) -> Visuals:
    """The visuals of the first of several draws, and after each fake its other draws, their mean and their spread.

    Args:
        draws: of the same images, values in ``[-1, 1]``.

    Returns:
        ``fake_B``, ``fake_B_2``, ..., ``fake_B_mean`` and ``fake_B_std``: in values from 0 to 255, ``STD_FACTOR``
        times the standard deviation over the draws (of each pixel and channel, divided by their number), at most 255.
    """
    found: Visuals = {}
    for name, first in draws[0].items():
        found[name] = first
        if name.startswith("fake"):
            stack = torch.stack([each[name] for each in draws])
            found |= {sample_name(name, number): each for number, each in enumerate(stack[1:], start=2)}
            found[sample_name(name, "mean")] = stack.mean(0)
            spread = stack.std(0, correction=0) * STD_FACTOR  # 2 of the range [-1, 1] are 255
            found[sample_name(name, "std")] = (spread - 1).clamp(max=1)
    return found


def sample_name(visual: str, which: int | str) -> str:
    """Name of a draw from the second on, of ``mean`` or of ``std``: ``fake_B_2``; in colours ``fake_B_2_rgb``."""
    name = visual.removesuffix(IN_COLOURS)
    return f"{name}_{which}{visual.removeprefix(name)}"


def caption(visual: str) -> str:
    """What a page writes below a visual: its name, and for a spread what its values are."""
    is_spread = visual.startswith("fake") and visual.removesuffix(IN_COLOURS).endswith("_std")
    return f"{visual}: {STD_FACTOR} x standard deviation" if is_spread else visual


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
    names = ResultNames(root, model.visuals_of_B)
    for batch, row, visuals in translate(model, loader, seed=seed, total=loader.num_images):
        depths = {side: batch.get(f"{side}_format", ["uint8"] * (row + 1))[row] for side in "AB"}
        pixels = {
            visual: as_stored(image, depths["B" if visual == "real_B" else "A"], value_range)
            for visual, image in visuals.items()
        }
        yield from ((name, part) for _, name, part in names.parts(batch, row, pixels))


class ResultNames:
    """Names of results: the input's path below ``root`` without its suffix; unique.

    Args:
        root: folder below which images are named.
        of_B: visuals that are named after the file of side B, where a batch has one; all others after that of A.
    """

    def __init__(self, root: Path, of_B: Collection[str] = ()) -> None:
        self.root, self.of_B = root, of_B
        self._used: set[str] = set()
        self._names_B = ResultNames(root) if of_B else self
        self._seen: set[tuple[str, str]] = set()

    def parts(self, batch: Batch, row: int, visuals: Mapping[str, V]) -> Iterator[tuple[str, str, dict[str, V]]]:
        """The visuals of a sample as (side, name, visuals of that side), A first.

        Where one side has fewer images, some of them come again with another partner: they are left out then.
        """
        sides: dict[str, dict[str, V]] = {"A": {}, "B": {}}
        for label, image in visuals.items():
            sides["B" if label in self.of_B and "B_paths" in batch else "A"][label] = image
        for side, names in (("A", self), ("B", self._names_B)):
            if not sides[side]:
                continue
            path = (batch.get(f"{side}_paths") or batch["path"])[row]
            if (side, path) not in self._seen:
                self._seen.add((side, path))
                yield side, names(Path(path)), sides[side]

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


def sample_record(
    batch: Batch, visuals: Visuals, sheets: Mapping[str, Pixels], epoch: int, total_iters: int
) -> ImageRecord:
    """The visuals of a batch's first sample, ready for the loggers, with the ``sheets`` that are ready already."""
    images = {name: to_display(image[0].cpu()) for name, image in visuals.items()} | dict(sheets)
    paths = tuple(batch[side][0] for side in ("A_paths", "B_paths", "path") if batch.get(side))
    return ImageRecord(epoch, total_iters, images, paths)
