"""A folder of slices: their files, the tables that say where each comes from, and a sheet to look at."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from util.files import LineFile, replace_text
from util.images.io import fitting_format, read_image, save_array
from util.types import STORED
from util.volumes.grid import Volume, missing, turned
from util.volumes.series import Series
from util.wording import counted

TABLE, SETTINGS, VOLUMES = "slices.csv", "slices.json", "volumes.jsonl"
COLUMNS = (
    *("file", "side", "phase", "patient", "series", "volume", "view", "index", "position_mm"),
    *("spacing_x", "spacing_y", "spacing_z", "format", "low", "high", "source"),
)

_HU = (-1024.0, 3071.0)  # what 12 bits of a CT can say; metal beyond it would squeeze everything else
_THROUGH = {"axial": 2, "coronal": 1, "sagittal": 0}  # world axis along which slices follow each other
_SHOWN, _ACROSS, _TILE, _TEXT, _GAP = 24, 4, 192, 14, 6  # of the sheet: volumes, volumes in a row, pixels

Row = dict[str, str]


@dataclass(frozen=True)
class SideSettings:
    """How the volumes of one side were treated: clipped, which channels, whether they are labels."""

    window: tuple[float, ...] = ()
    bands: tuple[int, ...] = ()
    labels: bool = False


@dataclass(frozen=True)
class Settings:
    """What the slices of a folder have in common.

    Attributes:
        layout: ``single`` (PHASE), ``unpaired`` (PHASEA, PHASEB) or ``pairs`` (PHASE/A, PHASE/B).
        view: axial, coronal, sagittal or stored; empty for axial where a volume says how the patient lies, else stored.
        resample: millimetres of a voxel; 0 where each volume kept its own.
        sides: A, B, or without a name for the only one.
    """

    layout: str
    view: str
    resample: float
    sides: dict[str, SideSettings]


@dataclass(frozen=True)
class Cut:
    """A volume to be cut: for which side, in which view."""

    side: str
    series: Series
    volume: Volume
    view: str

    @functools.cached_property
    def digest(self) -> str:
        """A hash of the voxels; empty for volumes of one value, such as masks without a finding."""
        array = self.volume.array
        if array.size and (array == array.flat[0]).all():
            return ""
        return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:32]


def read_settings(folder: Path) -> Settings | None:
    """How the slices of a data set were cut; None where it was not made by ``prepare_slices.py``.

    Raises:
        ValueError: the file is damaged.
    """
    file = folder / SETTINGS
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        sides = {
            name: SideSettings(tuple(side["window"]), tuple(side["bands"]), side["labels"])
            for name, side in found["sides"].items()
        }
        return Settings(found["layout"], found["view"], float(found["resample"]), sides)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file}: cannot be read ({error}): make the slices again") from None


class SliceFolder:
    """The slices in a folder, those of earlier calls too.

    Attributes:
        rows: of slices.csv.
        phases: patient -> phase.
        new: slices of this call.
        settings: of the folder.
    """

    def __init__(self, out: Path, settings: Settings, suffix: str, rows: list[Row], volumes: list[dict[str, Any]]):
        self.out, self.settings, self.rows, self.new = out, settings, rows, 0
        self._suffix, self._volumes = suffix, volumes
        self.phases = {row["patient"]: row["phase"] for row in rows}

    @classmethod
    def opened(cls, out: Path, settings: Settings, suffix: str) -> SliceFolder:
        """The folder, empty or with the slices of earlier calls. Writes nothing.

        Raises:
            ValueError: there is something else in it, or its slices were cut differently.
        """
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file: give a folder")
        earlier = read_settings(out)
        if earlier is None:
            if out.is_dir() and any(out.iterdir()):
                raise ValueError(f"--out {out} is not empty and was not made by this command: give another folder")
            return cls(out, settings, suffix, [], [])
        for name in ("layout", "view", "resample"):
            old, now = (getattr(each, name) or "unset" for each in (earlier, settings))
            if old != now:
                raise ValueError(
                    f"--out {out} has slices with {name} {old}, these would have {now}: give another folder"
                )
        for side in earlier.sides.keys() & settings.sides.keys():
            if earlier.sides[side] != settings.sides[side]:
                raise ValueError(
                    f"--out {out} has slices{f' of side {side}' if side else ''} with another window, other bands or "
                    "labels: give the flags of the first call, or another folder"
                )
        try:
            with open(out / TABLE, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            volumes = [json.loads(line) for line in (out / VOLUMES).read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise ValueError(f"--out {out}: its tables cannot be read ({error}): give another folder") from None
        both = Settings(settings.layout, settings.view, settings.resample, {**earlier.sides, **settings.sides})
        return cls(out, both, suffix, rows, volumes)

    def add(self, cuts: Sequence[Cut], patient: str, phase: str) -> None:
        """Write the slices of a volume, or of the volumes of a pair under equal names.

        Raises:
            ValueError: the volume does not fit to those that are there, or is there already.
        """
        for cut in cuts:
            self._check(cut, patient)
        name = self._name(cuts[0].side, patient, cuts[0].series.name)
        self.out.mkdir(parents=True, exist_ok=True)
        if not self._volumes:
            self._write_settings()
        rows = [row for cut in cuts for row in self._written(cut, name, patient, phase)]
        self._append(rows)
        listing = LineFile(self.out / VOLUMES)
        for cut in cuts:
            entry = _entry(cut, name, patient)
            listing.append(json.dumps(entry))
            self._volumes.append(entry)
        listing.close()
        self.rows += rows
        self.new += len(rows)

    def _check(self, cut: Cut, patient: str) -> None:
        others = [entry for entry in self._volumes if entry["side"] == cut.side]
        for entry in others:
            if cut.digest and entry["voxels"] == cut.digest:
                if entry["patient"] == patient:
                    raise ValueError(f"its voxels are there already, from {entry['source']}")
                raise ValueError(
                    f"has the same voxels as {entry['source']} of patient {entry['patient']}: one of the names is wrong"
                )
        now = _kind(cut.volume)
        if others and now != (first := (others[0]["modality"], others[0]["unit"], others[0]["channels"])):
            raise ValueError(
                f"is {_named(now)}, but the volumes before are {_named(first)}: give each kind its own call"
            )

    def _name(self, side: str, patient: str, series: str) -> str:
        name = _safe(patient) if series == patient else f"{_safe(patient)}_{_safe(series)}"
        taken = {entry["volume"] for entry in self._volumes if entry["side"] == side}
        number, unique = 1, name
        while unique in taken:
            number, unique = number + 1, f"{name}_{number + 1}"
        return unique

    def _folder(self, side: str, phase: str) -> str:
        return {"single": phase, "unpaired": f"{phase}{side}", "pairs": f"{phase}/{side}"}[self.settings.layout]

    def _written(self, cut: Cut, name: str, patient: str, phase: str) -> list[Row]:
        upright = turned(cut.volume, cut.view)
        gone = missing(upright)
        places = _positions(upright, cut.view)
        rows = []
        for index in range(upright.shape[2]):
            picture = np.ascontiguousarray(upright.array[:, :, index].transpose(1, 0, 2))
            known = picture if gone is None else picture[~gone[:, :, index].T]
            file = f"{self._folder(cut.side, phase)}/{name}_{index:04d}.{self._suffix}"
            save_array(self.out / file, picture, nodata=upright.nodata)
            numbers = {
                "position_mm": "" if cut.volume.uneven else f"{places[index]:.6g}",
                **{f"spacing_{axis}": f"{step:.6g}" for axis, step in zip("xyz", upright.spacing)},
                "low": f"{known.min():.9g}" if known.size else "",
                "high": f"{known.max():.9g}" if known.size else "",
            }
            words = {"file": file, "side": cut.side, "phase": phase, "patient": patient, "series": cut.series.name}
            words |= {"volume": name, "view": cut.view, "index": str(index), "format": picture.dtype.name}
            rows.append({**words, **numbers, "source": cut.series.source})
        return rows

    def _append(self, rows: Sequence[Row]) -> None:
        with open(self.out / TABLE, "a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(_as_csv(rows, header=not self.rows))

    def _write_settings(self) -> None:
        replace_text(self.out / SETTINGS, [json.dumps(asdict(self.settings), indent=1) + "\n"])

    def finish(self) -> None:
        """Give all files of a side one type of numbers, the smallest that holds all, and write the tables again."""
        for side in {row["side"] for row in self.rows}:
            rows = [row for row in self.rows if row["side"] == side]
            kind = _common(rows, [entry for entry in self._volumes if entry["side"] == side])
            for row in rows:
                if row["format"] != kind:
                    path = self.out / row["file"]
                    array = read_image(path, allow_nonfinite=True).array
                    nodata = next(each["nodata"] for each in self._volumes if each["volume"] == row["volume"])
                    save_array(path, array.astype(kind), nodata=None if nodata is None else float(nodata))
                    row["format"] = kind
        replace_text(self.out / TABLE, [_as_csv(self.rows)])
        self._write_settings()

    def flags(self) -> list[str]:
        """Words for train.py that fit the slices; none where there are no two sides to train with."""
        model = {"pairs": "pix2pix", "unpaired": "cycle_gan"}.get(self.settings.layout)
        first = {entry["side"]: entry for entry in self._volumes}
        if model is None or set(first) != {"A", "B"}:
            return []
        words = ["--model", model]
        for side, channels in (("A", "input_nc"), ("B", "output_nc")):
            words += [f"--{channels}", str(first[side]["channels"])]
            words += self._side_flags(side, first[side]["unit"])
        if any("value_range" in word for word in words):
            words.append("--clip_range")
        return words + self._size_flags(model)

    def _size_flags(self, model: str) -> list[str]:
        """Slices are cropped, not scaled: a millimetre stays as many pixels as it has."""
        smallest = min(min(entry["slice_size"]) for entry in self._volumes)
        crop = min(smallest // 4 * 4, 256)
        if crop < 4:
            return []
        network = ["--netG", "resnet_6blocks"] if crop < 256 and model == "pix2pix" else []
        return ["--preprocess", "crop", "--crop_size", str(crop), *network]

    def _side_flags(self, side: str, unit: str) -> list[str]:
        rows = [row for row in self.rows if row["side"] == side and row["low"]]
        settings = self.settings.sides.get(side, SideSettings())
        words = []
        if settings.labels:
            words += [f"--resample_{side}", "nearest"]
        elif rows and (settings.window or rows[0]["format"] != "uint8"):
            low, high = min(float(row["low"]) for row in rows), max(float(row["high"]) for row in rows)
            if unit == "HU":
                low, high = max(low, _HU[0]), min(high, _HU[1])
            if settings.window:
                low, high = settings.window
            words.append(f"--value_range_{side}={low:.6g},{high if high > low else low + 1:.6g}")
        if unit:
            words += [f"--unit_{side}", unit]
        if any(entry["side"] == side and entry["nodata"] is not None for entry in self._volumes):
            words += [f"--nodata_{side}", "file"]
        return words


def _as_csv(rows: Sequence[Row], *, header: bool = True) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _kind(volume: Volume) -> tuple[str, str, int]:
    return volume.modality, volume.unit, volume.array.shape[3]


def _named(kind: tuple[str, str, int]) -> str:
    modality, unit, channels = kind
    return f"{modality or 'of no named modality'} with {counted(channels, 'channel')}" + (f" in {unit}" if unit else "")


def _entry(cut: Cut, name: str, patient: str) -> dict[str, Any]:
    """What volumes.jsonl says of a volume: affine and spacing are those after --resample."""
    volume = cut.volume
    nodata = None if volume.nodata is None else "nan" if math.isnan(volume.nodata) else volume.nodata
    return {
        "volume": name,
        "side": cut.side,
        "patient": patient,
        "series": cut.series.name,
        "source": cut.series.source,
        "files": len(cut.series.paths),
        "modality": volume.modality,
        "unit": volume.unit,
        "channels": volume.array.shape[3],
        "format": volume.array.dtype.name,
        "nodata": nodata,
        "shape": list(volume.shape),
        "slice_size": list(turned(volume, cut.view).shape[:2]),
        "spacing_mm": list(volume.spacing),
        "affine_ras_mm": volume.affine.tolist(),
        "oriented": volume.oriented,
        "uneven": volume.uneven,
        "view": cut.view,
        "voxels": cut.digest,
    }


def _positions(upright: Volume, view: str) -> NDArray[np.float64]:
    """Of each slice: millimetres of its centre along the axis of the view, in RAS; of stored slices from the first."""
    count = upright.shape[2]
    if view == STORED:
        return np.arange(count, dtype=np.float64) * upright.spacing[2]
    centres = np.ones((count, 4))
    centres[:, :2] = (np.array(upright.shape[:2]) - 1) / 2
    centres[:, 2] = np.arange(count)
    return np.asarray((centres @ upright.affine.T)[:, _THROUGH[view]])


def _common(rows: Sequence[Row], volumes: Sequence[Mapping[str, Any]]) -> str:
    """The smallest type that holds all values of a side."""
    kinds = {row["format"] for row in rows}
    if len(kinds) == 1:
        return kinds.pop()
    if "float32" in kinds:
        return "float32"
    values = [float(row[name]) for row in rows for name in ("low", "high") if row[name]]
    values += [float(entry["nodata"]) for entry in volumes if entry["nodata"] is not None]
    return fitting_format("int16", *values) if "int16" in kinds else "uint16"


def _safe(text: str) -> str:
    """A part of a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:48] or "unnamed"


