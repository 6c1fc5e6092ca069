"""Palettes of label maps: a name and a colour per class, read from the data set or built in, and snapping to them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from util.wording import counted

PALETTE_FILE = "palette.json"
"""Beside the images of a data set: ``{"sky": "4682b4", "road": "804080"}``, in the order of the class ids."""

_DEMO_FILE = "demo.json"  # of datasets/make_demo.py, which names its colours there
_MOST_COLOURS = 64
_LONGEST_NAME = 40
_HEX = re.compile(r"#?[0-9a-fA-F]{6}")
_CHUNK = 1 << 18  # pixels that are compared with all colours at a time
FITS = 12.0
"""Mean distance, in 8-bit levels, up to which a palette is taken to be that of a label map."""

FACADES = {
    "background": "0000de",
    "wall": "002fff",
    "window": "0080ff",
    "door": "00cfff",
    "cornice": "1fffe0",
    "sill": "70fe8e",
    "balcony": "c0ff3e",
    "blind": "fff000",
    "deco": "ff9f00",
    "molding": "ff5000",
    "pillar": "fe0000",
    "shop": "ae0000",
}
"""CMP facades, in the order of the class ids (1 to 12 there)."""

CITYSCAPES = {
    "road": "804080",
    "sidewalk": "f423e8",
    "building": "464646",
    "wall": "66669c",
    "fence": "be9999",
    "pole": "999999",
    "traffic light": "faaa1e",
    "traffic sign": "dcdc00",
    "vegetation": "6b8e23",
    "terrain": "98fb98",
    "sky": "4682b4",
    "person": "dc143c",
    "rider": "ff0000",
    "car": "00008e",
    "truck": "000046",
    "bus": "003c64",
    "train": "005064",
    "motorcycle": "0000e6",
    "bicycle": "770b20",
    "void": "000000",
    "ground": "510051",
    "dynamic": "6f4a00",
}
"""Cityscapes: the 19 classes of its benchmark by train id, then what its label maps have besides."""


@dataclass(frozen=True)
class Palette:
    """The classes of a label map.

    Attributes:
        name: of the palette.
        names: of the classes; the place in the list is the class id.
        colours: uint8 ``[classes, 3]``, sRGB, each one different.
    """

    name: str
    names: tuple[str, ...]
    colours: NDArray[np.uint8]

    @property
    def hex_colours(self) -> list[str]:
        """``#rrggbb`` of every class."""
        return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in self.colours.tolist()]

    @property
    def key(self) -> str:
        """Short text that tells palettes of other colours apart."""
        return hashlib.sha256(self.colours.tobytes()).hexdigest()[:16]

    def ids(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The class of every pixel: that of the nearest colour, by the squared distance in sRGB.

        Args:
            image: uint8 ``[H, W, 3]``.

        Returns:
            uint8 ``[H, W]``; of two colours equally near the first.
        """
        pixels = image.reshape(-1, 3)
        table = self.colours.astype(np.int32)
        ids = np.empty(len(pixels), np.uint8)
        for begin in range(0, len(pixels), _CHUNK):
            part = pixels[begin : begin + _CHUNK].astype(np.int32)
            # |p - c|^2 without |p|^2, which is the same for all colours
            distances = (table**2).sum(1) - 2 * (part @ table.T)
            ids[begin : begin + _CHUNK] = distances.argmin(1)
        return ids.reshape(image.shape[:2])

    def snap(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image in the palette's colours alone: uint8 ``[H, W, 3]``.

        A brush mixes colours at its edges, and a JPEG file has thousands of colours where a label map has twelve.
        """
        return self.colours[self.ids(image)]

    def distance(self, image: NDArray[np.uint8]) -> float:
        """Mean distance of the pixels from their nearest colours, in levels of 8 bit."""
        difference = image.astype(np.float32) - self.snap(image)
        return float(np.sqrt((difference**2).sum(2)).mean())


def palette_of(name: str, classes: Mapping[str, str]) -> Palette:
    """A palette of class name -> ``rrggbb``.

    Raises:
        ValueError: too few or many classes, a name or a colour that cannot be used, or one colour for two classes.
    """
    if not 2 <= len(classes) <= _MOST_COLOURS:
        raise ValueError(f"{name}: has {counted(len(classes), 'class', 'classes')}: give 2 to {_MOST_COLOURS}")
    for label, colour in classes.items():
        if not isinstance(label, str) or not label.strip() or len(label) > _LONGEST_NAME or not label.isprintable():
            raise ValueError(f"{name}: {label!r} is no name of a class: give 1 to {_LONGEST_NAME} printable characters")
        if not isinstance(colour, str) or not _HEX.fullmatch(colour):
            raise ValueError(f"{name}: {label} has the colour {colour!r}: write six hexadecimal digits, as 4682b4")
    rows = [bytes.fromhex(colour.removeprefix("#")) for colour in classes.values()]
    if twice := [label for place, label in enumerate(classes) if rows[place] in rows[:place]]:
        raise ValueError(f"{name}: {twice[0]} has the colour of another class: give each class its own")
    return Palette(name, tuple(classes), np.array([list(row) for row in rows], np.uint8))


BUILT_IN = {name: palette_of(name, classes) for name, classes in (("facades", FACADES), ("cityscapes", CITYSCAPES))}
"""Name -> palette."""


def read_palette(file: Path) -> Palette:
    """A ``palette.json``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON object of names and colours.
    """
    classes = _read_json(file)
    if not isinstance(classes, dict):
        raise ValueError(f'{file}: write names and colours of the classes: {{"sky": "4682b4", "road": "804080"}}')
    return palette_of(str(file), classes)


def palette_in(folder: Path) -> Palette | None:
    """The palette that lies beside the images of a data set; None where there is none.

    Raises:
        ValueError: as ``read_palette``.
    """
    if (folder / PALETTE_FILE).is_file():
        return read_palette(folder / PALETTE_FILE)
    if (folder / _DEMO_FILE).is_file():
        note = _read_json(folder / _DEMO_FILE)
        if isinstance(note, dict) and isinstance(note.get("palette"), dict):
            return palette_of(str(folder / _DEMO_FILE), note["palette"])
    return None


def fitting_palette(images: Sequence[NDArray[np.uint8]]) -> Palette | None:
    """The built-in palette that label maps were drawn with; without one, the few colours that they have.

    Args:
        images: uint8 ``[H, W, 3]``, some label maps of the data set, or photographs.

    Returns:
        None where the images are no label maps of a palette: far from every palette, or of many colours.
    """
    if not images:
        return None
    by_distance = sorted((max(map(palette.distance, images)), name) for name, palette in BUILT_IN.items())
    if by_distance[0][0] <= FITS:
        return BUILT_IN[by_distance[0][1]]
    colours = np.unique(np.concatenate([np.unique(image.reshape(-1, 3), axis=0) for image in images]), axis=0)
    if not 2 <= len(colours) <= _MOST_COLOURS:
        return None
    return palette_of("colours of the data", {f"#{bytes(row).hex()}": bytes(row).hex() for row in colours})


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is no readable JSON file ({error})") from None
