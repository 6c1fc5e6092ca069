"""A measured number with its protocol, and the ``metrics.json`` that keeps such numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from util.files import locked, replace_text
from util.metrics import METRICS, fixed
from util.types import EpochRecord

FILE_NAME = "metrics.json"
FORMAT = 1


@dataclass(frozen=True)
class Number:
    """A number, its spread, how it was made, and what to know before using it."""

    value: float
    std: float | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        name: full name, with that of the extractor where there is one: ``kid_inception``, ``psnr``.
        short: the metric's key in ``METRICS``.
        value: in the units of the metric; not scaled.
        std: its spread (subsets of KID, splits of IS, pairs of PSNR...), in the same units; None where there is none.
        protocol: how it was measured: counts, sizes, seeds, extractor, hashes, versions. JSON values only.
        notes: what a reader must know to use the number, in sentences.
        folder: the result folder it belongs to (``test_latest``); empty for free folders of images.
        tag: the checkpoint's tag; empty when unknown.
        domain: ``B`` for ``fake_B``, ``A`` for ``fake_A``.
    """

    name: str
    short: str
    value: float
    std: float | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    folder: str = ""
    tag: str = ""
    domain: str = "B"

    @property
    def title(self) -> str:
        """Heading of its column: with the extractor's name unless that is the Inception network of the definition."""
        return title(self.name, self.short, self.domain)

    @property
    def higher_is_better(self) -> bool:
        """The direction of better."""
        return METRICS[self.short].higher_is_better

    @property
    def scaled(self) -> tuple[float, float | None]:
        """Value and spread as they are shown: KID x100."""
        scale = METRICS[self.short].scale
        return self.value * scale, None if self.std is None else self.std * scale

    @property
    def shown(self) -> str:
        """The number as it is printed: scaled, ``mean +/- std`` where it has a spread."""
        decimals = METRICS[self.short].decimals
        value, std = self.scaled
        return fixed(value, decimals) + ("" if std is None else f" +/- {fixed(std, decimals)}")


class _NewerFormat(ValueError):
    """Written by a newer version: nothing to delete."""


def title(name: str, short: str, domain: str = "B") -> str:
    """Heading of a number's column, e.g. ``KID x100``, ``KID_efficientnet_lite0 x100``, ``PSNR (A)``."""
    head, _, tail = METRICS[short].title.partition(" ")
    suffix = name.removeprefix(short).removeprefix("_")
    if suffix and suffix != "inception":
        if short == "mean_kid":
            return f"mean KID_{suffix} {tail.partition(' ')[2]}" + ("" if domain == "B" else f" ({domain})")
        head = f"{head}_{suffix}"
    return " ".join(filter(None, [head, tail])) + ("" if domain == "B" else f" ({domain})")


def short_name(full_name: str) -> str | None:
    """The key of ``METRICS`` that a stored name begins with, the longest one; None for a name of no known metric.

    >>> short_name("mean_kid_inception")
    'mean_kid'
    """
    known = [key for key in METRICS if full_name == key or full_name.startswith(f"{key}_")]
    return max(known, key=len, default=None)


def metric_title(full_name: str) -> str:
    """Heading of a metric by its full name: ``KID x100``; the name itself for an unknown metric."""
    short = short_name(full_name)
    return full_name if short is None else title(full_name, short)


def scaled(metrics: Mapping[str, float]) -> dict[str, float]:
    """Values by full name, in the units of their ``metric_title``."""
    shorts = {name: short_name(name) for name in metrics}
    return {name: value * METRICS[short].scale if (short := shorts[name]) else value for name, value in metrics.items()}


def metrics_line(record: EpochRecord) -> str:
    """What was measured after an epoch, in one line: ``epoch 5: KID x100 12.34, PSNR 21.40``."""
    shown = []
    for name, value in scaled(record.metrics).items():
        short = short_name(name)
        shown.append(f"{metric_title(name)} {fixed(value, METRICS[short].decimals if short else 4)}")
    return f"epoch {record.epoch}: {', '.join(shown)}"


def read_measurements(file: Path) -> list[Measurement]:
    """What a ``metrics.json`` holds, in its order; empty when there is no such file.

    Raises:
        ValueError: the file is damaged or of a newer version.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise _NewerFormat(
                f"{file}: in format {content['format']}, this version reads {FORMAT}; update the program"
            )
        return [_from_json(entry) for entry in content["measurements"]]
    except FileNotFoundError:
        return []
    except _NewerFormat:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); delete it, the numbers can be measured again") from None


def update_measurements(file: Path, new: Sequence[Measurement]) -> list[Measurement]:
    """Put numbers into a ``metrics.json``; returns all that it holds then.

    One of the same name, folder and domain gives way, and so do those of pictures that are no longer in that folder.
    Several processes may add to one file, such as those that measure checkpoints of one run.

    Raises:
        ValueError: the file there is damaged.
        OSError: it cannot be written.
    """
    fresh = {_key(each): each for each in new}
    pictures = {(each.folder, each.domain): _pictures(each) for each in new if each.folder}
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.parent, f"another process writes {file}"):
        return _merged(file, fresh, pictures)


def _merged(
    file: Path, fresh: dict[tuple[str, str, str], Measurement], pictures: Mapping[tuple[str, str], str]
) -> list[Measurement]:
    known = read_measurements(file)
    gone = [each for each in known if pictures.get((each.folder, each.domain), _pictures(each)) != _pictures(each)]
    merged = [fresh.pop(_key(each), each) for each in known if each not in gone or _key(each) in fresh]
    merged += list(fresh.values())
    content = {"format": FORMAT, "measurements": [_to_json(each) for each in merged]}
    replace_text(file, [json.dumps(content, indent=2, allow_nan=False) + "\n"])
    return merged


def columns(measurements: Iterable[Measurement]) -> list[tuple[str, str]]:
    """(name, domain) of every number that occurs, in the order of ``METRICS``: the columns of a table."""
    order = list(METRICS)
    found = {
        (each.name, each.domain): (each.domain != "B", order.index(each.short), each.name) for each in measurements
    }
    return sorted(found, key=lambda key: found[key])


def _pictures(each: Measurement) -> str:
    """Hash of the generated files; empty where none is known."""
    return str(each.protocol.get("fake", {}).get("content", ""))


def _key(each: Measurement) -> tuple[str, str, str]:
    return each.name, each.folder, each.domain


def _to_json(each: Measurement) -> dict[str, Any]:
    return {
        "name": each.name,
        "metric": each.short,
        "folder": each.folder,
        "tag": each.tag,
        "domain": each.domain,
        "title": each.title,
        "shown": each.shown,
        "value": _number(each.value),
        "std": None if each.std is None else _number(each.std),
        "better": "higher" if each.higher_is_better else "lower",
        "notes": list(each.notes),
        "protocol": dict(each.protocol),
    }


def _from_json(entry: Mapping[str, Any]) -> Measurement:
    short = str(entry["metric"])
    if short not in METRICS:
        raise ValueError(f"unknown metric {short}")
    std = entry["std"]
    return Measurement(
        name=str(entry["name"]),
        short=short,
        value=float(entry["value"]),
        std=None if std is None else float(std),
        protocol=dict(entry["protocol"]),
        notes=tuple(str(note) for note in entry["notes"]),
        folder=str(entry["folder"]),
        tag=str(entry["tag"]),
        domain=str(entry["domain"]),
    )


def _number(value: float) -> float | str:
    """JSON knows no infinity and no NaN; ``float()`` reads these words."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
