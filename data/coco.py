"""COCO annotation files: which images, which boxes, and what scaling, crop and flip do to boxes."""

from __future__ import annotations

import json
import math
import os
import random
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.transforms import Placement, placement_of
from options.base_options import DataOptions
from util.images.folder import describe, listed, natural_key, nearest
from util.images.io import read_header
from util.wording import counted

Boxes = NDArray[Any]
Size = tuple[int, int]  # width, height


def scale_boxes(boxes: Boxes, before: Size, after: Size) -> Boxes:
    """The boxes of a picture that is scaled from one size to another, in whole pixels as published.

    Both sides have a factor of their own; a half pixel goes to the even number. Boxes that become empty are dropped.
    """
    factors = np.array([new / old for new, old in zip(after, before)] * 2)
    return clip_boxes(np.rint(boxes * factors), after)


def clip_boxes(boxes: Boxes, size: Size) -> Boxes:
    """The parts of the boxes inside ``(0, 0)`` to ``size``; what has no area there is dropped."""
    cut = np.clip(boxes, 0, np.array([*size, *size]))
    return cut[has_area(cut)]


def has_area(boxes: Boxes) -> NDArray[np.bool_]:
    """Which of the boxes are wider and higher than nothing."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def draw_placement_around(rng: random.Random, size: Size, boxes: Boxes, options: DataOptions) -> Placement:
    """``draw_placement`` for a picture with boxes: the crop holds all of the first box where it can.

    In a direction in which the box is larger than the crop, or without boxes, the corner is anywhere. Three draws: x,
    y, flip; used or not.

    Args:
        rng: of the sample.
        size: of the picture after scaling.
        boxes: after scaling.
        options: ``crop_size`` and ``no_flip`` are used.
    """
    first = boxes[0] if len(boxes) else (0, 0, size[0], size[1])
    x, y = (
        rng.randint(*_crop_bounds(length, options.crop_size, first[axis], first[axis + 2]))
        for axis, length in enumerate(size)
    )
    return placement_of(x, y, rng.random() > 0.5, *size, options)


def _crop_bounds(length: int, crop: int, begin: float, end: float) -> tuple[int, int]:
    """First and last place where a crop can begin that holds all from ``begin`` to ``end``; any place if there is none.

    Args:
        length: of the picture.
        crop: length of the crop.
        begin: where the box begins.
        end: where the box ends.
    """
    last = max(0, length - crop)
    low, high = max(0, int(end) - crop), min(last, int(begin))
    return (low, high) if low <= high else (0, last)


def place_boxes(boxes: Boxes, size: Size, placement: Placement, options: DataOptions) -> Boxes:
    """The boxes in a tensor that ``transforms.finish`` makes with the same placement.

    A box outside the crop is dropped, one at its edge is cut; a flip mirrors at the middle of the tensor.

    Args:
        boxes: after scaling.
        size: of the picture after scaling.
        placement: crop and flip of the sample.
        options: ``preprocess`` and ``crop_size`` are used.
    """
    if "crop" in options.preprocess:
        boxes = boxes - np.array([placement.x, placement.y] * 2)
        size = (options.crop_size, options.crop_size)
    boxes = clip_boxes(boxes, size)
    if placement.flip:
        boxes = np.stack([size[0] - boxes[:, 2], boxes[:, 1], size[0] - boxes[:, 0], boxes[:, 3]], axis=1)
    return boxes


_SLACK = 1.0  # pixels by which rounded boxes reach over the edge without a word


@dataclass
class CocoImages:
    """The images of one annotation file, by rising id, and their boxes of one category.

    Attributes:
        folder: where the images are.
        paths: files.
        sizes: width and height in which the boxes count.
        boxes: float64 ``[k, 4]``, (x0, y0, x1, y1) inside the picture; k may be 0.
        remarks: what was left out or cut, one line each.
    """

    folder: Path
    paths: list[str] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def image_folder(dataroot: Path, name: str, imagedir: str) -> Path:
    """Where the images of ``name`` (``trainA``) are: ``--coco_imagedir`` below the data root, or a folder ``name``."""
    return dataroot / (imagedir or name)


def read_coco(file: Path, folder: Path, *, category_id: int, max_size: float = float("inf")) -> CocoImages:
    """Read an annotation file.

    Args:
        file: with ``images`` (``id``, ``file_name``, ``width``, ``height``), ``annotations`` (``image_id``,
            ``category_id``, ``bbox`` = x, y, width, height) and ``categories`` (``id``, ``name``).
        folder: where ``file_name`` is found.
        category_id: annotations of other categories are passed over.
        max_size: at most this many images.

    Raises:
        FileNotFoundError: there is no such annotation file.
        ValueError: it is no COCO file, names images that are not there, or has no such category.
    """
    content = _load(file)
    _check_category(file, content["categories"], category_id)
    images = _images(file, content["images"])
    used = dict(list(images.items())[: int(min(max_size, len(images)))])
    result = CocoImages(folder, [os.path.join(folder, entry["file_name"]) for entry in used.values()])
    _check_files(file, result)
    result.sizes = [_size(file, entry, path) for entry, path in zip(used.values(), result.paths)]
    found: dict[Any, list[list[float]]] = {key: [] for key in used}
    unlisted = []
    for number, entry in enumerate(content["annotations"]):
        name = f"{file}: annotation {_named(entry, number)}"
        key = entry.get("image_id") if isinstance(entry, dict) else None
        if key is None or "category_id" not in entry:
            raise ValueError(f"{name} lacks image_id or category_id: give it both, or take it out")
        if key not in images:
            unlisted.append(str(key))
        elif key in used and entry["category_id"] == category_id:
            found[key].append(_corners(name, entry.get("bbox")))
    if unlisted:
        names = listed(list(dict.fromkeys(unlisted)))
        result.remarks.append(
            f"{file}: ignored {counted(len(unlisted), 'annotation')} of images that it does not list (image_id {names})"
        )
    _keep_inside(file, list(found.values()), result)
    return result


def _load(file: Path) -> dict[str, Any]:
    """The three lists of the file."""
    if not file.is_file():
        there = describe(nearest(file.parent))
        raise FileNotFoundError(
            f"there is no annotation file {file}; {there}: --dataset_mode unaligned_coco reads <phase>A.json and "
            f"<phase>B.json in --dataroot; without boxes, use --dataset_mode unaligned"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # of the decoding, too
        raise ValueError(f"{file}: is no JSON ({error}): write it again") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise ValueError(
            f"{file}: is no COCO annotation file, which has the lists images, annotations and categories: "
            f"docs/coco_boxes.md shows one"
        )
    return {**content, "categories": content.get("categories") or []}


def _check_category(file: Path, categories: list[Any], category_id: int) -> None:
    known = {each.get("id"): each.get("name", "") for each in categories if isinstance(each, dict)}
    if known and category_id not in known:
        listing = listed([f"{number} {name}".strip() for number, name in known.items()])
        raise ValueError(f"--category_id {category_id}: {file} has no such category: give one of {listing}")


def _images(file: Path, entries: list[Any]) -> dict[Any, dict[str, Any]]:
    """Id -> entry, by rising id."""
    images: dict[Any, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or "id" not in entry or not isinstance(entry.get("file_name"), str):
            raise ValueError(f"{file}: image {_named(entry, number)} lacks id or file_name: give it both")
        name = PurePath(entry["file_name"])
        if name.is_absolute() or ".." in name.parts:  # results are named by the path below the folder
            raise ValueError(f"{file}: file_name {name} leads out of the folder of the images: give a path below it")
        if entry["id"] in images:
            raise ValueError(f"{file}: two images have the id {entry['id']}: give every image one of its own")
        images[entry["id"]] = entry
    if not images:
        raise ValueError(f"{file}: lists no images")
    return {key: images[key] for key in sorted(images, key=lambda key: natural_key(str(key)))}


def _named(entry: Any, number: int) -> str:
    return f"id {entry['id']}" if isinstance(entry, dict) and "id" in entry else f"number {number + 1}"


def _check_files(file: Path, found: CocoImages) -> None:
    gone = [os.path.relpath(path, found.folder) for path in found.paths if not os.path.isfile(path)]
    if gone:
        raise ValueError(
            f"{file}: {len(gone)} of {len(found.paths)} images are not in {found.folder} ({listed(gone)}): "
            f"name their folder with --coco_imagedir, or take them out of the file"
        )


def _size(file: Path, entry: dict[str, Any], path: str) -> Size:
    """Width and height by the entry, or by the image where it says nothing."""
    width, height = entry.get("width"), entry.get("height")
    if width is None or height is None:
        header = read_header(path)
        return header.width, header.height
    if not all(isinstance(side, (int, float)) and side >= 1 for side in (width, height)):
        raise ValueError(f"{file}: {entry['file_name']} is {width}x{height} pixels: give sizes of 1 or more, or none")
    return int(width), int(height)


def _corners(name: str, bbox: Any) -> list[float]:
    numbers = isinstance(bbox, list) and len(bbox) == 4 and all(isinstance(v, (int, float)) for v in bbox)
    if not numbers or not all(math.isfinite(value) for value in bbox):
        raise ValueError(f"{name}: bbox is {bbox}: give four numbers, x, y, width and height")
    x, y, width, height = (float(value) for value in bbox)
    return [x, y, x + width, y + height]


def _keep_inside(file: Path, found: list[list[list[float]]], result: CocoImages) -> None:
    """Cut the boxes to their pictures; count and tell what was lost."""
    outside = over = 0
    for corners, size in zip(found, result.sizes):
        boxes = np.array(corners, dtype=np.float64).reshape(-1, 4)
        cut = np.clip(boxes, 0, np.array([*size, *size]))
        inside = has_area(cut)
        outside += int((~inside).sum())
        over += int((np.abs(cut - boxes).max(axis=1, initial=0.0)[inside] > _SLACK).sum())
        result.boxes.append(cut[inside])
    if outside:
        result.remarks.append(f"{file}: ignored {counted(outside, 'box', 'boxes')} without area inside the image")
    if over:
        result.remarks.append(f"{file}: cut {counted(over, 'box', 'boxes')} at the edge of the image")
