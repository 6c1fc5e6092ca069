"""The distance of two images as a trained classifier sees them, and where the classifier's weights come from."""

from __future__ import annotations

import http.client
import logging
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.vgg import CONVOLUTIONS, TAPS, VGGFeatures, convolution_places
from util.run.engine import Engine
from util.run.pretrained import MissingWeights, load_weights, patience

logger = logging.getLogger(__name__)


RANDOM, RANDOM_SEED = "random", 0  # not --seed: a loss is the same in every run
URLS = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}
"""torchvision's IMAGENET1K_V1, whole networks of about 550 MB; the eight digits begin the file's SHA-256."""

ADVICE = "give a file by --vgg_weights FILE, or --vgg_weights random (features of no training: another loss)"
_KEY = re.compile(r"(?:features\.|slice\d\.)?(\d+)\.(\w+)")


def load_vgg(vgg: VGGFeatures, weights: str, engine: Engine) -> None:
    """Fill the network in the main process: the others get its weights when the engine prepares the network.

    So nothing is read or downloaded twice, and a machine without the file can take part. Every process must call
    this, and an error is raised in all of them.

    Args:
        vgg: of any depth.
        weights: a file; ``random``, the same in every run; or empty for torchvision's, from torch.hub's folder or
            downloaded to it.
        engine: says which process this is.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another network, or a damaged one; or nothing is here and nothing can be downloaded.
    """
    if weights == RANDOM:
        logger.warning(
            "--vgg_weights random: this %s has learnt nothing, so G_perceptual is another loss than the published one",
            vgg.name.upper(),
        )
        vgg.draw_weights(RANDOM_SEED)
        return
    error: Exception | None = None
    if engine.world.is_main:
        try:
            file = Path(weights) if weights else _torchvision_file(vgg.name)
            vgg.load_state_dict(_state_for(vgg, file, given=bool(weights)))
            logger.info("perceptual loss: %s from %s", vgg.name.upper(), file)
        except (ValueError, FileNotFoundError) as problem:
            error = problem
    told = engine.gather(error)[0]
    if told is not None:
        raise told


def _torchvision_file(name: str) -> Path:
    """torchvision's file in torch.hub's folder, downloaded if it is not there.

    Raises:
        MissingWeights: it cannot be; the message names the file, the folder and the flags.
    """
    url = URLS[name]
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if file.is_file():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        logger.info("downloading %s to %s", url, file.parent)
        digits = file.stem.rsplit("-", 1)[1]
        with patience():
            torch.hub.download_url_to_file(url, str(file), digits, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, http.client.HTTPException) as error:  # RuntimeError: another checksum
        raise MissingWeights(
            f"--vgg {name}: {file.name} is not in {file.parent} and cannot be downloaded from {url} "
            f"({getattr(error, 'reason', None) or error}); {ADVICE}"
        ) from None
    return file


def _state_for(vgg: VGGFeatures, file: Path, *, given: bool) -> dict[str, Tensor]:
    """What ``vgg`` needs of a file, under its own keys.

    The file may hold a whole VGG of torchvision (``features.N.*`` and a classifier), its features alone
    (``features.N.*`` or ``N.*``), or ours (``slice<k>.N.*``), and may end below the classifier's depth.
    """
    if not file.is_file():
        raise FileNotFoundError(f"--vgg_weights {file}: there is no such file; {ADVICE}")
    try:
        loaded = load_weights(file, "--vgg_weights")
    except ValueError as error:
        raise error if given else ValueError(f"{file} is damaged: delete it, it is downloaded again") from None
    found: dict[int, dict[str, Tensor]] = {}
    for name, entry in loaded.items():
        if match := _KEY.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = entry
    _check_network(vgg.name, found, file)
    state = {}
    for key, wanted in vgg.state_dict().items():
        tap, place, kind = key.removeprefix("slice").split(".")
        value = found.get(int(place), {}).get(kind)
        if value is None:
            raise ValueError(
                f"--vgg_weights {file}: lacks layer {place} of {vgg.name}, which tap {tap} of --vgg_layers "
                f"needs; {ADVICE}"
            )
        if value.shape != wanted.shape:
            raise ValueError(f"--vgg_weights {file}: not torchvision's {vgg.name} (layer {place} differs); {ADVICE}")
        state[key] = value
    return state


