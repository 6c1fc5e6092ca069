"""Options of scripts/translate.py beside those of a test."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from options.schema import OptionError, OptionRecord, arg
from util.types import STORED, VIEWS

FORMATS = ("png", "jpg", "tif", "webp")
ENGINES = ("torch", "onnxruntime", "openvino")
FOR_ONE_KIND = {
    "quality": ("pictures", "--crf is the quality of videos"),
    "format": ("pictures", "the suffix of --output says what kind of video or volume is written"),
    "save_maps": ("pictures", "leave it out"),
    "crf": ("videos", "--quality is the quality of pictures"),
    "every": ("videos", "leave it out"),
    "views": ("volumes", "leave it out"),
    "with_runs": ("volumes", "leave it out"),
}
"""Flag -> the inputs that it is for, and what to do where there are none of them."""


@dataclass(frozen=True, kw_only=True)
class TranslateOptions(OptionRecord):
    """Which pictures are translated, how large ones are cut, and how the results are written."""

    title: ClassVar[str] = "what is translated and how it is written"

    inputs: tuple[str, ...] = arg(
        (),
        positional=True,
        several=True,
        metavar="INPUT",
        help="pictures, folders of them (and all below), videos, or volumes and folders of a DICOM series; - "
        "reads one name per line from standard input",
    )
    output: str = arg(
        "", required=True, metavar="PATH", help="folder of the results; of a single picture a file name is possible"
    )
    format: str = arg(
        "",
        choices=("", *FORMATS),
        help="kind of file; what it cannot hold becomes PNG or TIFF (default: that of --output, else png)",
    )
    quality: int = arg(95, minimum=1, maximum=100, help="quality of JPEG and WebP; WebP of 100 is lossless")
    crf: int = arg(
        18,
        minimum=0,
        maximum=51,
        help="constant rate factor of videos: 0 is the best and largest, 51 the worst; 18 is hard to tell from 0",
    )
    existing: str = arg(
        "refuse", choices=("refuse", "skip", "replace"), help="what to do where a result is there already"
    )
    save_maps: bool = arg(False, help="also write what the model gives beside the translation, as NAME_<map>.npy")
    tile: int = arg(
        0, minimum=0, help="cut larger pictures into squares of this size (default: what --max_memory needs)"
    )
    overlap: int = arg(-1, minimum=-1, help="pixels that neighbouring tiles share, where they are blended (-1: 64)")
    max_memory: float = arg(
        2.0, minimum=0.0, help="GB that one pass may take; larger pictures are cut into tiles; 0 = never"
    )
    tile_passes: int = arg(
        1,
        minimum=0,
        help="passes over all tiles that gather the whole picture's statistics for instance norm before the one that "
        "counts; 0 = each tile has its own",
    )
    views: tuple[str, ...] = arg(
        (),
        metavar="VIEW,...",
        help="direction of a volume's slices, axial, coronal, sagittal or stored: one for each run (default: that of "
        "the run's data set)",
    )
    with_runs: tuple[str, ...] = arg(
        (), metavar="NAME,...", help="average a volume's translation with those of these runs, of other views"
    )
    engine: str = arg(
        "torch",
        choices=ENGINES,
        help="what runs the network: torch (with --exported a .pt2), or onnxruntime or openvino an export of the run",
    )
    exported: str = arg(
        "", metavar="FILE", help="the file of scripts/export.py that --engine runs (default: the run's own)"
    )
    every: int = arg(1, minimum=1, help="of a video: translate frames 0, N, 2N, ... only; their times stay")

    def __post_init__(self) -> None:
        views = (*VIEWS, STORED)
        if wrong := [view for view in self.views if view not in views]:
            raise OptionError(f"--views {wrong[0]}: choose from {', '.join(views)}")
        if self.views and len(self.views) != 1 + len(self.with_runs):
            raise OptionError(
                f"--views {','.join(self.views)}: give one view for --name and one for each of --with_runs"
            )
        if self.exported and self.engine == "torch" and not self.exported.endswith(".pt2"):
            raise OptionError(f"--exported {self.exported}: say by --engine what runs it: onnxruntime or openvino")
        if self.exported and self.with_runs:
            raise OptionError(f"--exported {self.exported}: is of one run; leave it out to use the exports of all runs")


def check_flags(given: Collection[str], kinds: Collection[str]) -> None:
    """Refuse flags without effect.

    Args:
        given: names of the flags on the command line.
        kinds: of the inputs: ``pictures``, ``videos``, ``volumes``.

    Raises:
        ValueError: a flag is for inputs of another kind.
    """
    for flag, (kind, remedy) in FOR_ONE_KIND.items():
        if flag in given and kind not in kinds:
            raise ValueError(f"--{flag}: is for {kind}; {remedy}")
