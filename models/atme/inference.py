"""ATME's chain of a test as one module: D's map, W, and the generator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.atme.maps import ImageMaps
from models.networks.inference import InferenceModule
from models.networks.tracing import is_exporting


class MappedTranslation(InferenceModule):
    """``W_t = W(map)``, ``fake = G(x (1 + W_t), W_t)`` with the map that ``--test_map`` gives to an image without
    history.

    The published map is 0.5 and noise of 0.001, drawn in every call from torch's generator on the CPU. An exported
    module has the mean instead, 0.5. Of ``--test_map memory`` it is the mean of all rows.

    Args:
        netW: turns a map into W_t.
        netG: the generator.
        maps: of the source domain.
        target: ``A`` or ``B``, for the names of the outputs.
        netD: for ``--test_map two_pass``: judges the first picture.
        conditional: D sees the image beside the translation.
        with_map: return W_t too.
    """

    def __init__(
        self,
        netW: nn.Module,
        netG: nn.Module,
        maps: ImageMaps,
        *,
        target: str = "B",
        netD: nn.Module | None = None,
        conditional: bool = True,
        with_map: bool = True,
    ) -> None:
        super().__init__(f"fake_{target}", *[f"Disc_{target}"] * with_map)
        self.netW, self.netG, self.netD = netW, netG, netD
        self.maps, self.conditional = maps, conditional
        self.min_size = maps.min_size
        self._drawn = maps.draws

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``[N, C, H, W]`` in [-1, 1] -> the translation, and W_t ``[N, 1, H, W]``."""
        fake, W_t = self._attempt(image, self._map(image))
        if self.netD is not None:
            judged = torch.cat([image, fake], 1) if self.conditional else fake
            fake, W_t = self._attempt(image, self.netD(judged).float())
        return (fake, W_t)[: len(self.outputs)]

    def has_noise(self) -> bool:
        return self._drawn or bool(getattr(self.netW, "draws", False))

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """The mean of the published map, 0.5, instead of a drawn one."""
        was_drawn, self._drawn = self._drawn, False
        try:
            with super().still():
                yield
        finally:
            self._drawn = was_drawn

    def _attempt(self, image: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        W_t = self.netW(maps, (image.shape[-2], image.shape[-1]))
        return self.netG(image * (1 + W_t), W_t), W_t

    def _map(self, image: Tensor) -> Tensor:
        if not self._drawn or is_exporting() or torch.jit.is_tracing():
            return self.maps.neutral(image)
        return self.maps.drawn(image.shape[0], (int(image.shape[-2]), int(image.shape[-1]))).to(image.device)

    def _reasons(self) -> Iterator[str]:
        yield from super()._reasons()
        if self.has_noise():
            yield "the map of D is drawn for each part"
