"""Running a trained generator over a data set, image by image, the same way for test.py and while training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from util.images.io import short_name
from util.images.labels import displayed, in_label_colours, label_map
from util.metrics.images import Pixels, as_stored
from util.run.engine import seed_step
from util.run.origin import with_gaps
from util.run.sides import Storage
from util.types import IN_COLOURS, Batch, ImageRecord, Visual, Visuals

V = TypeVar("V")

_APPENDED = 32  # bytes that the longest name of a visual and its suffix take

log = logging.getLogger(__name__)

STD_FACTOR = 8
"""The map of standard deviations is this much brighter than they are; it is white from 255 / 8 = 32 on."""


class Translator(Protocol):
    """What is needed of a model."""

    batch_size: int
    networks: dict[str, nn.Module]

    visual_kinds: ClassVar[Mapping[str, Visual]]

    def set_input(self, batch: Batch) -> None: ...

    def forward(self) -> None: ...

    def visuals(self) -> Visuals: ...

    def train(self, mode: bool = True) -> None: ...

    def weights_of(self, name: str) -> str: ...

    @property
    def test_reads_state(self) -> bool: ...

    def load_extra_state(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Snapshot:
    """A model in training, as far as pictures depend on it: its networks, and its extra state if a test reads it."""

    networks: Mapping[str, nn.Module]
    extra: Mapping[str, Any] = field(default_factory=dict)


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
        model: in the mode (training, evaluation) that it is used in.
        loader: of the images.
        seed: ``--seed``.
        total: how many, those that cannot be read included.
        num_samples: draws of every picture; beyond 1 the visuals are those of ``with_samples``.

    Yields:
        the batch, the row of the picture in it, and its visuals ``[C, H, W]`` on the CPU.
    """
    done = 0
    for batch in loader.batches(epoch=1):
        places: Sequence[int] = batch.get("places", ())
        first = places[0] if places else done
        if first >= total:
            break
        draws = []
        for draw in range(1, num_samples + 1):
            seed_step(seed, first, rank=0, draw=draw)
            model.set_input(batch)
            with torch.inference_mode():
                model.forward()
                draws.append({name: images.cpu() for name, images in model.visuals().items()})
        visuals = with_samples(draws, model.visual_kinds) if num_samples > 1 else draws[0]
        places = places or range(first, first + model.batch_size)
        for row, place in enumerate(places):
            if place < total:
                yield batch, row, {name: images[row] for name, images in visuals.items()}
        done = places[-1] + 1
        if done >= total:
            break


def with_samples(draws: Sequence[Visuals], kinds: Mapping[str, Visual]) -> Visuals:
    """The visuals of the first of several draws, and after each fake its other draws, their mean and their spread.

    Args:
        draws: of the same images, values in ``[-1, 1]``.
        kinds: visual -> what it is.

    Returns:
        ``fake_B``, ``fake_B_2``, ..., ``fake_B_mean`` and ``fake_B_std``: in values from 0 to 255, ``STD_FACTOR``
        times the standard deviation over the draws (of each pixel and channel, divided by their number), at most 255.
    """
    found: Visuals = {}
    for name, first in draws[0].items():
        found[name] = first
        if kinds[name].role == "fake":
            stack = torch.stack([each[name] for each in draws])
            made = sample_kinds(name, kinds[name], len(draws))
            spread = stack.std(0, correction=0) * STD_FACTOR  # 2 of the range [-1, 1] are 255
            found |= dict(zip(made, (*stack[1:], stack.mean(0), (spread - 1).clamp(max=1))))
    return found


def sample_kinds(name: str, kind: Visual, num_samples: int) -> dict[str, Visual]:
    """The visuals that several draws add to a fake: ``fake_B_2``, ..., ``fake_B_mean``, ``fake_B_std``.

    In colours ``fake_B_2_rgb``. A mean is a fake; a spread is about one.
    """
    if num_samples < 2:
        return {}
    end = IN_COLOURS if kind.colours else ""
    stem = name.removesuffix(end)
    found = {f"{stem}_{which}{end}": kind for which in (*range(2, num_samples + 1), "mean")}
    return {**found, f"{stem}_std{end}": replace(kind, role="about", domain="")}


def all_kinds(model: Translator, num_samples: int) -> dict[str, Visual]:
    """Every visual of a test with several draws, and what it is."""
    found = dict(model.visual_kinds)
    for name, kind in model.visual_kinds.items():
        if kind.role == "fake":
            found |= sample_kinds(name, kind, num_samples)
    return found


def caption(visual: str) -> str:
    """The caption of a visual on a page: its name, and for a spread its unit."""
    is_spread = visual.removesuffix(IN_COLOURS).endswith("_std")
    return f"{visual}: {STD_FACTOR} x standard deviation" if is_spread else visual


