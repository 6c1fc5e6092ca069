"""What the discriminator last thought of every image: ATME's memory of logit maps."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
    where the list of files has changed since, the row starts anew, and that is told once.

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
                logger.warning("warning: the data set's files have changed: their maps of D start anew")
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
        """Go on with ``state``; rows of another number or shape cannot be used, which is told."""
        maps = state["disc_maps"]
        if maps.shape != self.maps.shape:
            logger.warning(
                "warning: the checkpoint has %d maps of D of %dx%d, this run %d of %dx%d: they start anew",
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
