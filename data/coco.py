"""COCO annotation files: which images, and which boxes in each."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from data.boxes import Boxes, Size, has_area
from util.image_folder import describe, listed, natural_key, nearest
from util.image_io import read_header

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
        max_size: at most so many images.

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
    homeless = []
    for number, entry in enumerate(content["annotations"]):
        name = f"{file}: annotation {_named(entry, number)}"
        key = entry.get("image_id") if isinstance(entry, dict) else None
        if key is None or "category_id" not in entry:
            raise ValueError(f"{name} lacks image_id or category_id: give it both, or take it out")
        if key not in images:
            homeless.append(str(key))
        elif key in used and entry["category_id"] == category_id:
            found[key].append(_corners(name, entry.get("bbox")))
    if homeless:
        names = listed(list(dict.fromkeys(homeless)))
        result.remarks.append(
            f"{file}: {len(homeless)} annotations are of images that it does not list (image_id {names}): ignored"
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
        raise ValueError(f"{file}: is no JSON ({error}): write it anew") from None
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
        result.remarks.append(f"{file}: {outside} boxes have no area inside their image: ignored")
    if over:
        result.remarks.append(f"{file}: {over} boxes reach over the edge of their image: cut")
