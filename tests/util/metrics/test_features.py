"""Features are calculated once for images that stay the same, and again as soon as anything about them changes."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.measuring import CPU, TinyNet, draw, save_drawings, tiny_extractor
from util.metrics.extractors import Extractor
from util.metrics.features import FeatureCache, default_cache, features_of, to_uint8
from util.metrics.images import FolderImages, MadeImages


class Poisoned(FolderImages):
    """The same content, which nobody may read again."""

    def read(self, index):
        raise AssertionError("read again")


@pytest.fixture()
def folder(tmp_path):
    return save_drawings(tmp_path / "images", "boxes", 5, size=16)


def features(images, extractor=None, **settings):
    return features_of(images, extractor or tiny_extractor(), CPU, **{"progress": False, **settings})


def filled(tmp_path, folder):
    """A cache on disk that knows the folder."""
    cache = FeatureCache(tmp_path / "cache")
    known = features(FolderImages(folder, "--real"), cache=cache)
    return known, tmp_path / "cache"


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[layer], right[layer]) for layer in left)


def close(left, right):
    """Sums of another order: the last bits may differ."""
    return left.keys() == right.keys() and all(torch.allclose(left[layer], right[layer], atol=1e-5) for layer in left)


def test_values_and_order(tmp_path):
    for number in range(12):
        Image.fromarray(np.full((4, 4, 3), 10 * number, np.uint8)).save(tmp_path / f"{number}.png")
    images = FolderImages(tmp_path, "--fake")
    found = features(images, batch_size=5)
    assert found["2048"].shape == (12, 48) and found["2048"].dtype == torch.float32
    np.testing.assert_allclose(found["2048"][:, 0] * 64, [10 * int(name) for name in images.names], rtol=1e-6)
    assert found["logits_unbiased"].shape == (12, 10)


@pytest.mark.parametrize(("batch_size", "calls"), [(1, 7), (3, 3), (7, 1), (50, 1)])
def test_batches(batch_size, calls):
    images = MadeImages("made", {str(number): draw("boxes", number, 8) for number in range(7)})
    extractor = tiny_extractor()
    assert close(features(images, extractor, batch_size=batch_size), features(images))
    assert extractor.module.calls == calls


def test_a_change_of_size_ends_a_batch():
    sizes = (8, 8, 16, 16, 16, 8)
    images = MadeImages("made", {str(number): draw("boxes", number, size) for number, size in enumerate(sizes)})
    extractor = tiny_extractor()
    found = features(images, extractor, batch_size=2)
    assert extractor.module.calls == 4 and close(found, features(images, batch_size=1))


def test_sixteen_bits_are_rounded():
    values = np.array([[[-0.4, 0.49, 0.5]], [[1.5, 254.6, 255.0]]])
    np.testing.assert_array_equal(to_uint8(values), [[[0, 0, 0]], [[2, 255, 255]]])
    assert to_uint8(values).dtype == np.uint8


def test_second_time_nothing_is_read(tmp_path, folder):
    known, place = filled(tmp_path, folder)
    extractor = tiny_extractor()
    again = features(Poisoned(folder, "--real"), extractor, cache=FeatureCache(place))
    assert equal(again, known) and extractor.module.calls == 0


def test_other_names_of_the_same_content_are_known(tmp_path, folder):
    known, place = filled(tmp_path, folder)
    folder.rename(tmp_path / "elsewhere")
    assert equal(features(Poisoned(tmp_path / "elsewhere", "--fake"), cache=FeatureCache(place)), known)


def test_one_cache_remembers_without_a_folder(folder):
    cache = FeatureCache(None)
    known = features(FolderImages(folder, "--real"), cache=cache)
    assert equal(features(Poisoned(folder, "--real"), cache=cache), known)
    with pytest.raises(AssertionError, match="read again"):
        features(Poisoned(folder, "--real"), cache=FeatureCache(None))


def test_changed_content_is_not_known(tmp_path, folder):
    known, place = filled(tmp_path, folder)
    save_drawings(folder, "discs", 1, size=16)
    changed = features(FolderImages(folder, "--real"), cache=FeatureCache(place))
    assert not torch.equal(changed["2048"][0], known["2048"][0]) and torch.equal(changed["2048"][1:], known["2048"][1:])


@pytest.mark.parametrize("settings", [{"resize": 8}, {"half": "left"}, {"alpha": "white"}, {"value_range": (0, 99)}])
def test_what_is_done_on_reading_belongs_to_the_key(settings, tmp_path, folder):
    _, place = filled(tmp_path, folder)
    with pytest.raises(AssertionError, match="read again"):
        features(Poisoned(folder, "--real", **settings), cache=FeatureCache(place))


@pytest.mark.parametrize(
    "other",
    [
        tiny_extractor(sha256="cd" * 32),
        tiny_extractor(name="efficientnet_lite0"),
        Extractor("inception", TinyNet(), "2048", "logits_unbiased", "another size", "ab" * 32),
        Extractor("inception", TinyNet(["2048"]), "2048", "logits_unbiased", "4x4", "ab" * 32),
    ],
    ids=["weights", "name", "resize", "layers"],
)
def test_the_extractor_belongs_to_the_key(other, tmp_path, folder):
    _, place = filled(tmp_path, folder)
    with pytest.raises(AssertionError, match="read again"):
        features(Poisoned(folder, "--real"), other, cache=FeatureCache(place))


@pytest.mark.parametrize("package", ["torch.__version__", "PIL.__version__", "importlib.metadata.version"])
def test_versions_belong_to_the_key(package, tmp_path, folder, monkeypatch):
    _, place = filled(tmp_path, folder)
    monkeypatch.setattr(f"util.metrics.features.{package}", "99" if "__" in package else lambda name: "99")
    with pytest.raises(AssertionError, match="read again"):
        features(Poisoned(folder, "--real"), cache=FeatureCache(place))


def test_damaged_file_is_as_good_as_none(tmp_path, folder):
    known, place = filled(tmp_path, folder)
    (file,) = place.iterdir()
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    damages = [b"", b"text", whole[: len(whole) // 2], whole[:-5]]
    for _ in range(150):
        changed = bytearray(whole)
        for place_of_byte in rng.integers(0, len(whole), 3):
            changed[place_of_byte] ^= int(rng.integers(1, 256))
        damages.append(bytes(changed))
    for damage in damages:
        file.write_bytes(damage)
        assert equal(features(FolderImages(folder, "--real"), cache=FeatureCache(place)), known)
        assert equal(features(Poisoned(folder, "--real"), cache=FeatureCache(place)), known), "it is repaired"


@pytest.mark.parametrize("content", [{"2048": (5, 48)}, {"2048": (4, 48), "logits_unbiased": (4, 10)}, {}])
def test_file_of_something_else_is_as_good_as_none(content, tmp_path, folder):
    known, place = filled(tmp_path, folder)
    (file,) = place.iterdir()
    np.savez(file, **{layer: np.zeros(shape, np.float32) for layer, shape in content.items()})
    assert equal(features(FolderImages(folder, "--real"), cache=FeatureCache(place)), known)


def test_folder_that_cannot_be_written_is_told_once(tmp_path, folder, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file" / "cache")
    found = features(FolderImages(folder, "--real"), cache=cache)
    features(FolderImages(folder, "--real", resize=8), cache=cache)
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1 and str(tmp_path / "file" / "cache") in told[0] and "Not a directory" in told[0]
    assert equal(found, features(FolderImages(folder, "--real")))
    assert (tmp_path / "file").read_text() == "in the way"


def test_nothing_is_left_beside_the_file(tmp_path, folder):
    _, place = filled(tmp_path, folder)
    assert [file.suffix for file in place.iterdir()] == [".npz"]


def test_default_place(monkeypatch, tmp_path):
    assert default_cache() == Path(os.environ["XDG_CACHE_HOME"]) / "image-translation-gans" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "image-translation-gans" / "features"


def test_progress_is_told(folder, caplog):
    caplog.set_level("INFO")
    cache = FeatureCache(None)
    for _ in range(2):
        features(FolderImages(folder, "--real"), cache=cache, progress=True)
    assert "5 images in" in caplog.messages[0] and "images/s" in caplog.messages[0]
    assert "from the cache" in caplog.messages[1] and str(folder) in caplog.messages[1]


def test_arithmetic_of_a_training_does_not_change_features(folder):
    """TF32 and the choice of kernels are switched for the time of the extraction only."""
    seen = []

    class Asking(TinyNet):
        def forward(self, x):
            seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark))
            return super().forward(x)

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    try:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        features(FolderImages(folder, "--real"), Extractor("inception", Asking(), "2048", "logits_unbiased", "", ""))
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == ("high", True)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.benchmark = before[1]
    assert seen == [("highest", False)]
