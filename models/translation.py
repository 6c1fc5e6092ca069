"""Pictures of any size through a trained generator: values as files of the source store them in, as those of the target
store them out."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data.transforms import Prepared, normalise, one_hot, unscaled
from models.generators import Generator
from models.networks.independent import Independence
from models.networks.inference import InferenceModule
from options.base_options import DataOptions
from util.images.io import Alpha, Format, Picture, read_image, stored_format, stored_pixels
from util.images.lab import split_colours
from util.images.labels import label_map
from util.images.tiles import Grid, join_rows, plan_grid, reflected, tile_picture, up_to
from util.run.engine import Engine, seed_of
from util.run.origin import Origin, origin_of
from util.run.sides import SideFormat, Storage
from util.types import Visual

SMALL = 2**20
"""Pixels of a picture that is never cut into tiles unasked."""
BATCH_PIXELS = 2**20
"""A batch has no more pixels, unless it has one picture."""
_OF_EXPORTS = 1024.0
"""Bytes for each pixel of a pass through an exported file, which shows no layers: those of 64 channels at full size."""
_WORKING_COPIES = 2.0
"""Peak memory of a pass over what the largest layer reads and writes: measured 1.6 to 1.9, unet_256 and resnet."""


def batch_of(batch_size: int, height: int, width: int) -> int:
    """Pictures of one size that go through the network together: ``batch_size``, or fewer by ``BATCH_PIXELS``."""
    return max(1, min(batch_size, BATCH_PIXELS // (height * width)))


@dataclass(frozen=True)
class Ready:
    """A picture that can be translated.

    Attributes:
        path: its file, for messages.
        prepared: its values.
        origin: what the translation takes over.
        stored: how its values are stored.
    """

    path: str
    prepared: Prepared
    origin: Origin
    stored: SideFormat

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.prepared.array.shape[:2]
        return int(height), int(width)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """What -1 and 1 stand for in the translation."""
        return cast(tuple[float, float], tuple(self.stored.value_range)) if self.stored.value_range else None

    @property
    def kind(self) -> Format:
        """The type of the translation's numbers."""
        numbers = [self.origin.nodata] if self.origin.has_gaps and self.origin.nodata is not None else []
        return stored_format(self.stored.format, self.value_range, *numbers)


@dataclass(frozen=True)
class TilePlan:
    """When and how a picture is cut into tiles.

    Attributes:
        tile: height and width of a tile; 0: only what needs more than ``max_memory``, as large as that allows.
        overlap: pixels that neighbours share; -1: 64, or what the network's multiple makes of it.
        max_memory: GB that a pass through the network may take; 0: no limit.
        passes: norms that take statistics from the picture get those of the whole one by this many passes over all
            tiles before the one that counts; 0: those of each tile. As many passes as norms give the exact ones.
    """

    tile: int = 0
    overlap: int = -1
    max_memory: float = 2.0
    passes: int = 1


