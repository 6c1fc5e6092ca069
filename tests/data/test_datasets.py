"""The layouts: what is read, how pairs are kept together, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import DATASETS
from data.base_dataset import BaseDataset
from options.base_options import DataOptions

Draw = Callable[..., None]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Writes a random picture below tmp_path; ``array`` gives the pixels instead."""

    def save(name: str, width: int = 40, height: int = 40, array: Any = None, mode: str = "RGB") -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(name.encode())
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels if array is None else array).convert(mode).save(file)

    return save


def make(mode: str, root: Path, *, seed: int = 0, **options: Any) -> BaseDataset:
    options = {"input_nc": 3, "output_nc": 3, **DATASETS.get(mode).option_defaults, **options}
    channels = {name: options.pop(name) for name in ("input_nc", "output_nc")}
    options = {"load_size": 36, "crop_size": 32, **options}
    built = DataOptions(dataroot=str(root), **options)
    return DATASETS.get(mode)(built, **channels, seed=seed)


def coded(width: int, height: int) -> np.ndarray:
    """Pixels that tell their own place: red = x, green = y."""
    ys, xs = np.mgrid[0:height, 0:width]
    return np.stack([xs, ys, np.zeros_like(xs)], axis=2).astype(np.uint8)


def test_pairs_get_the_same_crop_and_flip(tmp_path: Path, draw: Draw) -> None:
    half = coded(100, 100)
    for number in range(6):
        draw(f"train/{number}.png", array=np.hstack([half, half + np.uint8(100)]))
    dataset = make("aligned", tmp_path, preprocess="crop", crop_size=32)
    corners = set()
    for index in range(6):
        sample = dataset[(3, index)]
        a, b = (((sample[side] + 1) / 2 * 255).round() for side in ("A", "B"))
        assert torch.equal(b, a + 100)  # 100 + 99 < 256: no value wraps around
        corners.add((a[0, 0, 0].item(), a[1, 0, 0].item(), (a[0, 0, 1] > a[0, 0, 0]).item()))
    assert len(corners) == 6 and {flip for _, _, flip in corners} == {True, False}


def test_side_by_side_and_folders_give_the_same(tmp_path: Path, draw: Draw) -> None:
    left, right = coded(40, 40), coded(40, 40)[::-1]
    draw("one/train/p.png", array=np.hstack([left, right]))
    draw("two/train/A/p.png", array=left)
    draw("two/train/B/p.bmp", array=right)
    one, two = make("aligned", tmp_path / "one"), make("aligned", tmp_path / "two")
    for side in "AB":
        assert torch.equal(one[0][side], two[0][side])
    assert two[0]["B_paths"].endswith("B/p.bmp")
    assert str(two.root).endswith("train/A")
    assert str(make("aligned", tmp_path / "two", direction="BtoA").root).endswith("train/B")


@pytest.mark.parametrize("mode", ["aligned", "unaligned", "single", "colorization"])
def test_samples_depend_on_seed_epoch_and_index_only(mode: str, tmp_path: Path, draw: Draw) -> None:
    for number in range(5):
        draw(f"train/{number}.png", 80, 40)
        draw(f"trainA/{number}.png")
        draw(f"trainB/{number}.png", 50, 40)
    first, second = make(mode, tmp_path, seed=4), make(mode, tmp_path, seed=4)
    keys = [(epoch, index) for epoch in (1, 2) for index in range(len(first))]
    forward = {key: first[key] for key in keys}
    backward = {key: second[key] for key in reversed(keys)}
    for key in keys:
        assert torch.equal(forward[key]["A"], backward[key]["A"])
        assert forward[key].get("B_paths") == backward[key].get("B_paths")
    assert torch.equal(first[2]["A"], forward[(1, 2)]["A"])  # a plain index means epoch 1
    other_seed = make(mode, tmp_path, seed=5)
    assert any(not torch.equal(other_seed[key]["A"], forward[key]["A"]) for key in keys)
    assert any(not torch.equal(forward[(1, i)]["A"], forward[(2, i)]["A"]) for i in range(5))


@pytest.mark.parametrize("mode", ["aligned", "unaligned", "single", "colorization"])
@pytest.mark.parametrize("preprocess", ["resize_and_crop", "scale_width", "none"])
def test_cache_gives_identical_samples(mode: str, preprocess: str, tmp_path: Path, draw: Draw) -> None:
    for number in range(4):
        draw(f"train/{number}.png", 80, 40)
        draw(f"trainA/{number}.png")
        draw(f"trainB/{number}.png", 50, 40)
    plain = make(mode, tmp_path, preprocess=preprocess)
    cached = make(mode, tmp_path, preprocess=preprocess, cache="ram")
    cached.fill_cache()
    keys = [(epoch, index) for epoch in (1, 2) for index in range(len(plain))]
    expected = {key: plain[key] for key in keys}
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    for key in keys:
        found = cached[key]
        assert found.keys() == expected[key].keys()
        for name, value in expected[key].items():
            assert torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value


