"""Images in a folder a class: labels, layouts, values, the balanced order, and what is refused."""

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import DATASETS
from data.check import quick_check
from data.class_folder_dataset import ClassFolderDataset, ClassFolderOptions
from data.loader import create_loader, loader_of
from data.single_dataset import SingleDataset
from options.base_options import DataOptions
from options.schema import OptionError
from options.test_options import as_in_test


def save(file: Path, value: int = 0, width: int = 8, height: int = 8) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (value, value, value)).save(file)


def fill(root: Path, **counts: int) -> Path:
    """``counts`` images of each class; the classes' values are 10, 20, ..."""
    for number, (name, count) in enumerate(counts.items(), start=1):
        for index in range(count):
            save(root / name / f"{index}.png", 10 * number)
    return root


def classes(root: Path, *, seed: int = 0, **options: Any) -> ClassFolderDataset:
    built = ClassFolderOptions(dataroot=str(root), **{"load_size": 8, "crop_size": 8, **options})
    dataset = DATASETS.get("class_folder")(built, input_nc=3, output_nc=3, seed=seed)
    assert isinstance(dataset, ClassFolderDataset)
    return dataset


def test_a_sample_and_a_batch(tmp_path: Path) -> None:
    fill(tmp_path / "train", cat=2, Dog=1, ant=3)
    dataset = classes(tmp_path)
    assert dataset.class_names == ("Dog", "ant", "cat")  # the plain order of the published program
    assert (dataset.num_classes, dataset.labels) == (3, [0, 1, 1, 1, 2, 2])
    sample = dataset[4]
    assert set(sample) == {"image", "label", "class_name", "path", "index"}
    assert (sample["label"], sample["class_name"], sample["index"]) == (2, "cat", 4)
    assert sample["path"] == str(tmp_path / "train" / "cat" / "0.png")
    torch.testing.assert_close(sample["image"], torch.full((3, 8, 8), 10 / 127.5 - 1))
    batch = next(loader_of(dataset, batch_size=6).batches(1))
    assert batch["label"].dtype == torch.int64 and batch["image"].shape == (6, 3, 8, 8)
    assert [dataset.class_names[label] for label in batch["label"]] == batch["class_name"]
    assert dataset.summary()["images of the smallest class"] == 1 and dataset.root == tmp_path / "train"


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    root = fill(tmp_path / "train", a=1, b=1)
    save(root / "b" / "deep" / "2.png")
    save(root / "beside.png")
    save(root / ".hidden" / "1.png")
    (root / "aa").mkdir()
    dataset = classes(tmp_path)
    assert dataset.class_names == ("a", "b") and len(dataset) == 3
    warnings = "\n".join(quick_check(dataset))
    assert "1 class folder has no images and is left out: aa" in warnings and "beside the class folders" in warnings
    assert SingleDataset(DataOptions(dataroot=str(root)), input_nc=3, output_nc=3).class_names == ()


def test_phases_share_the_labels_of_the_training(tmp_path: Path) -> None:
    fill(tmp_path / "train", a=1, b=1, c=1)
    fill(tmp_path / "test", c=2)
    test = classes(tmp_path, phase="test")
    assert (test.labels, test.num_classes, test.class_names) == ([2, 2], 3, ("a", "b", "c"))
    assert "2 of 3 classes have no images here: a, b" in "\n".join(test.remarks)
    fill(tmp_path / "test", d=1)
    with pytest.raises(ValueError, match=r"train has no class d, which \S+test has: .*--class_map"):
        classes(tmp_path, phase="test")


def test_the_data_root_itself_holds_classes_of_the_training_only(tmp_path: Path) -> None:
    assert classes(fill(tmp_path, a=1, b=1)).root == tmp_path
    with pytest.raises(FileNotFoundError, match=r"--phase test: .* are those of the training: give --phase train"):
        classes(tmp_path, phase="test")
    (tmp_path / "val").mkdir()  # now a and b may be phases as well
    with pytest.raises(FileNotFoundError, match=r"--phase train: there is no folder \S+train; .* a, b, val"):
        classes(tmp_path)


def test_label_map_names_and_number_of_classes(tmp_path: Path) -> None:
    fill(tmp_path / "train", a=1, b=2, c=1)
    labels, names = tmp_path / "map.txt", tmp_path / "names.txt"
    labels.write_text("c 0\nb 1\na 2\nz 3\n")
    names.write_text("0: 'sea'\n1: 'bee'\n2: 'eh'\n3: 'zed'\n")
    mapped = classes(tmp_path, class_map=str(labels), class_names=str(names))
    assert (mapped.labels, mapped.class_names) == ([0, 1, 1, 2], ("sea", "bee", "eh", "zed"))
    assert mapped[0]["path"].endswith("c/0.png") and mapped[0]["class_name"] == "sea"
    few = classes(tmp_path, class_map=str(labels), class_names=str(names), max_classes=2)
    assert (few.labels, few.num_classes, few.class_names) == ([0, 1, 1], 2, ("sea", "bee"))
    assert classes(tmp_path, max_classes=9).num_classes == 3
    with pytest.raises(ValueError, match=r"--class_names \S+ has 4 names for 3 classes"):
        classes(tmp_path, class_names=str(names))
    labels.write_text("a 0\nb 1\n")
    with pytest.raises(ValueError, match=r"--class_map \S+map\.txt has no class c, which \S+train has: add a row"):
        classes(tmp_path, class_map=str(labels))
    labels.write_text("y 0\na 1\nb 2\nc 3\n")
    with pytest.raises(ValueError, match="--max_classes 1: no images of the first 1 class in"):
        classes(tmp_path, class_map=str(labels), max_classes=1)
    with pytest.raises(FileNotFoundError, match=r"gone\.txt: there is no such file"):
        classes(tmp_path, class_map=str(tmp_path / "gone.txt"))


