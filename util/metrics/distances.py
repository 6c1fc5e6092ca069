"""Distances of two images, float32 ``[1, C, H, W]`` in 0..255: PSNR, SSIM, L1, LPIPS; all but SSIM by torchmetrics."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.functional.regression import mean_absolute_error

from util.metrics import LPIPS_NETS, SSIM_K1, SSIM_K2, SSIM_SIGMA, SSIM_WINDOW
from util.registry import unknown
from util.run.pretrained import MissingWeights, load_weights, patience

_BACKBONES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


def psnr(x: Tensor, y: Tensor) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal images."""
    return float(peak_signal_noise_ratio(x, y, data_range=255.0))


def ssim(x: Tensor, y: Tensor, there: NDArray[np.bool_] | None = None) -> float:
    """Structural similarity (Wang et al. 2004), Eq. (13), the mean over channels and over all places of the window.

    torchmetrics' map in float64 (its float32 is off by up to 3e-4 where an image is flat and bright), without the
    margin in which the Gaussian window (11 pixels, sigma 1.5) would reach beyond the image, as published.

    Args:
        x: ``[1, C, H, W]`` in 0..255, H and W at least 11.
        y: the same shape.
        there: ``[H, W]``, pixels that are not missing; only places where the window holds no other count. NaN where
            there is no such place.
    """
    found = structural_similarity_index_measure(
        x.double(), y.double(), sigma=SSIM_SIGMA, data_range=255.0, k1=SSIM_K1, k2=SSIM_K2, return_full_image=True
    )
    margin = SSIM_WINDOW // 2
    values = found[1][..., margin:-margin, margin:-margin]
    if there is None:
        return float(values.mean())
    windows = np.lib.stride_tricks.sliding_window_view(there, (SSIM_WINDOW, SSIM_WINDOW)).all(axis=(2, 3))
    return float(values[..., torch.from_numpy(windows)].mean())


def l1(x: Tensor, y: Tensor) -> float:
    """Mean absolute difference of two ``[1, C, H, W]`` in 0..255, as values in 0..1."""
    return float(mean_absolute_error(x.flatten() / 255.0, y.flatten() / 255.0))


def lpips(x: Tensor, y: Tensor, network: Lpips) -> float:
    """Learned perceptual distance by a loaded network; of grey images and of several bands as ``as_rgb`` shows them."""
    return network(*(_colours(image) for image in (x, y)))


def _colours(images: Tensor) -> Tensor:
    """``[1, 3, H, W]`` of ``[1, C, H, W]``: grey three times, else the first three bands."""
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)


class Lpips:
    """Learned perceptual distance (Zhang et al. 2018, arXiv:1801.03924), version 0.1: its linear heads come with
    torchmetrics, its backbone is torchvision's, downloaded once, or a file.

    Args:
        net: ``alex``, ``vgg`` (VGG16) or ``squeeze``.
        device: where it runs.
        weights: file with torchvision's backbone, whole or ``.features`` alone; empty to download.

    Raises:
        MissingWeights: they are not here and cannot be downloaded.
        ValueError: the file holds something else.
    """

    def __init__(self, net: str, device: torch.device, weights: str = "") -> None:
        if net not in LPIPS_NETS:
            raise unknown(f"--lpips_net {net}", net, LPIPS_NETS)
        if weights:
            self._net: nn.Module = _lpips_network(net, pnet_rand=True)
            _load_backbone(self._net.net, net, Path(weights))
        else:
            try:
                with patience(), contextlib.redirect_stdout(sys.stderr):  # torch.hub announces a download
                    self._net = _lpips_network(net)
            except OSError as error:
                raise MissingWeights(
                    f"--metrics lpips: torchvision's {_BACKBONES[net]} is not here and cannot be downloaded "
                    f"({getattr(error, 'reason', None) or error}); give its file by --lpips_weights FILE, "
                    "or leave lpips out"
                ) from None
            except (RuntimeError, EOFError, pickle.UnpicklingError):  # torch.load
                raise ValueError(
                    f"--metrics lpips: the {_BACKBONES[net]} in {torch.hub.get_dir()}/checkpoints is damaged; delete "
                    "it, it is downloaded again"
                ) from None
        self.net, self.sha256, self._device = net, _state_sha256(self._net.net), device
        self._net.to(device).requires_grad_(False)

    def facts(self) -> dict[str, Any]:
        """What a protocol says of it."""
        return {"lpips_net": self.net, "lpips_version": "0.1", "weights_sha256": self.sha256}

    def __call__(self, fake: Tensor, real: Tensor) -> float:
        """The distance of two ``[1, 3, H, W]`` float32 in 0..255."""
        with torch.inference_mode():
            a, b = ((image.to(self._device) / 127.5 - 1).clamp(-1, 1) for image in (fake, real))
            return float(self._net(a, b))


def _lpips_network(net: Any, **settings: Any) -> nn.Module:
    """The network inside torchmetrics' LPIPS: its public class would always download the backbone."""
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    return _NoTrainLpips(net=net, **settings)


def _load_backbone(backbone: Any, net: str, file: Path) -> None:
    """Put the layers of ``torchvision.models.<backbone>().features`` into LPIPS's slices, which keep their numbers."""
    if not file.is_file():
        raise FileNotFoundError(f"--lpips_weights {file}: there is no such file")
    loaded = load_weights(file, "--lpips_weights")
    state: Mapping[str, Any] = {name.removeprefix("features."): value for name, value in loaded.items()}
    wanted = backbone.state_dict()
    own = {key: key.split(".", 2 if net == "squeeze" else 1)[-1] for key in wanted}
    missing = [name for key, name in own.items() if name not in state or state[name].shape != wanted[key].shape]
    if missing:
        raise ValueError(f"--lpips_weights {file}: not torchvision's {_BACKBONES[net]}, which --lpips_net {net} needs")
    backbone.load_state_dict({key: state[name] for key, name in own.items()})


def _state_sha256(net: Any) -> str:
    whole = hashlib.sha256()
    for key, value in sorted(net.state_dict().items()):
        whole.update(key.encode() + value.detach().cpu().numpy().tobytes())
    return whole.hexdigest()
