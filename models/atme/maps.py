"""ATME's memory of the discriminator's logit maps: kept while training, chosen for a test."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.networks.factory import check_image_size
from util.run.engine import Engine
from util.wording import counted

logger = logging.getLogger(__name__)


NO_OWNER = 0


def owner_of(path: str) -> int:
    """A number, other than 0, for a file: by its name and folder, ``train/1.png``, so that a data set may be moved.

    Of a folder ``A`` or ``B`` the one above counts too: ``train/A/1.png`` is not ``test/A/1.png``.
    """
    parts = Path(path).parts
    depth = 3 if parts[-2:-1] in (("A",), ("B",)) else 2
    return zlib.crc32("/".join(parts[-depth:]).encode("utf-8", "surrogateescape")) or 1


class MapMemory:
    """One map a training image: row = index of the image in the data set.

    Rows start as independent uniform numbers in [0, 1), as published. A row remembers the file that it belongs to:
    where the list of files has changed since, the row starts over, which is reported once.

    Every process holds all rows, and writes those of its own images. Within an epoch no row is read after it was
    written, so it is enough that ``merge`` brings the processes together between epochs and before a save.

    Args:
        num_images: rows.
        shape: ``(h, w)`` of D's map.
        seed: of the first numbers.
        device: where the rows are.
    """

    def __init__(self, num_images: int, shape: tuple[int, int], *, seed: int, device: torch.device) -> None:
        self._seed = seed
        self.maps = uniform((num_images, 1, *shape), seed).to(device)  # [N, 1, h, w]
        self.owners = torch.full((num_images,), NO_OWNER, dtype=torch.int64)
        self._written = torch.zeros(num_images, dtype=torch.bool)
        self._told = False
        self.used = False  # whether a row was written or restored, or other processes count on the shape

    @property
    def shape(self) -> tuple[int, int]:
        """``(h, w)`` of a map."""
        return int(self.maps.shape[2]), int(self.maps.shape[3])

    def read(self, indices: Tensor, owners: Sequence[int]) -> Tensor:
        """Copies of rows.

        Args:
            indices: int64 ``[B]`` on the CPU.
            owners: ``owner_of`` each image's file.

        Returns:
            ``[B, 1, h, w]``, constants for autograd.
        """
        now = torch.tensor(owners, dtype=torch.int64)
        before = self.owners[indices]
        strange = indices[(before != NO_OWNER) & (before != now)]
        if len(strange):
            if not self._told:
                logger.warning("warning: the data set's files have changed: their maps of D start over")
                self._told = True
            for row in strange.tolist():  # by the file, not by the order: the same with any number of processes
                owner = int(now[indices == row][0])
                self.maps[row] = uniform((1, *self.shape), self._seed ^ owner).to(self.maps.device)
        self.owners[indices] = now
        return self.maps[indices.to(self.maps.device)]

    def write(self, indices: Tensor, maps: Tensor) -> None:
        """Replace rows by ``[B, 1, h, w]``."""
        self.maps[indices.to(self.maps.device)] = maps.detach().to(self.maps.dtype)
        self._written[indices] = self.used = True

    def merge(self, gather: Callable[[Any], list[Any]]) -> None:
        """Take over what other processes wrote since the last merge; where two wrote a row, the first one's counts.

        Args:
            gather: gives every process what each of them has. Every process must call this.
        """
        self.used = True
        rows = self._written.nonzero().flatten()
        mine = (rows, self.maps[rows.to(self.maps.device)].cpu(), self.owners[rows])
        for indices, maps, owners in reversed(gather(mine)):
            self.maps[indices.to(self.maps.device)] = maps.to(self.maps.device)
            self.owners[indices] = owners
        self._written.zero_()

    def state(self) -> dict[str, Any]:
        """``disc_maps`` float32 ``[N, 1, h, w]`` and ``disc_map_owners`` int64 ``[N]`` on the CPU."""
        return {
            "disc_maps": self.maps.detach().cpu().clone(),
            "disc_map_owners": self.owners.clone(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on with ``state``; rows of another number or shape cannot be used, which is reported."""
        maps = state["disc_maps"]
        if maps.shape != self.maps.shape:
            logger.warning(
                "warning: the checkpoint has %d maps of D of %dx%d, this run %d of %dx%d: they start over",
                *(len(maps), *maps.shape[2:], len(self.maps), *self.shape),
            )
            return
        self.maps = maps.to(self.maps.device, copy=True)
        self.owners = state["disc_map_owners"].clone()
        self._written.zero_()
        self.used = True


