"""Flips and scaling on the model's device: equal numbers, for every kind of data, and less that travels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data._utils.pin_memory import pin_memory

import train
from data import DATASETS
from data.loader import Loader, create_loader
from data.pixels import Cut, Meaning, PixelBatch, alike
from scripts import make_shards
from tests.conftest import data_of
from tests.runs import arguments, files
from util.images.io import write_image

CPU = torch.device("cpu")
SIZE = 40


def drawn(dtype: Any, shape: tuple[int, ...], high: float) -> NDArray[Any]:
    return (np.random.default_rng(7).random(shape) * high).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "high", "value_range"),
    [
        (np.uint8, 255, ()),
        (np.uint8, 255, (0.0, 300.0)),
        (np.uint16, 65535, ()),
        (np.uint16, 4095, (0.0, 4095.0)),
        (np.int16, 3000, (-1024.0, 3071.0)),
        (np.float32, 500, (-10.0, 500.0)),
    ],
)
def test_the_numbers_are_those_of_the_formula(dtype: Any, high: float, value_range: tuple[float, ...]) -> None:
    whole = drawn(dtype, (3, 12, 14, 2), high)
    flips = (True, False, True)
    cuts = [Cut(image[2:10, 1:9], flip, Meaning(value_range)) for image, flip in zip(whole, flips)]
    found = PixelBatch.of(cuts).tensor()
    low, top = value_range or (0, {np.uint8: 255, np.uint16: 65535}[dtype])
    for number, flip in enumerate(flips):
        part = whole[number, 2:10, 1:9].astype(np.float32)
        part = part[:, ::-1] if flip else part
        unit = (part - np.float32(low)) / np.float32(top - low)
        expected = ((unit - np.float32(0.5)) / np.float32(0.5)).transpose(2, 0, 1)
        assert np.array_equal(found[number].numpy(), expected) and torch.equal(cuts[number].tensor(), found[number])
    assert found.is_contiguous() and found.dtype == torch.float32


def test_labels_and_masks() -> None:
    labels = np.array([[[0], [2]], [[1], [2]]], np.uint8)
    found = Cut(labels, True, Meaning(labels=3)).tensor()
    assert found.tolist() == [[[-1, 1], [-1, -1]], [[-1, -1], [-1, 1]], [[1, -1], [1, -1]]]
    mask = Cut(labels == 2, False, Meaning(missing=True)).tensor()
    assert mask.tolist() == [[[1, 0], [1, 0]]] and mask.dtype == torch.float32


def test_pictures_that_are_not_alike_are_told_apart() -> None:
    one, other = Cut(np.zeros((4, 4, 3), np.uint8)), Cut(np.zeros((4, 4, 3), np.uint16))
    assert alike([one, one]) and not alike([one, other])
    assert not alike([one, Cut(one.array, meaning=Meaning((0.0, 9.0)))])


def test_no_view_of_a_cache_is_written_to() -> None:
    kept = drawn(np.float32, (4, 4, 1), 1)
    kept.setflags(write=False)
    Cut(kept).tensor().mul_(0)
    assert kept.max() > 0


@pytest.mark.parametrize(
    ("dtype", "meaning"),
    [
        (torch.uint8, Meaning()),
        (torch.uint16, Meaning((0.0, 4000.0))),
        (torch.int16, Meaning((-9.0, 4000.0))),
        (torch.float32, Meaning()),
        (torch.uint8, Meaning(labels=5)),
        (torch.bool, Meaning(missing=True)),
    ],
)
def test_everything_happens_on_the_device(
    dtype: torch.dtype, meaning: Meaning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a pretended GPU, which refuses to compute with tensors of the CPU."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    with FakeTensorMode():
        made = PixelBatch(torch.zeros(3, 8, 6, 1, dtype=dtype), (True, False, True), meaning)
        tensor = made.to(torch.device("cuda")).tensor()
        assert tensor.device.type == "cuda" and tensor.dtype == torch.float32 and tensor.is_contiguous()
        assert tensor.shape == (3, meaning.labels or 1, 8, 6)
        with pytest.raises(Exception, match="device"):
            made.to(torch.device("cuda")).tensor() + torch.zeros(3, 1, 8, 6)


def test_torchs_loader_locks_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self + 1)
    made = PixelBatch(torch.zeros(1, 2, 2, 1, dtype=torch.uint8), (False,), Meaning())
    locked = pin_memory({"A": made, "A_paths": ["a.png"]})
    assert locked["A"].images.tolist() == [[[[1], [1]], [[1], [1]]]] and locked["A"].flips == (False,)


def save(file: Path, values: NDArray[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if values.dtype == np.uint8:
        Image.fromarray(values).save(file)
    else:
        write_image(file, values.transpose(2, 0, 1) * (2 / 65535) - 1, "uint16")


def aligned(root: Path, dtype: Any, high: float, channels: int = 3) -> None:
    for number in range(5):
        for side in "AB":
            values = np.random.default_rng([number, side == "A"]).random((SIZE, SIZE, channels)) * high
            save(root / "train" / side / f"{number}.png", values.astype(dtype))


def eight_bit(root: Path) -> tuple[str, dict[str, Any]]:
    aligned(root, np.uint8, 255)
    return "aligned", {}


def sixteen_bit(root: Path) -> tuple[str, dict[str, Any]]:
    aligned(root, np.uint16, 65535, 1)
    return "aligned", {"value_range_A": (0.0, 50000.0), "clip_range": True}


def real_numbers_with_gaps(root: Path) -> tuple[str, dict[str, Any]]:
    for number in range(5):
        for side in "AB":
            values = np.random.default_rng(number).random((SIZE, SIZE)).astype(np.float32)
            values[7 * number :, :20] = np.nan if side == "B" else 0.25
            (root / "train" / side).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / "train" / side / f"{number}.tif", values, photometric="minisblack")
    return "aligned", {"nodata_B": "nan", "value_range": (0.0, 2.0)}


def label_maps(root: Path) -> tuple[str, dict[str, Any]]:
    aligned(root, np.uint8, 255)
    for number in range(5):
        Image.fromarray(drawn(np.uint8, (SIZE, SIZE), 3)).save(root / "train" / "A" / f"{number}.png")
    return "aligned", {"label_nc_A": 3}


def mixed_depths(root: Path) -> tuple[str, dict[str, Any]]:
    aligned(root, np.uint8, 255, 3)
    save(root / "train" / "A" / "3.png", drawn(np.uint16, (SIZE, SIZE, 3), 65535))
    return "aligned", {}


def unaligned(root: Path) -> tuple[str, dict[str, Any]]:
    for number in range(5):
        for side in "AB"[: 1 + (number < 3)]:
            save(root / f"train{side}" / f"{number}.png", drawn(np.uint8, (SIZE + number, SIZE, 3), 255 - number))
    return "unaligned", {}


def single(root: Path) -> tuple[str, dict[str, Any]]:
    unaligned(root)
    return "single", {"phase": "trainA", "preprocess": "crop"}


def table(root: Path) -> tuple[str, dict[str, Any]]:
    aligned(root, np.uint8, 255)
    rows = [f"train/A/{number}.png,train/B/{number}.png,train" for number in range(5)]
    (root / "pairs.csv").write_text("\n".join(["A,B,phase", *rows]), encoding="utf-8")
    return "table", {}


def shards(root: Path) -> tuple[str, dict[str, Any]]:
    aligned(root / "files", np.uint8, 255)
    assert make_shards.main([str(root / "files"), "--out", str(root / "s"), "--shard_size", "2"]) == 0
    return "shards", {"dataroot": str(root / "s")}


def classes(root: Path) -> tuple[str, dict[str, Any]]:
    for number in range(5):
        save(root / "train" / "xy"[number % 2] / f"{number}.png", drawn(np.uint8, (SIZE, SIZE, 3), 255 - number))
    return "class_folder", {}


KINDS = {
    sixteen_bit: dict.fromkeys("AB", torch.uint16),
    real_numbers_with_gaps: {**dict.fromkeys("AB", torch.float32), "B_mask": torch.bool},
    single: {"A": torch.uint8},
    classes: {"image": torch.uint8},
}
"""What travels to the device, where that is not uint8 of both sides."""

LAYOUTS = (eight_bit, sixteen_bit, real_numbers_with_gaps, label_maps, unaligned, single, table, shards, classes)


def loader_of(root: Path, mode: str, options: dict[str, Any], **settings: Any) -> Loader:
    kind = DATASETS.get(mode)
    sizes = {"load_size": 36, "crop_size": 32, "dataroot": str(root)}
    built = kind.Options(**{**sizes, **options, "cache": settings.pop("cache", "none"), "cache_dir": str(root / "c")})
    channels = {"sixteen_bit": (1, 1), "real_numbers_with_gaps": (1, 1)}.get(settings.pop("layout"), (3, 3))
    dataset = kind(built, input_nc=channels[0], output_nc=channels[1], seed=3)
    how = {"batch_size": 3, "num_threads": 0, "serial_batches": False, "direction": "AtoB", "seed": 1, **settings}
    return create_loader(dataset, **how)


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second) and first.dtype == second.dtype and first.stride() == second.stride()
    return bool(first == second) or first != first or (isinstance(first, list) and str(first) == str(second))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cache", ["none", "disk"])
def test_batches_are_equal(layout: Any, cache: str, tmp_path: Path) -> None:
    mode, options = layout(tmp_path)
    made = [
        loader_of(tmp_path, mode, options, layout=layout.__name__, cache=cache, device=device) for device in (None, CPU)
    ]
    carried = made[1]._loader.dataset.__getitems__([(1, 0), (1, 1)])  # type: ignore[attr-defined]
    kinds = {key: each.images.dtype for key, each in carried.items() if isinstance(each, PixelBatch)}
    assert kinds == KINDS.get(layout, dict.fromkeys("AB", torch.uint8))
    for epoch in (1, 2):
        whole, late = (list(each.batches(epoch)) for each in made)
        assert len(whole) == len(late) == 2
        for a, b in zip(whole, late, strict=True):
            assert a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a), (layout, epoch)
            assert not any(isinstance(each, PixelBatch) for each in b.values())


def test_workers_and_direction_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.loader._usable_cpus", lambda: 2)
    mode, options = real_numbers_with_gaps(tmp_path)
    settings = {"layout": "real_numbers_with_gaps", "direction": "BtoA"}
    plain = loader_of(tmp_path, mode, options, **settings)
    for cache, device, workers in (("none", CPU, 2), ("disk", None, 2), ("disk", CPU, 0), ("ram", CPU, 0)):
        parallel = loader_of(tmp_path, mode, options, **settings, num_threads=2, cache=cache, device=device)
        try:
            assert parallel.num_workers == workers
            for a, b in zip(plain.batches(3, done=1), parallel.batches(3, done=1), strict=True):
                assert all(equal(a[key], b[key]) for key in a) and b["A_mask"].min() == 0
        finally:
            parallel.close()


def test_files_of_two_depths_in_a_batch_are_made_by_the_workers(tmp_path: Path) -> None:
    mode, options = mixed_depths(tmp_path)
    made = [loader_of(tmp_path, mode, options, layout="", batch_size=5, device=device) for device in (None, CPU)]
    (whole,), (late,) = (list(each.batches(1)) for each in made)
    assert torch.equal(whole["A"], late["A"]) and torch.equal(whole["B"], late["B"])


def test_images_of_different_sizes_are_named(tmp_path: Path) -> None:
    mode, options = unaligned(tmp_path)
    loader = loader_of(tmp_path, mode, {**options, "preprocess": "none"}, layout="", device=CPU)
    with pytest.raises(ValueError, match=r"images of one batch differ in size: .*\.png is 40x\d+, .*\.png is 40x\d+"):
        list(loader.batches(1))


def test_data_with_arithmetic_of_their_own_are_warned_of(
    workdir: Path, dataroot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    argv = arguments(dataroot, "--transform_on_device", "--dry_run", model="colorization")
    with caplog.at_level(logging.WARNING):
        assert train.main(argv) == 0
    assert "warning: --transform_on_device: the workers make the tensors of these images" in caplog.text


@pytest.mark.parametrize(("model", "flags"), [("pix2pix", ["--accum_grad", "2"]), ("sagan", ["--dequantize", "False"])])
def test_a_run_is_equal(model: str, flags: list[str], workdir: Path, dataroot: Path) -> None:
    assert data_of(model, dataroot).is_dir()
    for name, extra in (("workers", []), ("device", ["--transform_on_device"])):
        short = ["--n_epochs_decay", "0", "--no_html", *flags, *extra]
        assert train.main(arguments(dataroot, *short, model=model, name=name, epochs="1")) == 0
    found = [files(workdir / "checkpoints" / name) for name in ("workers", "device")]
    assert any("_net_" in name for name in found[0])
    for name, data in found[0].items():
        assert "_net_" not in name or data == found[1][name], name
