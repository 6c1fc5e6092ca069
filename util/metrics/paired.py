"""PSNR, SSIM, L1 and LPIPS of images and their targets, one pair at a time; all but SSIM by torchmetrics."""

from __future__ import annotations

import contextlib
import hashlib
import math
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.functional.regression import mean_absolute_error
from tqdm import tqdm

from util.metrics import LPIPS_NETS
from util.metrics.fidelity import Number
from util.metrics.images import ImageSet, Pixels, pairs
from util.registry import unknown
from util.run.pretrained import MissingWeights, load_weights, patience

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
LPIPS_SMALLEST = 32  # pixels; below, the deepest layer of the backbone has no output
_BACKBONES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


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


def paired(
    fake: ImageSet, real: ImageSet, names: Sequence[str], *, lpips: Lpips | None = None, progress: bool = True
) -> dict[str, Number]:
    """Means over the pairs, with their standard deviation.

    PSNR and SSIM have a data range of 255; L1 is the mean absolute difference of values scaled to 0..1; SSIM has the
    published Gaussian window and is the mean over the channels.

    Args:
        fake: the images.
        real: their targets, by equal names.
        names: which of ``psnr``, ``ssim``, ``l1``, ``lpips``.
        lpips: needed for ``lpips``.
        progress: a bar on a terminal.

    Raises:
        ValueError: no partner, different sizes, or too small; the message names the file.
    """
    values: dict[str, list[float]] = {name: [] for name in names}
    for index, target in tqdm(pairs(fake, real), desc="pairs", unit=" img", disable=None if progress else True):
        a, b = fake.read(index), real.read(target)
        _check(fake, fake.names[index], a, b, names)
        x, y = as_batch(a), as_batch(b)
        for name in names:
            values[name].append(_one(name, x, y, lpips))
    return {name: _mean(name, found, lpips) for name, found in values.items()}


def ssim(x: Tensor, y: Tensor) -> float:
    """Structural similarity (Wang et al. 2004), Eq. (13), the mean over channels and over all places of the window.

    torchmetrics' map in float64 (its float32 is off by up to 3e-4 where an image is flat and bright), without the
    margin in which the Gaussian window (11 pixels, sigma 1.5) would reach beyond the image, as published.

    Args:
        x: ``[1, C, H, W]`` in 0..255, H and W at least 11.
        y: the same shape.
    """
    found = structural_similarity_index_measure(
        x.double(), y.double(), sigma=SSIM_SIGMA, data_range=255.0, k1=SSIM_K1, k2=SSIM_K2, return_full_image=True
    )
    margin = SSIM_WINDOW // 2
    return float(found[1][..., margin:-margin, margin:-margin].mean())


def _one(name: str, x: Tensor, y: Tensor, lpips: Lpips | None) -> float:
    if name == "psnr":
        return float(peak_signal_noise_ratio(x, y, data_range=255.0))
    if name == "ssim":
        return ssim(x, y)
    if name == "lpips":
        assert lpips is not None
        return lpips(x, y)
    return l1(x, y)


def l1(x: Tensor, y: Tensor) -> float:
    """Mean absolute difference of two ``[1, 3, H, W]`` in 0..255, as values in 0..1."""
    return float(mean_absolute_error(x.flatten() / 255.0, y.flatten() / 255.0))


def as_batch(image: Pixels) -> Tensor:
    """``[H, W, 3]`` as float32 ``[1, 3, H, W]``, values 0..255."""
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None].contiguous()


def _mean(name: str, values: Sequence[float], lpips: Lpips | None) -> Number:
    finite = [value for value in values if math.isfinite(value)]
    notes = []
    if len(finite) < len(values):
        same = len(values) - len(finite)
        notes.append(f"{same} of {len(values)} images equal their target (infinite PSNR) and are left out of the mean")
    protocol: dict[str, Any] = {"pairs": len(values), "mean": "over the pairs; std over the pairs"}
    if name == "psnr":
        protocol["data_range"] = 255
    if name == "ssim":
        window = f"Gaussian, {SSIM_WINDOW} pixels, sigma {SSIM_SIGMA}, inside the image"
        protocol |= {"data_range": 255, "window": window, "k1": SSIM_K1, "k2": SSIM_K2}
    if name == "l1":
        protocol["values"] = "0..1"
    if name == "lpips" and lpips:
        protocol |= lpips.facts()
    if not finite:
        return Number(math.inf, None, protocol, ("every image equals its target",))
    return Number(float(np.mean(finite)), float(np.std(finite)), protocol, tuple(notes))


def _check(fake: ImageSet, name: str, a: Pixels, b: Pixels, names: Sequence[str]) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"{fake.label}: {name} is {a.shape[1]}x{a.shape[0]}, its target {b.shape[1]}x{b.shape[0]}; "
            "--resize N scales both sides to N pixels squared"
        )
    smallest = min(a.shape[:2])
    limits = {"ssim": SSIM_WINDOW, "lpips": LPIPS_SMALLEST}
    for metric, limit in limits.items():
        if metric in names and smallest < limit:
            raise ValueError(f"{fake.label}: {name} has {smallest} pixels; {metric} needs {limit} or more")


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
