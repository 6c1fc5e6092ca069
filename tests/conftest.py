"""Small data sets and small runs, shared by the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import MODELS
from tests.measuring import offline, tiny  # noqa: F401  (fixtures)
from tests.two_processes import TwoProcesses

os.environ.setdefault("OMP_NUM_THREADS", "1")

SIZE = 32
TRAINABLE_ARGS = ["--gpu_ids", "-1", "--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--load_size", "36"]
TRAINABLE_ARGS += ["--crop_size", str(SIZE), "--num_threads", "0", "--display_id", "0"]
"""Flags that make any model small enough for a test, but for what ``MODEL_ARGS`` adds."""
SMALL_ATME = ["--netG", "unet_256_ddm", "--dim", "8", "--init_dim", "8", "--groups", "4", "--dim_mults", "1,2"]
SMALL_VGG = ["--vgg_weights", "random", "--vgg_layers", "1,2"]
SMALL_UGATIT = ["--n_res", "1", "--n_layers_global", "5", "--n_layers_local", "3", "--lr", "0.0002"]
SMALL_UGATIT += ["--cam_weight", "10"]  # 1000 makes rounding grow too fast to compare two runs
SMALL_SAGAN = ["--num_classes", "3", "--nz", "8", "--attn_res_G", "8", "--attn_res_D", "8", "--ema_decay", "0.9"]
MODEL_ARGS = {"atme": SMALL_ATME, "atme_unpaired": SMALL_ATME, "perceptual": SMALL_VGG, "ugatit": SMALL_UGATIT}
MODEL_ARGS |= {"sagan": SMALL_SAGAN}


NO_DRAWS = {"stochastic": ["--noise", "weight", "--noise_sigma", "0"], "augan": ["--feature_noise", "0"]}
"""What makes a model draw nothing, where it is more than ``--no_dropout``."""


def without_draws(model: str) -> list[str]:
    """Flags with which a step of this model does not depend on drawn numbers."""
    return NO_DRAWS.get(model, ["--no_dropout"])


def trainable_args(model: str) -> list[str]:
    """Flags that make this model small enough for a test."""
    return [*TRAINABLE_ARGS, *MODEL_ARGS.get(model, [])]


def data_of(model: str, dataroot: Path) -> Path:
    """The part of the ``dataroot`` fixture that this model trains on."""
    return dataroot / "classes" if MODELS.get(model).dataset_mode == "class_folder" else dataroot


def draw_pair(seed: int, size: int = SIZE) -> Image.Image:
    """A photo-like left half and a label-like right half of the same random boxes: ``[2 * size, size]``."""
    rng = np.random.default_rng(seed)
    label = np.full((size, size, 3), 40, np.uint8)
    for _ in range(4):
        y, x = rng.integers(0, size - 8, 2)
        label[y : y + rng.integers(4, 12), x : x + rng.integers(4, 12)] = rng.integers(0, 255, 3)
    photo = np.clip(label[..., ::-1].astype(int) + rng.integers(-12, 12, label.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(np.concatenate([photo, label], axis=1))


@pytest.fixture(scope="session")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every layout in one folder: aligned ``train``/``test``, unaligned ``trainA``..., single by naming a folder.

    In ``classes`` the same photos as three classes.
    """
    root = tmp_path_factory.mktemp("data")
    for phase, count in (("train", 5), ("test", 3)):
        for side in ("", "A", "B"):
            (root / f"{phase}{side}").mkdir()
        for number in range(count):
            pair = draw_pair(number + (100 if phase == "test" else 0))
            pair.save(root / phase / f"{number}.png")
            pair.crop((SIZE, 0, 2 * SIZE, SIZE)).save(root / f"{phase}A" / f"{number}.png")
            photo = pair.crop((0, 0, SIZE, SIZE))
            photo.save(root / f"{phase}B" / f"{number}.png")
            folder = root / "classes" / phase / ("ape", "bee", "cat")[number % 3]
            folder.mkdir(parents=True, exist_ok=True)
            photo.save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def two_processes() -> Iterator[TwoProcesses]:
    """They start at the first call."""
    pair = TwoProcesses()
    yield pair
    pair.stop()


@pytest.fixture()
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that ./checkpoints and ./results of a test are its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_leaking_state() -> object:
    """Threads and global arithmetic settings are the same for every test."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)
    return None


@pytest.fixture()
def said(capsys, caplog):
    """Everything that was told so far: standard error and the log."""
    caplog.set_level("INFO")

    def text():
        return caplog.text + capsys.readouterr().err

    return text