def uniform(shape: Sequence[int], seed: int) -> Tensor:
    """Independent numbers in [0, 1) that depend on ``seed`` alone."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


TEST_MAPS = ("reference", "zero", "memory", "two_pass")
REFERENCE_LOGIT = 0.5  # D's doubt about an image without history, as published


@dataclass(frozen=True)
class TrackedMaps:
    """The maps of one training image: the logits of D for its last attempt, and what the generator was given."""

    index: int  # in the data set
    path: str
    logits: Tensor  # float32 [h, w] on the CPU: D's, after this step
    W: Tensor  # float32 [H, W] in [-1, 1] on the CPU: W_t of this step


class ImageMaps:
    """The logit maps that D gave to the previous attempts at the images of a domain.

    While training they come from a ``MapMemory`` and go back to it after the step. In a test, which has no history,
    they are what ``--test_map`` says: ``reference`` 0.5 and noise of 0.001, as published; ``zero``, D's greatest
    doubt; ``memory`` the row of a training image, for other images the mean of all rows; ``two_pass`` zero, and for a
    second pass what D says of the picture of the first.

    Args:
        build_D: makes the discriminator, of which only the layers are asked for the size of its map.
        channels: of what it judges.
        netD: its ``--netD``, for messages.
        test_map: one of ``TEST_MAPS``.
        engine: its device holds the memory.
        purpose: of the random numbers that the memory starts with; tells two domains apart.

    Attributes:
        memory: only while training, and only when the size of the images is known.
        current: of this batch, ``[N, 1, h, w]``, float32 on the device.
        judged: D's new logits, set by the step, of the same shape.
        tracked_indices: the images whose maps the run keeps as files.
    """

    OF_BATCH: ClassVar[tuple[str, ...]] = ("current", "judged", "_indices", "_paths")
    """Attributes that belong to the current batch."""

    def __init__(
        self,
        build_D: Callable[[], nn.Module],
        channels: int,
        *,
        netD: str,
        test_map: str,
        engine: Engine,
        purpose: str = "disc_maps",
    ) -> None:
        self._build_D, self._channels, self._netD = build_D, channels, netD
        self._test_map, self._engine, self._purpose = test_map, engine, purpose
        self.memory: MapMemory | None = None
        self.current = self.judged = torch.empty(0)
        self.tracked_indices: list[int] = []
        self._num_images = self._seed = 0
        self._waiting: Mapping[str, Any] = {}  # a checkpoint's state that came before the size was known
        self._indices = torch.zeros(0, dtype=torch.int64)
        self._paths: list[str] = []
        self._known: dict[int, Tensor] = {}
        self._mean_map = torch.empty(0)
        self._shapes: dict[tuple[int, int], tuple[int, int]] = {}

    # -- training ------------------------------------------------------------------------------------------------

    def setup_training(self, num_images: int, *, n_save_noisy: int = 0) -> None:
        """Announce a memory of this many rows; it is made with the first size (``check_size``).

        Args:
            num_images: images of the domain.
            n_save_noisy: how many of them are tracked.

        Raises:
            ValueError: more tracked images than images.
        """
        if n_save_noisy > num_images:
            raise ValueError(
                f"--n_save_noisy {n_save_noisy}: the data set has {counted(num_images, 'image')}; give no more"
            )
        self._num_images = num_images
        self._seed = self._engine.rng_of_run(self._purpose).getrandbits(32)
        self.tracked_indices = sorted(self._engine.rng_of_run("tracked").sample(range(num_images), n_save_noisy))

    def check_size(self, height: int, width: int, *, what: str) -> None:
        """The first size of an image decides the shape of the memory.

        Raises:
            ValueError: D cannot work at this size, or a later image has another: a map belongs to one size.
        """
        shape = self.shape(height, width, what=what)
        if not self._num_images:
            return
        if self.memory is None or (self.memory.shape != shape and not self.memory.used):
            self.memory = MapMemory(self._num_images, shape, seed=self._seed, device=self._engine.device)
            self._restore()
        elif self.memory.shape != shape:
            raise ValueError(
                f"{what} {width}x{height}: the memory of D's maps was made for another size; ATME trains on images of "
                "one size: use --preprocess resize_and_crop"
            )

    def write(self) -> None:
        """Put ``judged`` into the memory, the step being over."""
        assert self.memory is not None
        self.memory.write(self._indices, self.judged)

    def merge(self) -> None:
        """Learn what other processes wrote. Every process must call it."""
        if self.memory is not None:
            self.memory.merge(self._engine.gather)

    def tracked(self, W_t: Tensor) -> list[TrackedMaps]:
        """The maps of the tracked images of this batch; ``W_t`` ``[N, 1, H, W]``."""
        chosen = set(self.tracked_indices)
        return [
            TrackedMaps(index, self._paths[row], self.judged[row, 0].cpu(), W_t[row, 0].detach().float().cpu())
            for row, index in enumerate(self._indices.tolist() if chosen else ())
            if index in chosen
        ]

    def state(self) -> dict[str, Any]:
        """``disc_maps`` ``[num_images, 1, h, w]`` and ``disc_map_owners``, as this process knows them; empty without
        a memory."""
        return self.memory.state() if self.memory is not None else {}

    def load_state(self, state: Mapping[str, Any], *, tracked: Sequence[int] = ()) -> None:
        """Go on with what ``state`` and ``tracked_indices`` were; with another ``--n_save_noisy``, as many of the
        tracked images stay as fit."""
        count, before = len(self.tracked_indices), [index for index in tracked if index < self._num_images]
        others = [index for index in self.tracked_indices if index not in before]
        self.tracked_indices = sorted([*before, *others][:count])
        self._waiting = state if "disc_maps" in state else {}
        self._restore()

    def _restore(self) -> None:
        if self.memory is not None and self._waiting:
            self.memory.load_state(self._waiting)
            self._waiting = {} if self.memory.used else self._waiting

    # -- both ----------------------------------------------------------------------------------------------------

    def read(self, paths: Sequence[str], indices: Tensor | None, size: tuple[int, int]) -> None:
        """Set ``current`` for a batch.

        Args:
            paths: of its images.
            indices: int64 ``[N]``, their places in the data set; of no use in a test.
            size: ``(H, W)`` of the images.

        Raises:
            ValueError: ``--test_map memory`` at another size than that of the training.
        """
        owners = [owner_of(path) for path in paths]
        if self.memory is None:
            self.current = self._of_a_test(owners, size).to(self._engine.device)
            return
        assert indices is not None
        self._paths, self._indices = list(paths), indices.cpu()
        self.current = self.memory.read(self._indices, owners)

    def shape(self, height: int, width: int, *, what: str = "images of") -> tuple[int, int]:
        """``(h, w)`` of D's logits for such images, by asking D's layers without computing.

        Raises:
            ValueError: too small for D, or a D with several maps.
        """
        if (height, width) not in self._shapes:
            with torch.device("meta"):
                netD = self._build_D()
                check_image_size(netD, height, width, flag=what)
                found = netD(torch.empty(1, self._channels, height, width))
            if not isinstance(found, Tensor):
                raise ValueError(f"--netD {self._netD}: ATME needs a discriminator with one map; use basic")
            self._shapes[height, width] = (int(found.shape[-2]), int(found.shape[-1]))
        return self._shapes[height, width]

    # -- testing -------------------------------------------------------------------------------------------------

    @property
    def draws(self) -> bool:
        """Whether the map of an image without history is drawn."""
        return self._test_map == "reference"

    @property
    def min_size(self) -> int:
        """The smallest height and width of which D has a map."""
        with torch.device("meta"):
            return int(getattr(self._build_D(), "min_size", 1))

    def neutral(self, image: Tensor) -> Tensor:
        """What stands for an image without history if nothing is drawn, one number for all patches or ``[N, 1, h, w]``.

        0.5 for ``reference``, 0 for ``zero`` and ``two_pass``, the mean of all rows for ``memory``.
        """
        if self._test_map == "memory":
            return self._mean_map.to(image).expand(image.shape[0], -1, -1, -1)
        return image.new_full((image.shape[0], 1, 1, 1), REFERENCE_LOGIT if self.draws else 0.0)

    def drawn(self, count: int, size: tuple[int, int]) -> Tensor:
        """The published map of images of a test, ``[N, 1, h, w]`` on the CPU: 0.5 and noise of 0.001."""
        return REFERENCE_LOGIT + 0.001 * torch.randn((count, 1, *self.shape(*size)))

    @property
    def judges_first_pass(self) -> bool:
        """Whether this is a test in which D judges a first picture for a second one."""
        return self.memory is None and self._test_map == "two_pass"

    def load_inference_state(self, state: Mapping[str, Any]) -> None:
        """Take the training's maps, by the files that they belong to, from a ``state``.

        Raises:
            ValueError: the checkpoint has no memory.
        """
        if "disc_maps" not in state:
            raise ValueError("--test_map memory: this checkpoint has no memory of D's maps; use --test_map reference")
        self._known = dict(zip(state["disc_map_owners"].tolist(), state["disc_maps"]))
        self._mean_map = state["disc_maps"].mean(dim=0)

    def _of_a_test(self, owners: Sequence[int], size: tuple[int, int]) -> Tensor:
        shape = (len(owners), 1, *self.shape(*size))
        if self._test_map == "memory":
            rows = [self._known.get(owner, self._mean_map) for owner in owners]
            if rows[0].shape != shape[1:]:
                raise ValueError(
                    f"--test_map memory: the maps are {tuple(rows[0].shape[1:])}, these images need {shape[2:]}; "
                    "test at the size of the training"
                )
            return torch.stack(rows)
        return self.drawn(len(owners), size) if self.draws else torch.zeros(shape)
