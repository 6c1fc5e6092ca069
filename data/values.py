"""What the values of a side's files say: how much of their scale they use, whether they are labels.

The numbers are exact for the files looked at; whether they are meant so only the user knows, hence the question marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from options.base_options import SideOptions
from util.images.io import Format, Picture, missing_values

_SMALL_SHARE = 0.25  # of the full scale
_FEW_COLOURS = 64
_LEAST_COLOURS = 3  # two are a mask or a drawing
_LABELS_BELOW = 64  # largest value of an index map
_SAMPLED = 65536  # pixels by which a photograph is told from a label map before all pixels are counted
_PHASES_DIFFER = {"uint8": 4.0}  # factor between the spans of two phases; 8-bit photographs may be dark
_FACTOR = 2.0


@dataclass(frozen=True)
class Values:
    """The values of one picture, or of several of one format.

    Attributes:
        format: type of the numbers.
        low: the smallest finite value; infinite where there is none.
        high: the largest.
        channels: of the pictures; 0 where they differ.
        colours: the different pixels, each as its bytes; None where there are more than 64.
        flat: every picture has one colour only.
        nodata: a number among the values which the files say stands for missing pixels.
    """

    format: Format
    low: float
    high: float
    channels: int
    colours: frozenset[bytes] | None
    flat: bool = False
    nodata: float | None = None

    @property
    def span(self) -> float:
        return self.high - self.low


def values_of(picture: Picture, missing: NDArray[np.bool_] | None = None) -> Values:
    """Range and colours of a picture, its opacity and its missing pixels ``[H, W]`` left out."""
    array = picture.array[:, :, :-1] if picture.alpha else picture.array
    array = array if missing is None else array[~missing][:, None]
    marked = missing is None and picture.nodata is not None and missing_values(array, picture.nodata).any()
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (float("inf"), float("-inf"))
    colours = None if array.dtype.kind == "f" else _colours(array)
    flat = colours is not None and len(colours) == 1
    nodata = picture.nodata if marked else None
    return Values(picture.format, low, high, array.shape[2], colours, flat, nodata)


def _colours(array: np.ndarray) -> frozenset[bytes] | None:
    pixels = np.ascontiguousarray(array).reshape(-1, array.shape[2])
    for step in (max(len(pixels) // _SAMPLED, 1), 1):
        taken = np.ascontiguousarray(pixels[::step])
        rows = np.unique(taken.view(np.dtype((np.void, taken.dtype.itemsize * taken.shape[1]))))
        if len(rows) > _FEW_COLOURS:
            return None
    return frozenset(row.tobytes() for row in rows)


def merged(values: Iterable[Values]) -> list[Values]:
    """The values of several pictures, one for each format."""
    found: dict[Format, Values] = {}
    for each in values:
        old = found.get(each.format)
        if old is None:
            found[each.format] = each
            continue
        both = None if old.colours is None or each.colours is None else old.colours | each.colours
        found[each.format] = Values(
            each.format,
            min(old.low, each.low),
            max(old.high, each.high),
            each.channels if each.channels == old.channels else 0,
            both if both is not None and len(both) <= _FEW_COLOURS else None,
            old.flat and each.flat,
            each.nodata if old.nodata is None else old.nodata,
        )
    return list(found.values())


def described(values: Values) -> str:
    """``values from 32 to 3338``."""
    return f"values from {values.low:g} to {values.high:g}" if values.low <= values.high else "no finite values"


def label_warning(values: Values, side: str, *, resample: str = "bicubic", label_nc: int = 0) -> str:
    """Why these pictures look like a label map, and the flag for it; empty if they do not, or if a flag is given."""
    count = len(values.colours or ())
    given = label_nc or resample != "bicubic"
    if given or values.flat or values.format not in ("uint8", "uint16") or count < _LEAST_COLOURS:
        return ""
    if values.channels == 1 and values.high < _LABELS_BELOW:
        return (
            f"side {side} has the values {values.low:g} to {values.high:g} in one channel: an index map? "
            f"--label_nc_{side} {int(values.high) + 1} makes one channel of each label, --resample_{side} nearest "
            "keeps the values"
        )
    return f"side {side} has {count} colours: a label map? --resample_{side} nearest keeps them"


def scale_warning(values: Values, side: str) -> str:
    """Why 16-bit values use a small part of their scale, and the range that would fit; empty if they do not."""
    full = 65535
    if values.format != "uint16" or values.high <= 0 or values.low > values.high:
        return ""
    shown = f"side {side}: 16-bit {described(values)} of {full}"
    if values.high < full * _SMALL_SHARE:
        return f"{shown}: --value_range_{side} 0,{2 ** int(values.high).bit_length() - 1}?"
    if 0 < values.span < full * _SMALL_SHARE:
        step = 10 ** max(len(str(int(values.span))) - 1, 0)
        low, high = int(values.low // step) * step, min(-int(-values.high // step) * step, full)
        share = max(100 * values.span / full, 1)
        return f"{shown} use {share:.0f} % of the scale: --value_range_{side} {low},{high}?"
    return ""


def nodata_warning(values: Values, side: str) -> str:
    """That missing pixels are taken for values, and the flag for it; empty where no file says so."""
    if values.nodata is None:
        return ""
    return (
        f"side {side}: files say that {values.nodata:g} stands for missing pixels, which are taken for values: "
        f"--nodata_{side} file leaves them out"
    )


def side_warnings(values: Iterable[Values], side: SideOptions) -> list[str]:
    """The warnings of a side from the values of its pictures, see ``merged``."""
    found = []
    for each in values:
        labels = label_warning(each, side.name, resample=side.resample, label_nc=side.label_nc)
        gaps = nodata_warning(each, side.name)
        # Labels of 16 bit are no dark photograph.
        given = gaps or labels or side.value_range or side.label_nc or side.resample == "nearest"
        found += [text for text in (labels, gaps, "" if given else scale_warning(each, side.name)) if text]
    return found


def phase_warnings(phases: Mapping[str, list[Values]], side: str) -> list[str]:
    """Phases whose values differ from those of the first in type or in span.

    Args:
        phases: phase -> the values of a side, see ``merged``; the first is the one trained on.
        side: ``A`` or ``B``.
    """
    (first, base), *others = list(phases.items()) or [("", [])]
    found = []
    for name, values in others:
        if not base or not values:
            continue
        if {each.format for each in values} != {each.format for each in base}:
            kinds = [" and ".join(sorted(each.format for each in some)) for some in (base, values)]
            found.append(f"side {side}: {first} has {kinds[0]} files, {name} {kinds[1]}: are they in the same units?")
            continue
        for each in values:
            own = next(one for one in base if one.format == each.format)
            small, large = sorted((own.span, each.span))
            if large > _PHASES_DIFFER.get(each.format, _FACTOR) * small and large > 0:
                found.append(
                    f"side {side}: {first} has {described(own)}, {name} {described(each)}: are they in the same units?"
                )
    return found