@pytest.mark.parametrize(("limit", "expected"), [(1, [1, 0, 0]), (4, [2, 1, 1]), (6, [2, 1, 3]), (8, [2, 1, 5])])
def test_few_images_are_taken_from_the_classes_in_turn(limit: int, expected: list[int], tmp_path: Path) -> None:
    fill(tmp_path / "train", a=2, b=1, c=6)
    dataset = classes(tmp_path, max_dataset_size=limit)
    assert [dataset.labels.count(label) for label in range(3)] == expected
    assert dataset.class_names == ("a", "b", "c")


def test_the_centre_is_cut_out_of_the_shorter_side(tmp_path: Path) -> None:
    """24 x 8 pixels, the middle third white: the squash has other colours, the centre has one."""
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16] = 255
    (tmp_path / "train" / "a").mkdir(parents=True)
    Image.fromarray(picture).save(tmp_path / "train" / "a" / "1.png")
    for epoch in range(1, 4):
        assert (classes(tmp_path)[epoch, 0]["image"] == 1).all()
    squashed = classes(tmp_path, preprocess="resize_and_crop", no_flip=True)[0]["image"]
    assert squashed.shape == (3, 8, 8) and squashed[0, 0, 0] == -1


def test_dequantised_values(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a" / "1.png", 255, 40, 40)
    save(tmp_path / "train" / "a" / "2.png", 0, 40, 40)
    dataset = classes(tmp_path, dequantize=True, load_size=40, crop_size=40)
    for index, low in ((0, 127 / 128), (1, -1.0)):
        noise = (dataset[index]["image"] - low) * 128
        assert 0 <= noise.min() < 0.01 and 0.99 < noise.max() <= 1
        assert noise.mean().item() == pytest.approx(0.5, abs=0.02)  # 4800 draws: a deviation of 0.004
    assert torch.equal(dataset[0]["image"], dataset[1, 0]["image"])
    assert not torch.equal(dataset[2, 0]["image"], dataset[1, 0]["image"])
    assert (classes(tmp_path)[0]["image"] == 1).all()
    in_test = as_in_test(dataset.options, "train", 1)
    plain = ClassFolderDataset(in_test, input_nc=3, output_nc=3)  # type: ignore[arg-type]
    assert (plain[0]["image"] == 1).all() and not in_test.class_balanced  # type: ignore[attr-defined]
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "train" / "a" / "3.png")
    with pytest.raises(ValueError, match=r"3\.png: is uint16, but --dequantize is for 8-bit images"):
        classes(tmp_path, dequantize=True)[2]


def test_grey_and_the_cache(tmp_path: Path) -> None:
    fill(tmp_path / "train", a=2)
    options = ClassFolderOptions(dataroot=str(tmp_path), load_size=8, crop_size=8, cache="ram", dequantize=True)
    kept = ClassFolderDataset(options, input_nc=1, output_nc=1)
    kept.fill_cache()
    fresh = ClassFolderDataset(options, input_nc=1, output_nc=1)
    assert kept[1]["image"].shape == (1, 8, 8) and torch.equal(kept[3, 1]["image"], fresh[3, 1]["image"])


def test_balanced_order(tmp_path: Path) -> None:
    fill(tmp_path / "train", few=2, many=11)
    dataset = classes(tmp_path, class_balanced=True)
    settings: dict[str, Any] = {"batch_size": 4, "num_threads": 0, "serial_batches": False, "direction": "AtoB"}
    loader = create_loader(dataset, **settings, seed=3)
    epochs = [loader.order(epoch) for epoch in (1, 2)]
    assert epochs[0] != epochs[1] and epochs[0] == create_loader(dataset, **settings, seed=3).order(1)
    for order in epochs:
        assert len(order) == 13
        shares = Counter(dataset.labels[index] for index in order)
        assert sorted(shares.values()) == [6, 7]
        uses = Counter(order)
        assert {uses[index] for index in range(2)} <= {3, 4}  # 6 or 7 draws of two images
        assert max(uses[index] for index in range(2, 13)) == 1  # none twice before all were there
    ranks = [create_loader(dataset, **settings, seed=3, rank=rank, world_size=2) for rank in range(2)]
    parts = [[batch["index"].tolist() for batch in rank.batches(1)] for rank in ranks]
    assert list(chain(*(a + b for a, b in zip(*parts)))) == [*epochs[0], epochs[0][-1]]  # the last is shared by both
    plain = create_loader(classes(tmp_path), **settings, seed=3)
    assert sorted(plain.order(1)) == list(range(13))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"direction": "BtoA"}, "--direction BtoA: class_folder has no sides"),
        ({"class_balanced": True, "serial_batches": True}, "--class_balanced draws an order"),
        ({"dequantize": True, "value_range": (0.0, 9.0)}, "--dequantize is for the values 0 to 255"),
        ({"load_size": 4}, "--load_size 4 is smaller than --crop_size 8"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        classes(tmp_path, **options)


def test_folders_without_classes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--phase train: .* is empty: .*train/CLASS"):
        classes(tmp_path)
    save(tmp_path / "train" / "1.png")
    with pytest.raises(FileNotFoundError, match=r"no class folders in \S+train; \S+ has 1 file: put the images"):
        classes(tmp_path)
    (tmp_path / "train" / "a").mkdir()
    with pytest.raises(FileNotFoundError, match="no images in the class folders"):
        classes(tmp_path)
    (tmp_path / "train" / "a" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a/1\.jpg: cannot be read as an image"):
        quick_check(classes(tmp_path))
