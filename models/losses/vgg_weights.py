"""Where the weights of the perceptual loss come from: a file, torchvision's download, or a seed."""

from __future__ import annotations

import http.client
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.networks.vgg import CONVOLUTIONS, VGGFeatures, convolution_places
from util.engine import Engine
from util.pretrained import MissingWeights, load_weights, patience

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
