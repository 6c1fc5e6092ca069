"""How each domain of a run stores its values: remembered with the run, so that a result is written like its domain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from util.files import replace_text
from util.images.io import Format
from util.types import Batch, Visual

SIDES_FILE = "sides.json"
"""In the folder of a run, and in that of its results."""


@dataclass(frozen=True)
class SideFormat:
    """How the files of a domain store values.

    Attributes:
        format: type of their numbers.
        value_range: values that -1 and 1 stand for; empty for the full scale of the format.
        channels: of the model's tensors.
        unit: of the values; may be empty.
        labels: number of labels of its index maps, each of which is a channel of the tensors; 0 for pictures.
    """

    format: Format
    value_range: tuple[float, ...] = ()
    channels: int = 3
    unit: str = ""
    labels: int = 0


def write_sides(folder: Path, sides: Mapping[str, SideFormat]) -> None:
    """Write ``sides.json``: domain ``A`` (the input) or ``B`` -> how it stores values."""
    replace_text(folder / SIDES_FILE, [json.dumps({name: asdict(side) for name, side in sides.items()}, indent=1)])


def read_sides(folder: Path) -> dict[str, SideFormat]:
    """What ``write_sides`` wrote; empty for runs of earlier versions.

    Raises:
        ValueError: the file is damaged.
    """
    file = folder / SIDES_FILE
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: SideFormat(**{**side, "value_range": tuple(side["value_range"])}) for name, side in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{file}: cannot be read ({error}); delete it, and results take the depth of the inputs"
        ) from None


def exchanged(sides: Mapping[str, SideFormat]) -> dict[str, SideFormat]:
    """The same for a generator of the way back, whose input is domain B."""
    return {other: sides[name] for name, other in ("AB", "BA") if name in sides}


@dataclass(frozen=True)
class Storage:
    """Decides how a visual is stored: like its domain.

    Attributes:
        ranges: domain -> ``--value_range`` of its side; empty for the full scale.
        remembered: what the run's training noted.
        source: domain of the only images of a test in one direction.
        labels: domain -> ``--label_nc`` of its side; 0 for pictures.
        opacity: ``--alpha keep``: the last of 2 or 4 channels is opacity, which metrics leave out.
    """

    ranges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    remembered: Mapping[str, SideFormat] = field(default_factory=dict)
    source: str = "A"
    labels: Mapping[str, int] = field(default_factory=dict)
    opacity: bool = False

    def of(self, kind: Visual, batch: Batch, row: int) -> SideFormat:
        """How this visual of a batch's row is stored.

        A domain without a file in the batch takes what the run remembers; where it remembers nothing, the depth of the
        other domain, as earlier versions did. What lies in no domain is an 8-bit picture.
        """
        if not kind.domain or kind.colours:
            return SideFormat("uint8")
        keys = {self.source: "A_format", "B" if self.source == "A" else "A": "B_format"}
        given: Any = batch.get(keys[kind.domain])
        value_range = self.ranges.get(kind.domain, ())
        if labels := self.labels_of(kind):
            return SideFormat("uint8", channels=labels, labels=labels)
        if given is not None:
            return SideFormat(given[row], value_range)
        if kind.domain in self.remembered:
            return SideFormat(self.remembered[kind.domain].format, value_range)
        other: Any = batch.get("A_format") or batch.get("B_format") or ["uint8"] * (row + 1)
        return SideFormat(other[row], value_range)

    def labels_of(self, kind: Visual) -> int:
        """How many labels the maps of a visual have; 0 for a picture."""
        if not kind.domain or kind.colours:
            return 0
        remembered = self.remembered.get(kind.domain)
        return self.labels.get(kind.domain, 0) or (remembered.labels if remembered else 0)