# --- the sheet --------------------------------------------------------------------------------------------------------


def sheet(out: Path, rows: Sequence[Row]) -> Image.Image:
    """The middle slice of up to 24 volumes, sides of a pair beside each other, each with its patient and phase."""
    by_volume: dict[str, list[Row]] = {}
    for row in rows:
        by_volume.setdefault(row["volume"], []).append(row)
    names = list(by_volume)
    names = [names[step * len(names) // _SHOWN] for step in range(_SHOWN)] if len(names) > _SHOWN else names
    sides = max(len({row["side"] for row in by_volume[name]}) for name in names)
    across = max(_ACROSS // sides, 1) if sides > 1 else _ACROSS
    cell = (sides * _TILE + _GAP, _TILE + _TEXT + _GAP)
    lines = -(-len(names) // across)
    picture = Image.new("RGB", (min(across, len(names)) * cell[0] + _GAP, lines * cell[1] + _GAP), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for number, name in enumerate(names):
        left, top = _GAP + number % across * cell[0], _GAP + number // across * cell[1]
        of_volume = by_volume[name]
        for place, side in enumerate(sorted({row["side"] for row in of_volume})):
            slices = [row for row in of_volume if row["side"] == side]
            picture.paste(_tile(out, slices), (left + place * _TILE, top))
        row = of_volume[0]
        series = f" {row['series']}" if row["series"] != row["patient"] else ""
        text = f"{row['patient']}{series} ({row['phase']})"
        draw.text((left, top + _TILE + 1), text[: cell[0] // 6], "black", font)
    return picture


def _tile(out: Path, slices: Sequence[Row]) -> Image.Image:
    """The middle slice between the smallest and largest value of the volume, in millimetres, on grey."""
    row = slices[len(slices) // 2]
    path = out / row["file"]
    array = read_image(path, allow_nonfinite=True).array
    values = array[:, :, :3] if array.shape[2] >= 3 else np.repeat(array[:, :, :1], 3, axis=2)
    low = min((float(each["low"]) for each in slices if each["low"]), default=0.0)
    high = max((float(each["high"]) for each in slices if each["high"]), default=1.0)
    scaled = np.nan_to_num((values.astype(np.float64) - low) / ((high - low) or 1.0), nan=0.0).clip(0, 1) * 255
    picture = Image.fromarray(scaled.astype(np.uint8))
    width, height = (size * float(row[f"spacing_{axis}"]) for size, axis in zip(picture.size, "xy"))
    factor = (_TILE - 2) / max(width, height)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    tile = Image.new("RGB", (_TILE - 2, _TILE - 2), (96, 96, 96))
    tile.paste(picture.resize(size), ((_TILE - 2 - size[0]) // 2, (_TILE - 2 - size[1]) // 2))
    return tile
