"""What the tests of metrics share: drawings, result folders, a tiny extractor, a machine without network and caches."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from util.metrics import extractors
from util.metrics.extractors import Extractor

CPU = torch.device("cpu")
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


def draw(kind: str, seed: int, size: int = 64) -> np.ndarray:
    """``[size, size, 3]`` uint8: bright ``boxes`` on dark ground, or dark ``discs`` on light ground."""
    rng = np.random.default_rng([seed, size, kind == "boxes"])
    rows, columns = np.mgrid[:size, :size]
    picture = np.full((size, size, 3), 30 if kind == "boxes" else 215, np.int64)
    for _ in range(5):
        y, x = rng.integers(0, size, 2)
        reach = rng.integers(size // 8, size // 3)
        if kind == "boxes":
            inside = (abs(rows - y) < reach) & (abs(columns - x) < reach // 2 + 1)
            picture[inside] = rng.integers(120, 255, 3)
        else:
            inside = (rows - y) ** 2 + (columns - x) ** 2 < reach**2 / 2
            picture[inside] = rng.integers(0, 130, 3)
    return np.clip(picture + rng.integers(-8, 9, picture.shape), 0, 255).astype(np.uint8)


def save_drawings(folder: Path, kind: str, count: int, *, seed: int = 0, size: int = 64, suffix: str = "") -> Path:
    """``0<suffix>.png``, ``1<suffix>.png``...; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(draw(kind, 1000 * seed + number, size)).save(folder / f"{number}{suffix}.png")
    return folder


def save_run(mode: str = "aligned", name: str = "run", **options: object) -> None:
    """The option file of a run in ``./checkpoints``."""
    folder = Path("checkpoints") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train_opt.json").write_text(json.dumps({"dataset_mode": mode, "model": "pix2pix", **options}))


def save_results(
    place: str = "test_latest", *, name: str = "run", count: int = 6, size: int = 24, seed: int = 0
) -> Path:
    """``./results/<name>/<place>`` as test.py leaves it: inputs, outputs near their targets, targets, a page."""
    folder = Path("results") / name / place
    (folder / "images" / "sub").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        target = draw("boxes", number, size)
        made = np.clip(target + rng.integers(-20, 21, target.shape) + 5, 0, 255).astype(np.uint8)
        stem = f"images/sub/{number}" if number == 0 else f"images/{number}"
        kinds = {"real_B": target, "fake_B": made, "real_A": draw("discs", number, size), "fake_A": made[::-1]}
        for kind, pixels in kinds.items():
            Image.fromarray(pixels).save(folder / f"{stem}_{kind}.png")
    (folder / "index.html").write_text("<html>the page</html>")
    return folder


class TinyNet(FeatureExtractorBase):
    """48 means of an image's parts in place of a network; the logits are a fixed mixture of them."""

    def __init__(self, features_list: list[str] | None = None) -> None:
        super().__init__("tiny", features_list or ["2048", "logits_unbiased"])
        self.calls = 0

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("2048", "logits_unbiased")

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert x.dtype == torch.uint8 and x.shape[1] == 3
        self.calls += 1
        rows = F.adaptive_avg_pool2d(x.float(), 4).flatten(1) / 64
        mixture = torch.randn(48, 10, generator=torch.Generator().manual_seed(0))
        found = {"2048": rows, "logits_unbiased": rows @ mixture}
        return tuple(found[name] for name in self.features_list)


def tiny_extractor(name: str = "inception", sha256: str = "ab" * 32) -> Extractor:
    return Extractor(name, TinyNet(), "2048", "logits_unbiased", "4x4", sha256)


@pytest.fixture()
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every suite measures with a tiny network, under the name that was asked for; returns those names."""
    asked: list[str] = []

    def load(name: str, device: torch.device, *, inception_weights: str = "") -> Extractor:
        asked.append(name)
        return tiny_extractor(name)

    monkeypatch.setattr(extractors, "load_extractor", load)
    return asked


@pytest.fixture()
def offline(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, and none of this machine's caches; returns the folder that holds the caches instead."""
    folder = tmp_path_factory.mktemp("caches")
    for name in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(folder / name))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):  # of subprocesses
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    def download(url: str, *_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return folder
