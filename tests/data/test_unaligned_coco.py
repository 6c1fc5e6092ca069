"""Images with boxes: what the annotation files give, what they may not hold, and how boxes become batches."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import DATASETS
from data.base_dataset import BaseDataset
from data.check import quick_check
from data.loader import create_loader

SIZE = (48, 40)
BOXES = {"A": {1: [[8, 10, 12, 6]], 2: [], 10: [[0, 0, 6, 8], [30, 20, 10, 10]]}, "B": {1: [[20, 8, 9, 12]], 2: []}}
"""x, y, width, height by image id; the boxes are drawn white on black."""


def write(root: Path, side: str, *, folder: str = "", phase: str = "train", **changes: Any) -> None:
    """Draw the images of a side and write its annotation file, with parts of it replaced."""
    boxes = BOXES[side]
    where = root / (folder or f"{phase}{side}")
    where.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"categories": [{"id": 1, "name": "car"}, {"id": 7, "name": "lamp"}]}
    content["images"] = [
        {"id": key, "file_name": f"{side}{key}.png", "width": SIZE[0], "height": SIZE[1]} for key in reversed(boxes)
    ]
    content["annotations"] = [
        {"id": 10 * key + n, "image_id": key, "category_id": 1, "bbox": box}
        for key, found in boxes.items()
        for n, box in enumerate(found)
    ]
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 7, "bbox": [1, 1, 2, 2]})
    for key, found in boxes.items():
        pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        for x, y, w, h in found:
            pixels[y : y + h, x : x + w] = 255
        Image.fromarray(pixels).save(where / f"{side}{key}.png")
    (root / f"{phase}{side}.json").write_text(json.dumps({**content, **changes}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "A")
    write(tmp_path, "B")
    return tmp_path


def make(root: Path, **options: Any) -> BaseDataset:
    kind = DATASETS.get("unaligned_coco")
    built = kind.Options(dataroot=str(root), **{"load_size": 36, "crop_size": 32, **options})
    return kind(built, input_nc=3, output_nc=3, seed=3)


def white(tensor: torch.Tensor) -> list[float]:
    """The box of what is white in a tensor [C, H, W]."""
    ys, xs = np.nonzero((tensor[0] > 0).numpy())
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_images_by_rising_id_and_their_boxes(root: Path) -> None:
    dataset = make(root, preprocess="none", no_flip=True)
    assert [Path(dataset[i]["A_paths"]).name for i in range(3)] == ["A1.png", "A2.png", "A10.png"]
    assert [dataset[i]["A_boxes"].tolist() for i in range(3)] == [
        [[8, 10, 20, 16]],
        [],
        [[0, 0, 6, 8], [30, 20, 40, 30]],
    ]
    assert dataset[1]["A_boxes"].shape == (0, 4) and dataset[1]["A_boxes"].dtype == torch.float32
    sides = {"A": 3, "B": 2, "A boxes": 3, "A without boxes": 1, "B boxes": 1, "B without boxes": 1}
    assert dataset.counts() == sides
    assert dataset.root == root / "trainA" and make(root, direction="BtoA").root == root / "trainB"
    lamps = make(root, preprocess="none", no_flip=True, category_id=7)
    assert lamps[0]["A_boxes"].tolist() == [[1, 1, 3, 3]] and len(lamps[2]["A_boxes"]) == 0
    assert make(root, max_dataset_size=1).counts() == {
        **dict.fromkeys(sides, 1),
        "A without boxes": 0,
        "B without boxes": 0,
    }


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "scale_width_and_crop", "scale_height", "none"])
def test_boxes_lie_where_the_objects_are(root: Path, preprocess: str) -> None:
    options = {"preprocess": preprocess, "load_size": 96, "crop_size": 32}
    dataset = make(root, **options)
    for epoch in range(1, 9):
        sample = dataset[(epoch, 0)]
        assert sample["A"].shape[0] == 3 and len(sample["A_boxes"]) == 1
        assert np.abs(np.subtract(sample["A_boxes"][0].tolist(), white(sample["A"]))).max() <= 1  # bicubic scaling


@pytest.mark.parametrize("imagedir", ["images", "."])
def test_all_images_in_one_folder(tmp_path: Path, imagedir: str) -> None:
    write(tmp_path, "A", folder=imagedir)
    write(tmp_path, "B", folder=imagedir)
    dataset = make(tmp_path, coco_imagedir=imagedir, preprocess="none")
    assert Path(dataset[0]["A_paths"]) == tmp_path / imagedir / "A1.png" and len(dataset) == 3


def test_samples_depend_on_seed_epoch_and_index_only_with_a_cache_too(root: Path) -> None:
    plain, cached = make(root), make(root, cache="ram")
    cached.fill_cache()
    keys = [(epoch, index) for epoch in (1, 2) for index in range(3)]
    expected = {key: plain[key] for key in keys}
    for file in root.rglob("*.png"):
        file.unlink()
    for key in reversed(keys):
        found = cached[key]
        assert found.keys() == expected[key].keys()
        for name, value in expected[key].items():
            assert torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value
    assert any(not torch.equal(expected[(1, i)]["A_boxes"], expected[(2, i)]["A_boxes"]) for i in range(3))


def batches(dataset: BaseDataset, **settings: Any) -> list[dict[str, Any]]:
    defaults: dict[str, Any] = {"batch_size": 2, "num_threads": 0, "serial_batches": True, "seed": 1}
    loader = create_loader(dataset, **{**defaults, "direction": dataset.options.direction, **settings})
    found = list(loader.batches(1))
    loader.close()
    return found


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second))


def test_a_batch_has_a_list_of_boxes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.loader._usable_cpus", lambda: 2)
    dataset = make(root)
    whole = batches(dataset)
    assert [[boxes.shape[1] for boxes in batch["A_boxes"]] for batch in whole] == [[4, 4], [4]]
    assert same(whole[0]["A_boxes"], [dataset[0]["A_boxes"], dataset[1]["A_boxes"]])
    backward = batches(make(root, direction="BtoA"))
    assert same(backward[0]["B_boxes"], whole[0]["A_boxes"]) and same(backward[0]["A_boxes"], whole[0]["B_boxes"])
    parts = [batches(dataset, rank=rank, world_size=2, num_threads=rank) for rank in range(2)]  # one with a worker
    assert same([*parts[0][0]["A_boxes"], *parts[1][0]["A_boxes"]], whole[0]["A_boxes"])
    assert [part[0]["A_paths"] for part in parts] == [[path] for path in whole[0]["A_paths"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": []}, r"trainA\.json: lists no images"),
        ({"images": 3}, r"trainA\.json: is no COCO annotation file"),
        ({"images": [{"id": 1}]}, r"image id 1 lacks id or file_name"),
        ({"images": [{"id": 1, "file_name": "A1.png"}] * 2}, r"two images have the id 1"),
        ({"images": [{"id": 1, "file_name": "../A1.png"}]}, r"\.\./A1\.png leads out of the folder"),
        ({"images": [{"id": 1, "file_name": "gone.png"}]}, r"1 of 1 images are not in .*gone\.png.*--coco_imagedir"),
        ({"images": [{"id": 1, "file_name": "A1.png", "width": 0, "height": 4}]}, r"A1\.png is 0x4 pixels"),
        ({"categories": [{"id": 3, "name": "bus"}]}, r"--category_id 1: .*no such category: give one of 3 bus"),
        ({"annotations": [{"id": 5, "image_id": 1}]}, r"annotation id 5 lacks image_id or category_id"),
        ({"annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]}, r"annotation id 5: bbox is"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, "4"]}]}, r"number 1: bbox is"),
    ],
)
def test_broken_annotations_are_one_line(root: Path, changes: dict[str, Any], words: str) -> None:
    write(root, "A", **changes)
    with pytest.raises(ValueError, match=words) as error:
        make(root)
    assert "\n" not in str(error.value)


def test_files_that_are_missing_or_no_json(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no annotation file .*valA\.json.*--dataset_mode unaligned$"):
        make(root, phase="val")
    (root / "trainB.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"trainB\.json: is no JSON \(.*line 1"):
        make(root)


def test_another_size_than_the_labelled_one_is_refused(root: Path) -> None:
    Image.new("RGB", (24, 20)).save(root / "trainA" / "A1.png")
    Image.new("RGB", (24, 20)).save(root / "trainA" / "A2.png")  # has no boxes: its size does not matter
    dataset = make(root)
    assert len(dataset[1]["A_boxes"]) == 0
    with pytest.raises(ValueError, match=r"A1\.png: 24x20 pixels, but trainA\.json has boxes for 48x40"):
        dataset[0]


def test_sizes_may_be_left_out(root: Path) -> None:
    expected = make(root)[2]["A_boxes"]
    write(root, "A", images=[{"id": key, "file_name": f"A{key}.png"} for key in BOXES["A"]])
    assert torch.equal(make(root)[2]["A_boxes"], expected)


def test_boxes_outside_and_of_no_image_are_told(root: Path) -> None:
    boxes: dict[int, list[list[float]]] = {
        1: [[40, 30, 20, 20], [60, 0, 5, 5], [3, 3, 0, 4]],
        2: [[-0.5, 0, 9, 9]],
        77: [[0, 0, 1, 1]],
    }
    annotations = [{"image_id": key, "category_id": 1, "bbox": box} for key, found in boxes.items() for box in found]
    write(root, "A", annotations=annotations)
    dataset = make(root, preprocess="none", no_flip=True)
    assert dataset[0]["A_boxes"].tolist() == [[40, 30, 48, 40]] and dataset[1]["A_boxes"].tolist() == [[0, 0, 8, 9]]
    told = quick_check(dataset)
    for words in (
        "ignored 1 annotation of images that it does not list (image_id 77)",
        "ignored 2 boxes without area inside the image",
        "cut 1 box at the edge of the image",
    ):
        assert [words in line and "trainA.json: " in line for line in told].count(True) == 1
