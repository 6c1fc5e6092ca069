"""Options of scripts/export.py, beside those of test.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from options.schema import OptionError, OptionRecord, arg

EXPORT_FORMATS = ("onnx", "torch", "openvino")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(OptionRecord):
    """What is exported, how, and what it is compared on."""

    title: ClassVar[str] = "the export and what it is compared on"

    format: str = arg(
        "onnx",
        choices=EXPORT_FORMATS,
        help="onnx: one .onnx file; torch: a .pt2 of torch.export; openvino: an .xml with its .bin beside it",
    )
    output: str = arg(
        "",
        metavar="FILE",
        help="file to write (default: <tag>_<direction>.onnx, .pt2 or .xml in the run's folder)",
    )
    report: str = arg(
        "", metavar="DIR", help="folder of the page that compares (default: <results_dir>/<name>/export_<epoch>)"
    )
    size: tuple[int, ...] = arg(
        (), metavar="HEIGHT,WIDTH", help="fix the size of the images (default: any size that the network takes)"
    )
    with_processing: bool = arg(
        False, help="take and give pictures as files hold them, e.g. uint8 [N, H, W, C], of any size"
    )
    translation_only: bool = arg(
        False, help="leave out what a model gives beside its translation: confidence, attention, W of ATME"
    )
    external_data: bool = arg(False, help="--format onnx: weights in a file of their own, FILE.data")
    opset: int = arg(20, minimum=18, maximum=23, help="version of ONNX's operators")
    images: str = arg(
        "", metavar="DIR", help="compare on the images of this folder (default: those that test.py would read)"
    )
    num_images: int = arg(8, minimum=1, help="compare on this many images at most")
    tolerance: float = arg(
        0.001,
        minimum=0.0,
        help="largest difference allowed, of values in [-1, 1]; of label maps by --with_processing, share of pixels "
        "with another label; above it the exit code is 1",
    )

    def __post_init__(self) -> None:
        if len(self.size) not in (0, 2) or any(each < 1 for each in self.size):
            raise OptionError(f"--size {','.join(map(str, self.size))}: give HEIGHT,WIDTH in pixels, e.g. 256,256")
        if self.external_data and self.format != "onnx":
            raise OptionError(f"--external_data: only --format onnx has it, --format {self.format} does not")
