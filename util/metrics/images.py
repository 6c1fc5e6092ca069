"""Sets of images to measure: a folder, or what a model has just made. Read one by one, on the scale 0..255."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from util.images.folder import describe, scan
from util.images.io import Format, fitting_format, missing_values, read_header, read_image, scale_of
from util.images.labels import checked_labels, in_label_colours
from util.types import ABOUT_A_FAKE, IN_COLOURS

Pixels = NDArray[Any]
"""``[H, W, C]``, all bands of a file: uint8, or float64 on the scale 0..255 (0 and 255 are the ends of the range).

NaN where a pixel is missing: where a TIFF's nodata tag says so.
"""

_LABEL = re.compile(r"^\d{4}_")  # of the folders of samples, 0003_cat
HALVES = ("", "left", "right")
_VISUAL = re.compile(rf"_(real|fake|rec|idt)(_[A-Z]({IN_COLOURS})?)?$")
_DRAW = re.compile(rf"_(fake_[A-Z])_(\d+|mean|std)({IN_COLOURS})?$")  # of test.py --num_samples
_SHOWN = 3


class ImageSet(ABC):
    """Images in a fixed order.

    Attributes:
        label: where they come from, for messages and protocols.
        names: one per image; equal names on two sides are a pair.
        label_maps: whether they are label maps, which are read in colours.
    """

    label: str
    names: Sequence[str]
    label_maps: bool = False

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> list[str]:
        """The class of every image: the first folder of its name, without the label that test.py puts before it.

        Raises:
            ValueError: images that lie in no folder.
        """
        if alone := [name for name in self.names if "/" not in name]:
            raise ValueError(f"intra-class metrics need images in folders by class; {alone[0]} of {self.label} is not")
        folders = [name.split("/")[0] for name in self.names]
        plain = [_LABEL.sub("", folder) for folder in folders]
        return plain if len({*plain}) == len({*folders}) else folders

    @abstractmethod
    def read(self, index: int) -> Pixels:
        """One image, with all of its bands.

        Raises:
            ValueError: it cannot be read; the message names the file.
        """

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of the content of all images in order, and of what is done to them on reading."""

    @abstractmethod
    def hashes(self) -> list[str]:
        """SHA-256 of every image: equal for copies."""

    @abstractmethod
    def look(self) -> dict[str, Any]:
        """``size`` ("256x256", or the range), ``depth`` (of the files).

        ``alpha``, ``bands`` (more than three, or two), ``nodata`` (how many name a value for missing pixels) and
        ``labels`` only where there are any.
        """

    def facts(self) -> dict[str, Any]:
        """What a protocol says of this side."""
        return {"n": len(self), "from": self.label, "sha256": self.digest(), **self.look()}


