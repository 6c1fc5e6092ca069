"""A buffer of earlier generated images for D (Shrivastava et al. 2017, arXiv:1612.07828, section 2.3)."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Gives D a mixture of new and earlier generated images.

    Per image: until the pool is full, the image is stored and returned. Then, with probability 1/2, a random stored
    image is returned and the new one takes its place; otherwise the new one is returned and not stored.

    Args:
        size: number of images kept; 0 returns every image as it comes.
        rng: the pool's own random numbers, or the seed for them. The global generators are never touched.

    Raises:
        ValueError: negative size.
    """

    def __init__(self, size: int, rng: int | random.Random = 0) -> None:
        if size < 0:
            raise ValueError(f"--pool_size {size}: expected 0 (no pool) or a positive number of images")
        self.size = size
        self._rng = rng if isinstance(rng, random.Random) else random.Random(rng)
        self._images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Exchange a batch.

        Args:
            images: ``[N, C, H, W]``, new images.

        Returns:
            As many images, detached, on the same device. With a pool and N above 1 all images must have one size.
        """
        images = images.detach()
        if self.size == 0:
            return images
        return torch.stack([self._exchange(image) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self._images) < self.size:
            self._images.append(image.clone())  # a view would keep the whole batch alive
            return image
        if self._rng.uniform(0, 1) > 0.5:
            slot = self._rng.randint(0, self.size - 1)
            stored, self._images[slot] = self._images[slot], image.clone()
            return stored.to(image)
        return image

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: CPU tensors and primitives, fit for ``torch.load(weights_only=True)``."""
        version, numbers, gauss = self._rng.getstate()
        return {
            "size": self.size,
            "images": [image.cpu() for image in self._images],
            "rng": [version, list(numbers), gauss],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            ValueError: the state comes from a pool of another size.
        """
        if state["size"] != self.size:
            raise ValueError(
                f"--pool_size {self.size}: the checkpoint's pool has size {state['size']}; "
                f"continue with --pool_size {state['size']}"
            )
        self._images = list(state["images"])
        version, numbers, gauss = state["rng"]
        self._rng.setstate((version, tuple(numbers), gauss))