def test_unaligned_takes_a_in_turn_and_b_at_random(tmp_path: Path, draw: Draw) -> None:
    for number in range(3):
        draw(f"trainA/a{number}.png")
    for number in range(7):
        draw(f"trainB/b{number}.png")
    dataset = make("unaligned", tmp_path)
    assert len(dataset) == 7 and dataset.counts() == {"A": 3, "B": 7}
    assert [Path(dataset[i]["A_paths"]).stem for i in range(7)] == ["a0", "a1", "a2", "a0", "a1", "a2", "a0"]
    epochs = [[Path(dataset[(epoch, i)]["B_paths"]).stem for i in range(7)] for epoch in range(1, 9)]
    assert {name for names in epochs for name in names} == {f"b{number}" for number in range(7)}
    assert len({tuple(names) for names in epochs}) > 1
    serial = make("unaligned", tmp_path, serial_batches=True)
    assert [Path(serial[i]["B_paths"]).stem for i in range(7)] == [f"b{i}" for i in range(7)]


def test_single_reads_the_root_or_the_phase(tmp_path: Path, draw: Draw) -> None:
    draw("flat/2.png")
    draw("flat/10.png")
    draw("phased/test/1.png")
    flat = make("single", tmp_path / "flat", phase="test", direction="BtoA", input_nc=1, output_nc=3)
    assert [Path(path).name for i in range(2) for path in flat.unit_paths(i)] == ["2.png", "10.png"]
    assert flat[0]["A"].shape == (1, 32, 32)  # the model's input, whatever the direction
    assert set(flat[0]) == {"A", "A_paths", "A_format", "index"}
    assert str(make("single", tmp_path / "phased", phase="test").root).endswith("phased/test")
    draw("unpaired/testA/1.png")
    draw("unpaired/testB/1.png")
    with pytest.raises(FileNotFoundError, match=r"--dataroot .*unpaired/testA"):
        make("single", tmp_path / "unpaired", phase="test")


def test_channels_follow_the_direction(tmp_path: Path, draw: Draw) -> None:
    draw("train/1.png", 80, 40)
    forward = make("aligned", tmp_path, input_nc=1, output_nc=3)[0]
    assert (forward["A"].shape[0], forward["B"].shape[0]) == (1, 3)
    backward = make("aligned", tmp_path, input_nc=1, output_nc=3, direction="BtoA")[0]
    assert (backward["A"].shape[0], backward["B"].shape[0]) == (3, 1)  # sides of the files: the loader swaps them


def test_16_bit_files_keep_their_levels(tmp_path: Path, draw: Draw) -> None:
    ramp = np.arange(64 * 32, dtype=np.uint16).reshape(32, 64) * 32
    (tmp_path / "train").mkdir()
    Image.fromarray(ramp).save(tmp_path / "train" / "deep.png")
    sample = make("aligned", tmp_path, input_nc=1, output_nc=1, preprocess="none", no_flip=True)[0]
    assert sample["A_format"] == "uint16"
    levels = (sample["A"] + 1) / 2 * 65535
    torch.testing.assert_close(levels[0], torch.from_numpy(ramp[:, :32].astype(np.float32)), atol=0.01, rtol=0)


def test_summary(tmp_path: Path, draw: Draw) -> None:
    for number in range(3):
        draw(f"train/{number}.png", 80, 40)
    assert make("aligned", tmp_path).summary() == {
        "root": str(tmp_path / "train"),
        "pairs": 3,
        "sizes": {"80x40": 3},
        "channels": [3],
        "depth": ["uint8"],
        "preprocessed": {"32x32": 3},
    }


@pytest.mark.parametrize(
    ("files", "mode", "options", "words"),
    [
        ({"train/1.png": (81, 40)}, "aligned", {}, r"1\.png: a width of 81 pixels .*--dataset_mode single"),
        ({"train/1.png": (40, 60)}, "aligned", {}, r"40x60 pixels look like one picture"),
        ({"train/A/1.png": (40, 40), "train/B/1.png": (40, 42)}, "aligned", {}, r"is 40x40, .* is 40x42"),
        ({"train/A/1.png": (9, 9), "train/B/2.png": (9, 9)}, "aligned", {}, r"1 of 1 files in .*A .*no partner \(1\)"),
        ({"train/A/1.png": (9, 9), "train/A/1.bmp": (9, 9), "train/B/1.png": (9, 9)}, "aligned", {}, "same name"),
        ({"train/A/1.png": (9, 9)}, "aligned", {}, r"no B: .*--model test --dataset_mode single --dataroot"),
        ({"trainA/1.png": (9, 9), "trainB/1.png": (9, 9)}, "aligned", {}, "--dataset_mode unaligned"),
        ({"train/A/1.png": (9, 9), "train/B/1.png": (9, 9)}, "unaligned", {}, "--dataset_mode aligned"),
        ({"train/1.png": (80, 40)}, "aligned", {"phase": "val"}, "--phase val: there is no folder .*the folders train"),
        ({"train/1.txt.pcx": (9, 9)}, "aligned", {}, r"no images \(jpg"),
        ({"train/1.png": (40, 20)}, "aligned", {"preprocess": "crop"}, "too few for --crop_size 32"),
        ({"train/1.png": (80, 40)}, "aligned", {"dataroot": "gone"}, "--dataroot gone: there is no such folder"),
    ],
)
def test_bad_layouts_say_what_to_do(
    files: dict[str, tuple[int, int]], mode: str, options: dict[str, Any], words: str, tmp_path: Path, draw: Draw
) -> None:
    for name, (width, height) in files.items():
        draw(name, width, height)
    root = Path(options.pop("dataroot", tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        make(mode, root, **options)[0]
    assert "\n" not in str(error.value)
