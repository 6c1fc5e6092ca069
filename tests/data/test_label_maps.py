"""Label maps: colours that survive scaling, and indices that become channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from data import DATASETS
from data.base_dataset import BaseDataset
from data.check import quick_check
from options.base_options import DataOptions
from options.schema import OptionError

COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 200, 40], [10, 20, 250], [128, 64, 128]], np.uint8)
SIZE = 128


def indices(count: int = 5, size: int = SIZE) -> NDArray[np.uint8]:
    """Patches of 8 pixels, every label among them."""
    coarse = np.random.default_rng(3).integers(0, count, (size // 8, size // 8))
    coarse.flat[:count] = np.arange(count)
    return np.kron(coarse, np.ones((8, 8), int)).astype(np.uint8)


def palette_picture(file: Path, ids: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    image.putpalette(COLOURS.tobytes())
    image.save(file)


def photo(file: Path, size: int = SIZE, mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(5).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file)


def single(root: Path, channels: int = 3, **options: Any) -> BaseDataset:
    built = DataOptions(dataroot=str(root), **{"preprocess": "none", "no_flip": True, **options})
    return DATASETS.get("single")(built, input_nc=channels, output_nc=3)


@pytest.mark.parametrize("size", [143, 286])
def test_five_colours_stay_five(size, tmp_path):
    palette_picture(tmp_path / "0.png", indices())
    options: dict[str, Any] = {"preprocess": "scale_width", "load_size": size}
    kept = single(tmp_path, resample_A="nearest", **options)[0]["A"]
    assert kept.shape == (3, size, size)
    found = {tuple(pixel) for pixel in torch.round((kept + 1) * 127.5).int().flatten(1).T.tolist()}
    assert found == {tuple(colour) for colour in COLOURS.tolist()}
    mixed = single(tmp_path, **options)[0]["A"]
    assert len(torch.unique(mixed.flatten(1), dim=1).T) > 5  # the published scaling


def test_the_sides_are_scaled_each_in_its_way(tmp_path):
    palette_picture(tmp_path / "train" / "A" / "0.png", indices())
    palette_picture(tmp_path / "train" / "B" / "0.png", indices())
    built = DataOptions(dataroot=str(tmp_path), load_size=143, crop_size=143, resample_B="nearest")
    sample = DATASETS.get("aligned")(built, input_nc=3, output_nc=3)[0]
    number = {side: len(torch.unique(sample[side].flatten(1), dim=1).T) for side in "AB"}
    assert number["A"] > 5 and number["B"] == 5


@pytest.mark.parametrize("kind", ["palette", "grey"])
def test_labels_become_channels(kind, tmp_path):
    ids = indices()
    if kind == "palette":
        palette_picture(tmp_path / "0.png", ids)
    else:
        Image.fromarray(ids).save(tmp_path / "0.png")
    tensor = single(tmp_path, 5, label_nc_A=5)[0]["A"]
    assert tensor.shape == (5, SIZE, SIZE) and tensor.dtype == torch.float32
    assert torch.equal(tensor, torch.from_numpy(np.stack([np.where(ids == label, 1.0, -1.0) for label in range(5)])))


def test_labels_are_never_mixed_by_scaling(tmp_path):
    palette_picture(tmp_path / "0.png", indices())
    tensor = single(tmp_path, 5, label_nc_A=5, preprocess="scale_width", load_size=143, cache="ram")[0]["A"]
    assert tensor.shape == (5, 143, 143)
    assert torch.equal(tensor.sum(0), torch.full((143, 143), 1.0 - 4))  # one channel of five is 1
    assert sorted(tensor.argmax(0).unique().tolist()) == [0, 1, 2, 3, 4]


def test_the_cache_keeps_them_labels(tmp_path):
    palette_picture(tmp_path / "0.png", indices())
    plain, kept = single(tmp_path, 5, label_nc_A=5), single(tmp_path, 5, label_nc_A=5, cache="ram")
    kept.fill_cache()
    assert torch.equal(plain[0]["A"], kept[0]["A"])


def test_labels_on_one_side_of_a_file(tmp_path):
    """A palette file: its left half is read as indices, its right half as colours."""
    ids = indices()
    palette_picture(tmp_path / "train" / "0.png", np.concatenate([ids, ids], axis=1))
    built = DataOptions(dataroot=str(tmp_path), preprocess="none", no_flip=True, label_nc_A=5)
    sample = DATASETS.get("aligned")(built, input_nc=5, output_nc=3)[0]
    assert torch.equal(sample["A"].argmax(0), torch.from_numpy(ids.astype(np.int64)))
    assert torch.equal(
        torch.round((sample["B"] + 1) * 127.5), torch.from_numpy(COLOURS[ids].transpose(2, 0, 1)).float()
    )


def test_labels_of_the_output_with_exchanged_sides(tmp_path):
    palette_picture(tmp_path / "train" / "A" / "0.png", indices())
    photo(tmp_path / "train" / "B" / "0.png")
    built = DataOptions(dataroot=str(tmp_path), preprocess="none", label_nc_A=5, direction="BtoA")
    sample = DATASETS.get("aligned")(built, input_nc=3, output_nc=5)[0]
    assert sample["A"].shape[0] == 5 and sample["B"].shape[0] == 3


def test_a_label_beyond_them_is_named_at_the_start(tmp_path):
    for name, count in (("0", 4), ("1", 5), ("2", 4)):
        palette_picture(tmp_path / f"{name}.png", indices(count))
    with pytest.raises(ValueError, match=r"1\.png: has label 4, but --label_nc_A 4 allows 0 to 3: give --label_nc_A 5"):
        quick_check(single(tmp_path, 4, label_nc_A=4))
    assert quick_check(single(tmp_path, 5, label_nc_A=5)) == []


def test_what_is_no_index_map_or_has_other_channels(tmp_path):
    photo(tmp_path / "0.png")
    with pytest.raises(ValueError, match=r"0\.png: has 3 channels of uint8, but --label_nc_A 5 reads index maps"):
        single(tmp_path, 5, label_nc_A=5)[0]
    with pytest.raises(ValueError, match=r"--label_nc_A 5 makes 5 channels, but --input_nc is 3: give --input_nc 5"):
        single(tmp_path, 3, label_nc_A=5)[0]


@pytest.mark.parametrize("flags", [{"nodata_A": "0"}, {"value_range_A": (0.0, 4.0)}])
def test_labels_have_no_range_and_no_gaps(flags):
    with pytest.raises(OptionError, match="--label_nc_A 5: labels have no"):
        DataOptions(label_nc_A=5, **flags)