@dataclass
class Translator:
    """A generator with its pre- and post-processing. For several threads: ``read``, ``ready``, ``tensor`` and
    ``stored``; the passes through the network belong to one thread at a time where ``draws`` or ``is_tiled``.

    Attributes:
        generator: what translates.
        data: how the run's files are read.
        engine: where it computes.
        forward: from the model's A to B, see ``models.generators.is_forward``.
        remembered: what the run's training noted of both domains.
        seed: of dropout and noise.
        plan: of tiles.
    """

    generator: Generator
    data: DataOptions
    engine: Engine
    forward: bool = True
    remembered: Mapping[str, SideFormat] = field(default_factory=dict)
    seed: int = 0
    plan: TilePlan = TilePlan()

    def __post_init__(self) -> None:
        module = self.generator.module
        self._own = module if isinstance(module, InferenceModule) else None
        self._shared = Independence(module)
        self._bytes_per_pixel = 0.0
        self.source, self.target = ("A", "B") if self.forward else ("B", "A")
        if self.generator.fixed_size and self.plan.tile and self.plan.tile not in self.generator.fixed_size:
            size = self.generator.fixed_size[0]
            raise ValueError(f"--tile {self.plan.tile}: this generator works at {size} pixels only; give --tile {size}")

    @property
    def draws(self) -> bool:
        """Whether a second pass over the same image may give another picture."""
        return self._own is not None and self._own.draws()

    @property
    def one_by_one(self) -> bool:
        """Whether the images of a batch would not come out as they do alone."""
        return self._own is not None and self._own.has_noise()

    # -- before the network --------------------------------------------------------------------------------------

    def read(self, path: str) -> Ready:
        """The picture of a file.

        Raises:
            FileNotFoundError, ValueError: it cannot be read, or does not fit the run.
        """
        side = self.data.domain(self.source)
        picture = read_image(
            path,
            alpha=cast(Alpha, self.data.alpha),
            palette="indices" if side.label_nc else "colours",
            allow_nonfinite=bool(side.nodata),
        )
        return self.ready(picture, path)

    def ready(self, picture: Picture, path: str) -> Ready:
        """A picture with the channels of the network, its values checked; raises as ``read``."""
        side = self.data.domain(self.source)
        channels = 3 if self.generator.of_lightness else self.generator.source.channels
        flag = "input_nc" if self.forward else "output_nc"
        prepared = unscaled(picture, channels, self.data, path=path, flag=flag, side=side)
        kind = Visual("fake", self.target, self.source, colours=self.generator.of_lightness)
        batch: dict[str, Any] = {"A_format": [picture.format], "A_paths": [path], "A_nodata": [prepared.nodata]}
        if prepared.missing is not None:
            batch["A_mask"] = torch.from_numpy(~prepared.missing)[None, None].float()
        storage = Storage(self.data.ranges(), self.remembered, self.source, self.data.labels())
        origin = origin_of(
            batch, 0, "A", kind, domain_key="B", nodata=self.data.domain(self.target).nodata, keeps_place=_everywhere
        )
        return Ready(path, prepared, origin, storage.of(kind, batch, 0))

    def tensor(self, ready: Ready) -> Tensor:
        """float32 ``[C, H, W]`` in [-1, 1]."""
        return self._values(ready.prepared.array, ready.prepared)

    def _values(self, array: NDArray[Any], prepared: Prepared) -> Tensor:
        """A part of a picture, ``[h, w, C]``, as the network reads it."""
        values = one_hot(array, prepared.labels) if prepared.labels else normalise(array, prepared.value_range)
        return split_colours(values)[0] if self.generator.of_lightness else values

    # -- the network ---------------------------------------------------------------------------------------------

    def translate(self, images: Tensor, places: Sequence[int], *, seed: int | None = None) -> tuple[Tensor, ...]:
        """All outputs for a batch of images of one size.

        Args:
            images: ``[N, C, H, W]`` in [-1, 1], any size.
            places: numbers of the images: what an image draws depends on the seed and its number alone. With
                ``one_by_one`` a batch has one image.
            seed: of what is drawn; None for that of the translator.

        Returns:
            the outputs in float32 and the size of the images, on the device: the translation ``[N, C', H, W]``, then
            maps.
        """
        height, width = images.shape[-2:]
        seed = self.seed if seed is None else seed
        self._seed([seed_of(seed, place) for place in places])
        with torch.inference_mode():
            made = self._pass(self._fitted(self.engine.to_device(images)))
            return tuple(self._sized(each, height, width) for each in made)

    def _seed(self, seeds: Sequence[int]) -> None:
        """What the next pass draws."""
        if self.one_by_one:
            torch.manual_seed(seeds[0])
        elif self.draws:
            self._shared.generators = [torch.Generator().manual_seed(each) for each in seeds]

    def _pass(self, images: Tensor) -> tuple[Tensor, ...]:
        """The network itself, on images of a size that it takes."""
        with self.engine.autocast():
            made: tuple[Tensor, ...] = self.generator.module(images)
        return tuple(each.float() for each in made)

    def _fitted(self, images: Tensor) -> Tensor:
        """Images of a size that the network takes: reflected below and on the right, or scaled to its only size."""
        height, width = images.shape[-2:]
        fixed = self.generator.fixed_size
        if fixed is not None:
            return images if (height, width) == fixed else _scaled(images, *fixed).clamp(-1, 1)
        rows, columns = (self._padded(size) for size in (height, width))
        if rows != height:
            images = images[:, :, torch.from_numpy(reflected(0, rows, height)).to(images.device)]
        if columns != width:
            images = images[:, :, :, torch.from_numpy(reflected(0, columns, width)).to(images.device)]
        return images

    def _padded(self, size: int) -> int:
        return max(up_to(size, self.generator.multiple), self.generator.minimum)

    def _sized(self, made: Tensor, height: int, width: int) -> Tensor:
        """An output in the size of the image: without what was reflected, and scaled back."""
        fixed = self.generator.fixed_size
        if fixed is not None:
            return made if made.shape[-2:] == (height, width) else _scaled(made, height, width)
        rows, columns = self._padded(height), self._padded(width)
        if made.shape[-2:] != (rows, columns):  # a small map, such as attention
            made = F.interpolate(made, size=(rows, columns), mode="bilinear", align_corners=False)
        return made[..., :height, :width]

    # -- tiles ---------------------------------------------------------------------------------------------------

    def grid(self, height: int, width: int) -> Grid | None:
        """The tiles of a picture of this size; None if it is translated as a whole.

        Raises:
            ValueError: tiles of ``--tile`` and ``--overlap`` do not cover it.
        """
        plan, generator = self.plan, self.generator
        overlap = plan.overlap if plan.overlap >= 0 else min(64, plan.tile // 4) if plan.tile else 64
        tile = plan.tile
        if not tile:
            if generator.fixed_size or not plan.max_memory or height * width <= SMALL:
                return None
            affordable = plan.max_memory * 2**30 / self.bytes_per_pixel()
            if height * width <= affordable:
                return None
            multiple = generator.multiple
            tile = max(int(math.sqrt(affordable)) // multiple * multiple, 2 * up_to(overlap, multiple))
        multiple, minimum = generator.multiple, generator.minimum
        if generator.fixed_size:
            multiple, minimum = 1, tile
        if max(height, width) <= max(up_to(tile, multiple), minimum):
            return None
        return plan_grid(height, width, tile, overlap, multiple=multiple, minimum=minimum)

    def bytes_per_pixel(self) -> float:
        """Memory that a pass takes for each pixel, estimated by one over a small image."""
        if self._own is None:
            return _OF_EXPORTS
        if not self._bytes_per_pixel:
            seen = [0.0]
            size = max(self.generator.minimum, self.generator.multiple, 64)

            def note(layer: nn.Module, inputs: Any, output: Any) -> None:
                tensors = [each for each in (*inputs, output) if isinstance(each, Tensor)]
                seen.append(float(sum(each.numel() * each.element_size() for each in tensors)))

            leaves = [layer for layer in self.generator.module.modules() if not list(layer.children())]
            hooks = [layer.register_forward_hook(note) for layer in leaves]
            try:
                self.translate(torch.zeros(1, self.generator.source.channels, size, size), [0])
            finally:
                for hook in hooks:
                    hook.remove()
            self._bytes_per_pixel = _WORKING_COPIES * max(seen) / size**2
        return self._bytes_per_pixel

    @property
    def takes_statistics(self) -> bool:
        """Whether tiles get the statistics of the whole picture by passes before the one that counts."""
        return self.plan.passes > 0 and self._shared.takes_statistics

    def passes(self) -> int:
        """How often each tile goes through the network."""
        return 1 + self.plan.passes * self.takes_statistics

    def tiled(
        self,
        ready: Ready,
        place: int,
        grid: Grid,
        *,
        seed: int | None = None,
        progress: Callable[[], object] = lambda: None,
    ) -> NDArray[Any]:
        """The translation of a picture by its tiles, as ``stored`` gives it.

        Args:
            ready: the picture.
            place: its number, see ``translate``.
            grid: of its tiles.
            seed: see ``translate``.
            progress: called after each of ``passes`` passes of each tile.
        """
        seed = self.seed if seed is None else seed
        height, width = ready.size
        result: NDArray[Any] | None = None
        with contextlib.ExitStack() as stack:
            if self.takes_statistics:
                stack.callback(self._shared.forget)
                self._collect(ready, place, grid, seed, progress)
            for first, strip in join_rows(grid, self._tiles(ready, place, grid, seed, progress)):
                rows = self.stored(ready, strip, first)
                if result is None:
                    result = np.empty((height, width, rows.shape[2]), rows.dtype)
                result[first : first + rows.shape[0]] = rows
        assert result is not None
        return result

    def _collect(
        self, ready: Ready, place: int, grid: Grid, seed: int, progress: Callable[[], object] = lambda: None
    ) -> None:
        """Gather the statistics of the whole picture."""
        for _ in range(self.plan.passes):
            with self._shared.collecting():
                for _ in self._tiles(ready, place, grid, seed, progress):
                    pass

    def _tiles(
        self, ready: Ready, place: int, grid: Grid, seed: int, progress: Callable[[], object] = lambda: None
    ) -> Iterator[NDArray[np.float32]]:
        """The translation of each tile, ``[C, rows, columns]``."""
        for number, part in enumerate(tile_picture(ready.prepared.array, grid), start=1):
            self._seed([seed_of(seed, place, draw=number)])
            with torch.inference_mode():
                image = self.engine.to_device(self._values(part, ready.prepared)[None])
                made = self._pass(image)[0][0].cpu().numpy()
            progress()
            yield made

    # -- after the network ---------------------------------------------------------------------------------------

    def stored(self, ready: Ready, values: Tensor | NDArray[np.float32], first: int = 0) -> NDArray[Any]:
        """``[C, h, W]`` in [-1, 1], some rows of a translation, as its file stores them: ``[h, W, C]``.

        Of a domain of label maps the labels, uint8 ``[h, W, 1]``.

        Args:
            ready: the picture.
            values: of its translation.
            first: their first row.

        Raises:
            ValueError: NaN in the values.
        """
        if ready.stored.labels:
            if not math.isfinite(float(values.sum())):
                raise ValueError("the picture has NaN values and cannot be written")
            return label_map(values)
        origin = ready.origin
        marked = origin.missing if origin.has_gaps else None
        gaps = None if marked is None else marked[first : first + values.shape[1]]
        how: dict[str, Any] = {"value_range": ready.value_range, "nodata": origin.nodata, "missing": gaps}
        return stored_pixels(values, ready.stored.format, ready.kind, **how)

    def has_alpha(self, channels: int) -> bool:
        """Whether the last channel of a translation with this many is opacity."""
        return self.data.alpha == "keep" and channels in (2, 4)


def _everywhere(width: int, height: int) -> bool:
    """A translation lies where its source lies."""
    return True


def _scaled(images: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(images, size=(height, width), mode="bicubic", antialias=True)