def held_out_pictures(
    build: Callable[[], Translator],
    loader: Batches,
    trained: Snapshot,
    *,
    root: Path,
    seed: int,
    storage: Storage,
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
        storage: how each domain stores its values.

    Yields:
        name of the result, and its ``real_A``, ``fake_B``... as they would be read back from the files. What shows a
        domain in colours takes the place of the domain's own numbers; label maps are in colours.
    """
    model = build()
    for name, net in model.networks.items():
        net.load_state_dict(trained.networks[model.weights_of(name)].state_dict())
    if model.test_reads_state:
        model.load_extra_state(trained.extra)
    model.train()  # test.py's default
    names, kinds = ResultNames(root, model.visual_kinds), model.visual_kinds
    for batch, row, visuals in translate(model, loader, seed=seed, total=loader.num_images):
        pixels = {}
        for visual, image in visuals.items():
            if kinds[visual].role in ("real", "fake"):
                stored = storage.of(kinds[visual], batch, row)
                if stored.labels:
                    pixels[visual] = in_label_colours(label_map(image))
                    continue
                colours = image[:-1] if storage.opacity and image.shape[0] in (2, 4) else image
                values = as_stored(colours, stored.format, stored.value_range)
                pixels[visual] = with_gaps(values, batch, row, kinds[visual], storage.source)
        for _, name, part in names.parts(batch, row, pixels):
            yield name, {f"{kinds[visual].role}_{kinds[visual].domain}": values for visual, values in part.items()}


class ResultNames:
    """Names of results: the input's path below ``root`` without its suffix; unique.

    Args:
        root: folder below which images are named.
        kinds: visual -> what it is; those with source B are named after the file of side B, where a batch has one.
    """

    def __init__(self, root: Path, kinds: Mapping[str, Visual] | None = None) -> None:
        self.root = root
        self._of_B = {name for name, kind in (kinds or {}).items() if kind.source == "B"}
        self._used: set[str] = set()
        self._names_B = ResultNames(root) if self._of_B else self
        self._seen: set[tuple[str, str]] = set()

    def parts(self, batch: Batch, row: int, visuals: Mapping[str, V]) -> Iterator[tuple[str, str, dict[str, V]]]:
        """The visuals of a sample as (side, name, visuals of that side), A first.

        Where one side has fewer images, some of them come again with another partner: they are left out then.
        """
        sides: dict[str, dict[str, V]] = {"A": {}, "B": {}}
        for label, image in visuals.items():
            sides["B" if label in self._of_B and "B_paths" in batch else "A"][label] = image
        for side, names in (("A", self), ("B", self._names_B)):
            if not sides[side]:
                continue
            path = (batch.get(f"{side}_paths") or batch["path"])[row]
            if (side, path) not in self._seen:
                self._seen.add((side, path))
                yield side, names(Path(path)), sides[side]

    def __call__(self, path: Path) -> str:
        """The name of the next result: a second of its name keeps the suffix, further ones get a number.

        A name too long for what is appended to it (``_fake_B.png``) is shortened, with a warning.
        """
        path = path.relative_to(self.root) if path.is_relative_to(self.root) else Path(path.name)
        whole = path.with_suffix("").as_posix()
        name = stem = short_name(whole, _APPENDED)
        if stem != whole:
            log.warning("the results of %s have a shorter name, as it is too long to be extended: %s_*", path, stem)
        number = 1
        while name in self._used:
            name = f"{stem}_{path.suffix[1:]}" + (f"_{number}" if number > 1 else "")
            number += 1
        self._used.add(name)
        return name


def sample_record(
    batch: Batch,
    visuals: Visuals,
    extras: Mapping[str, NDArray[Any]],
    epoch: int,
    total_iters: int,
    *,
    labels: Mapping[str, int] | None = None,
    kinds: Mapping[str, Visual] | None = None,
) -> ImageRecord:
    """The visuals of a batch's first sample, ready for the loggers, and a model's pictures of many samples.

    Those that are label maps (``labels``: visual -> their number) are drawn in colours, and have no kind in the record.
    """
    images = {name: displayed(image[0].cpu(), (labels or {}).get(name, 0)) for name, image in visuals.items()}
    images |= {name: values for name, values in extras.items() if values.dtype == np.uint8}
    paths = tuple(batch[side][0] for side in ("A_paths", "B_paths", "path") if batch.get(side))
    shown = {name: kind for name, kind in (kinds or {}).items() if name in visuals and not (labels or {}).get(name)}
    return ImageRecord(epoch, total_iters, images, paths, shown)