class FolderImages(ImageSet):
    """The images below a folder, in the order of their paths as plain text (that of torch-fidelity).

    Args:
        folder: it is searched with its subfolders.
        flag: the flag that named it, for messages.
        suffix: take only files whose name ends in ``_<suffix>`` before the file's suffix: ``fake_B``; where there are
            none, ``fake_B_rgb``.
        half: of pictures that hold a pair side by side, the ``left`` or ``right`` half.
        alpha: what becomes of transparency: ``drop`` or ``white``.
        resize: scale to this many pixels squared (bicubic, antialiased); 0 keeps the size.
        value_range: the numbers in the files that are black and white (default: 0 and the full scale). What shows a
            domain in colours has its own.
        of_run: the files are results: floating point numbers without ``value_range`` are those of a run without
            ``--value_range``, 0 to 1. Of other files this is not known, and ``read`` refuses them.
        label_nc: the files are index maps of this many labels, read as ``LABEL_COLOURS``; 0 for pictures.

    Raises:
        FileNotFoundError: no such folder, or no such images in it.
        ValueError: without ``suffix``, the folder of a test's pictures, where inputs, outputs and targets lie together.
    """

    def __init__(
        self,
        folder: Path,
        flag: str,
        *,
        suffix: str = "",
        half: str = "",
        alpha: str = "drop",
        resize: int = 0,
        value_range: Sequence[float] = (),
        of_run: bool = False,
        label_nc: int = 0,
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{flag} {folder}: there is no such folder")
        found = scan(folder)
        if not suffix:
            _refuse_mixture(folder, flag, found)
        self.folder, self.half, self.alpha, self.resize = folder, half, alpha, resize
        self.of_run, self.label_nc, self.label_maps = of_run, label_nc, label_nc > 0
        for ending in (suffix, suffix + IN_COLOURS) if suffix else ("",):
            self.paths, self.names = _chosen(folder, found, ending)
            if self.paths:
                break
        else:
            what = f"no image whose name ends in _{suffix}" if suffix else "no images"
            raise FileNotFoundError(f"{flag} {folder}: {what} in it; {describe(folder)}")
        self.value_range = () if suffix and ending.endswith(IN_COLOURS) else tuple(value_range)
        self.label = f"{folder.as_posix()}" + (f" (*_{ending})" if ending else "") + (f", {half} half" if half else "")
        self._hashes: list[bytes] = []
        self._look: dict[str, Any] = {}

    def read(self, index: int) -> Pixels:
        path = self.paths[index]
        if self.label_nc:
            return self._read_labels(path)
        picture = read_image(path, alpha="white" if self.alpha == "white" else "drop", allow_nonfinite=True)
        array, nodata = picture.array, picture.nodata
        missing = None if nodata is None else np.asarray(missing_values(array, nodata).any(axis=2))
        if array.dtype.kind == "f" and not np.isfinite(array if missing is None else array[~missing]).all():
            raise ValueError(
                f"{path}: holds NaN or infinite values that its nodata tag does not name: replace the file"
            )
        if picture.format not in ("uint8", "uint16") and not self.value_range and not self.of_run:
            raise ValueError(f"{path}: its {picture.format} values have no fixed range; give --value_range LOW,HIGH")
        if self.half:
            width = array.shape[1] // 2
            chosen = slice(None, width) if self.half == "left" else slice(-width, None)
            array, missing = array[:, chosen], None if missing is None else missing[:, chosen]
        scaled = as_scaled(array, self.value_range)
        if missing is not None and missing.any():
            scaled = np.where(missing[:, :, None], np.nan, scaled.astype(np.float64))
        return _resized(scaled, self.resize)

    def _read_labels(self, path: str) -> Pixels:
        labels = checked_labels(read_image(path, palette="indices").array, self.label_nc, path)
        if self.half:
            width = labels.shape[1] // 2
            labels = labels[:, :width] if self.half == "left" else labels[:, -width:]
        if self.resize:
            size = (self.resize, self.resize)
            labels = np.asarray(Image.fromarray(labels[:, :, 0]).resize(size, Image.Resampling.NEAREST))[:, :, None]
        return in_label_colours(labels)

    def content(self) -> str:
        """SHA-256 of the files alone, in order, however they are read."""
        return hashlib.sha256(b"".join(self._file_hashes())).hexdigest()

    def hashes(self) -> list[str]:
        return [each.hex() + self.half for each in self._file_hashes()]

    def _file_hashes(self) -> list[bytes]:
        if not self._hashes:
            self._hashes = [hashlib.sha256(Path(path).read_bytes()).digest() for path in self.paths]
        return self._hashes

    def digest(self) -> str:
        settings = f"{self.half}/{self.alpha}/{self.resize}/{self.value_range}"
        settings += f"/{self.label_nc} labels" if self.label_nc else ""
        return hashlib.sha256(f"{settings}/{self.content()}".encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "content": self.content()}

    def look(self) -> dict[str, Any]:
        if not self._look:
            headers = [read_header(path) for path in self.paths]
            scaled = (self.resize, self.resize) if self.resize else None
            sizes = {scaled or (each.width // (2 if self.half else 1), each.height) for each in headers}
            alpha = sum(each.alpha for each in headers)
            self._look = {"size": _range(sizes), "depth": " and ".join(sorted({each.format for each in headers}))}
            bands = {each.channels - each.alpha for each in headers}
            self._look |= {"bands": max(bands)} if bands - {1, 3} and not self.label_nc else {}
            self._look |= {"labels": self.label_nc} if self.label_nc else {}
            if nodata := sum(each.nodata is not None for each in headers):
                self._look["nodata"] = nodata
            if alpha:
                self._look["alpha"] = f"{'on white' if self.alpha == 'white' else 'ignored'} in {alpha} files"
        return self._look


class MadeImages(ImageSet):
    """Images in memory.

    Args:
        label: where they come from.
        images: name -> pixels, see ``Pixels``.
        label_maps: they are label maps in colours.
    """

    def __init__(self, label: str, images: dict[str, Pixels], *, label_maps: bool = False) -> None:
        self.label_maps = label_maps
        self.label, self.names, self._images = label, tuple(images), list(images.values())
        self._digest = ""

    def read(self, index: int) -> Pixels:
        return self._images[index]

    def hashes(self) -> list[str]:
        return [
            hashlib.sha256(f"{image.shape}{image.dtype}".encode() + image.tobytes()).hexdigest()
            for image in self._images
        ]

    def digest(self) -> str:
        if not self._digest:
            whole = hashlib.sha256()
            for image in self._images:
                whole.update(f"{image.shape}{image.dtype}".encode())
                whole.update(np.ascontiguousarray(image).tobytes())
            self._digest = whole.hexdigest()
        return self._digest

    def look(self) -> dict[str, Any]:
        kinds = {"uint8" if image.dtype == np.uint8 else "uint16" for image in self._images}
        sizes = {(image.shape[1], image.shape[0]) for image in self._images}
        bands = {image.shape[2] for image in self._images}
        found = {"size": _range(sizes), "depth": " and ".join(sorted(kinds))}
        nodata = sum(image.dtype.kind == "f" and bool(np.isnan(image).any()) for image in self._images)
        found |= ({"bands": max(bands)} if bands - {1, 3} else {}) | ({"nodata": nodata} if nodata else {})
        return found | ({"labels": True} if self.label_maps else {})


def as_stored(values: Tensor, format: Format = "uint8", value_range: Sequence[float] = ()) -> Pixels:
    """A model's picture as it is read back from the file that test.py writes.

    Args:
        values: ``[C, H, W]`` in ``[-1, 1]`` on the CPU.
        format: type of the numbers in the files of its domain.
        value_range: values that -1 and 1 stand for; empty for the full scale.
    """
    low, high = value_range or scale_of(format)
    kind = "float32" if format == "int16" and not value_range else fitting_format(format, low, high)
    array = values.float().numpy().clip(-1, 1).astype(np.float64).transpose(1, 2, 0)
    stored = low + (array + 1) / 2 * (high - low)
    return as_scaled((stored if kind == "float32" else np.rint(stored)).astype(kind), value_range)


def pairs(fake: ImageSet, real: ImageSet) -> list[tuple[int, int]]:
    """Indices of every fake and of the target of the same name.

    Raises:
        ValueError: an image without a partner; the message names some.
    """
    targets = {name: index for index, name in enumerate(real.names)}
    alone = [name for name in fake.names if name not in targets]
    waiting = sorted(targets.keys() - set(fake.names))
    if alone or waiting:
        parts = [f"{len(alone)} of {len(fake)} have no target ({_some(alone)})"] if alone else []
        parts += [f"{len(waiting)} of {len(real)} targets have no image ({_some(waiting)})"] if waiting else []
        raise ValueError(
            f"PSNR, SSIM, L1 and LPIPS compare pairs of equal names, but of {fake.label} and {real.label} "
            f"{', and '.join(parts)}; rename the files, or ask for kid, fid, is, prc"
        )
    return [(index, targets[name]) for index, name in enumerate(fake.names)]


def _chosen(folder: Path, found: Sequence[str], suffix: str) -> tuple[list[str], list[str]]:
    """Paths and names (below the folder, without suffixes).

    Of two files of one name, a TIFF holds the values of a result and a PNG beside it a picture of them for the eye.

    What lies there about a fake, such as its heat map, is left out.
    """
    chosen: dict[str, str] = {}
    for path in found:
        inside = Path(path).relative_to(folder)
        stem = inside.with_suffix("").as_posix()
        if suffix:
            if not stem.endswith(f"_{suffix}"):
                continue
            stem = stem.removesuffix(f"_{suffix}")
            if stem in chosen and path.lower().endswith(".png"):
                continue
        elif stem in chosen:
            stem = inside.as_posix()
        chosen[stem] = path
    for about in (f"_{prefix.removesuffix('_')}" for prefix in ABOUT_A_FAKE if suffix):
        for stem in [each for each in chosen if each.endswith(about) and each.removesuffix(about) in chosen]:
            del chosen[stem]  # 1_heat_fake_B beside 1_fake_B
    order = sorted(chosen, key=lambda name: chosen[name])
    return [chosen[name] for name in order], order


def _refuse_mixture(folder: Path, flag: str, found: Sequence[str]) -> None:
    stems = [os.path.splitext(path)[0] for path in found]
    kinds = Counter(match[0][1:] for stem in stems if (match := _VISUAL.search(stem)))
    kinds.update(f"{match[1]}_..." for stem in stems if (match := _DRAW.search(stem)))
    if len(kinds) > 1:
        example = {"--fake": "fake_B", "--real": "real_B"}.get(flag)
        remedy = f"choose one kind, e.g. {flag}_suffix {example}" if example else "give a folder of one kind"
        raise ValueError(
            f"{flag} {folder}: holds {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))} images of "
            f"a test together; {remedy}"
        )


def as_scaled(array: NDArray[Any], value_range: Sequence[float]) -> Pixels:
    """Numbers of a file, ``[H, W, C]``, on the scale 0..255: uint8 as it is, all others as float64.

    Values beyond the range keep their distance from it: metrics see what is in the file.
    """
    if array.dtype == np.uint8 and not value_range:
        return array
    low, high = value_range or scale_of(array.dtype.name)
    return np.asarray((array.astype(np.float64) - low) / (high - low) * 255.0)


def as_rgb(pixels: Pixels) -> Pixels:
    """``[H, W, 3]`` of ``[H, W, C]``, for networks that see colours: grey three times, else the first three bands.

    Missing pixels are black.
    """
    pixels = np.nan_to_num(pixels, nan=0.0) if pixels.dtype.kind == "f" else pixels
    bands = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]
    return np.ascontiguousarray(np.broadcast_to(bands.clip(0, 255), (*bands.shape[:2], 3)))


def _resized(array: Pixels, size: int) -> Pixels:
    if not size or array.shape[:2] == (size, size):
        return array
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        scaled_picture = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
        return scaled_picture.reshape(size, size, array.shape[2])
    planes = [Image.fromarray(plane) for plane in array.transpose(2, 0, 1).astype(np.float32)]
    scaled = [np.asarray(plane.resize((size, size), Image.Resampling.BICUBIC), np.float64) for plane in planes]
    return np.stack(scaled, axis=2).clip(0, 255)


def _range(sizes: set[tuple[int, int]]) -> str:
    """Sizes (width, height) as "256x256", or as "64x48 to 512x512 (7 sizes)"."""
    shown = [f"{width}x{height}" for width, height in sorted(sizes, key=lambda size: (size[0] * size[1], size))]
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]} ({len(shown)} sizes)"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