def _check_network(name: str, found: Mapping[int, Iterable[str]], file: Path) -> None:
    """Tell networks apart by where their convolutions are: below relu4_1 VGG16 and VGG19 have equal shapes.

    Raises:
        ValueError: the file holds none, or another one.
    """
    plain = found and all(set(kinds) <= {"weight", "bias"} for kinds in found.values())
    matching = [each for each in CONVOLUTIONS if plain and found.keys() <= set(convolution_places(each))]
    if name in matching:
        return
    what = f"it holds {matching[0]}: give --vgg {matching[0]}, or" if matching else "it holds something else;"
    raise ValueError(f"--vgg_weights {file}: not torchvision's {name}; {what} {ADVICE}")


TAP_WEIGHTS = dict(zip(TAPS, (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)))
"""Weight of relu1_1 ... relu5_1, as in pix2pixHD (Wang et al. 2018, arXiv:1711.11585, Eq. 8) and SPADE."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PerceptualLoss(nn.Module):
    """``sum over the taps k of w_k * mean |phi_k(x) - phi_k(y)|`` (Johnson et al. 2016, arXiv:1603.08155, with L1).

    phi_k is the k-th tap of a frozen VGG, the mean goes over images, channels and places, and no gradient flows into
    the target y.

    Args:
        vgg: the frozen network.
        weights: one for each of its taps; empty: ``TAP_WEIGHTS``.
        channels: of the images, 1 or 3; one becomes three.
        normalise: scale images from ``[-1, 1]`` to what the VGG was trained on, ``((x + 1) / 2 - mean) / std`` with
            ImageNet's; otherwise they go in as they are, as in pix2pixHD and SPADE.

    Attributes:
        min_size: smallest height and width of the images, in pixels.

    Raises:
        ValueError: other channels, weights that do not go with the taps, or a negative one.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, vgg: VGGFeatures, weights: Sequence[float] = (), *, channels: int = 3, normalise: bool = True
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"--output_nc {channels}: a perceptual loss compares images of 1 or 3 channels")
        if weights and (len(weights) != len(vgg.taps) or min(weights) < 0 or not any(weights)):
            given, taps = (",".join(f"{number:g}" for number in numbers) for numbers in (weights, vgg.taps))
            raise ValueError(
                f"--vgg_layer_weights {given}: give one of at least 0 for each of --vgg_layers {taps}, not only zeros"
            )
        self.vgg, self.normalise, self.min_size = vgg, normalise, vgg.min_size
        self.weights = tuple(weights) or tuple(TAP_WEIGHTS[tap] for tap in vgg.taps)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss as a 0-dim tensor, float32 as the VGG is.

        Args:
            x: the generated images, ``[N, 3, H, W]`` or ``[N, 1, H, W]`` in ``[-1, 1]``.
            y: their targets, the same shape.
        """
        # Without autocast: rounding decides signs of the differences, of which L1's gradient is made. Of a blurred
        # photo (VGG16, 256 pixels) it was off by 29 % in bfloat16 and 15 % in float16, with a loss right to 0.03 %.
        with torch.autocast(x.device.type, enabled=False):
            with torch.no_grad():
                target = self.vgg(self._three_channels(y))
            seen = self.vgg(self._three_channels(x))
            terms = [w * F.l1_loss(ours, theirs) for w, ours, theirs in zip(self.weights, seen, target, strict=True)]
            return torch.stack(terms).sum()

    def _three_channels(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype).expand(-1, 3, -1, -1)  # as the weights are: float32, whatever autocast made
        return ((x + 1) / 2 - self.mean) / self.std if self.normalise else x
