"""Photos whose colours are to be found from their lightness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from data import DATASETS
from data.base_dataset import FileDataset
from data.transforms import Prepared, prepare
from options.base_options import DataOptions
from options.schema import OptionError
from util.images.folder import has_images, require_images
from util.images.io import Header
from util.images.lab import split_colours
from util.wording import counted

_PROBED = 16  # files whose headers say whether there are colours at all


@dataclass(frozen=True, kw_only=True)
class ColorizationDataOptions(DataOptions):
    """From lightness to colour is the only direction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction != "AtoB":
            raise OptionError(f"--direction {self.direction}: colorization goes from lightness (A) to colours (B) only")


@DATASETS.register("colorization")
class ColorizationDataset(FileDataset):
    """Photos in DATAROOT/PHASE: A is their lightness L*, B their colours a* and b*.

    ``A = L* / 50 - 1`` and ``B = (a*, b*) / 110`` of CIE L*a*b* of the scaled, cropped and flipped picture, which
    is taken for sRGB. For a test the photos may lie in DATAROOT itself.

    A grey file among colour ones has ``B = 0``. Where all of the files looked at are grey there is no B at all: such
    a folder can be coloured, but not trained on.
    """

    Options = ColorizationDataOptions
    option_defaults: ClassVar[Mapping[str, object]] = {"input_nc": 1, "output_nc": 2}
    paired: ClassVar[bool] = True
    layout: ClassVar[str] = "single"

    def __init__(self, options: DataOptions, *, input_nc: int, output_nc: int, seed: int = 0) -> None:
        super().__init__(options, input_nc=input_nc, output_nc=output_nc, seed=seed)
        for flag, value, needed in (("input_nc", input_nc, 1), ("output_nc", output_nc, 2)):
            if value != needed:
                raise ValueError(
                    f"--{flag} {value}: --dataset_mode colorization gives L* (1 channel) and a* and b* (2), "
                    f"so this has to be {needed}"
                )
        self.root = _photo_root(self.dataroot, options.phase)
        flags = f"--dataroot {options.dataroot} --phase {options.phase}"
        self._paths = require_images(self.root, flags=flags, max_size=options.max_dataset_size)
        self.why_missing = {"B": "the photos of --dataroot are grey; it needs photos in colour to compare with"}
        self.has_colours = any(not _is_grey(header) for _, header in self.headers(_PROBED))

    def counts(self) -> dict[str, int]:
        return {"photos" if self.has_colours else "grey photos": len(self)}

    def decode(self, unit: int) -> dict[str, Prepared]:
        path = self._paths[unit]
        picture = self.read(path)
        if (channels := picture.array.shape[2]) not in (1, 3):
            raise ValueError(
                f"{path}: has {counted(channels, 'channel')} with --alpha {self.options.alpha}, but colorization reads "
                f"colour (3) and grey (1): take the file out, or give --alpha drop or white"
            )
        return {"rgb": prepare(picture, 3, self.options, path=path, flag="input_nc", side=self.options.side("A"))}

    def sample(self, epoch: int, index: int) -> dict[str, Any]:
        rgb = self.fetch(index)["rgb"]
        a, b = split_colours(self.tensor(rgb, self.place(self.rng(epoch, index), rgb)))
        path = self._paths[index]
        sample = {"A": a, "A_paths": path, "A_format": rgb.format, "index": index}
        return {**sample, "B": b, "B_paths": path, "B_format": rgb.format} if self.has_colours else sample


def _is_grey(header: Header) -> bool:
    return header.channels - header.alpha == 1


def _photo_root(dataroot: Path, phase: str) -> Path:
    """The phase's folder; the data root itself only for a test: no run is evaluated on what it is trained on."""
    folder = dataroot / phase
    return dataroot if phase == "test" and not folder.is_dir() and has_images(dataroot) else folder
