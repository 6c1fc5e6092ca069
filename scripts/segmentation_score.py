"""Score label maps against the true ones: pixel accuracy, class accuracy, mean IoU.

The three numbers of the Cityscapes benchmark and of FCN scores, without Caffe. Label maps are colour pictures; each
pixel counts as the class of the nearest colour of the palette, so that JPEG files and generated maps can be read. With
--label_nc N they are index maps of the labels 0 to N-1, as test.py writes those of a side with --label_nc_A or _B.

    photo to labels, AtoB:  python scripts/segmentation_score.py --fake results/run/test_latest/images \\
                                --fake_suffix fake_B --real results/run/test_latest/images --real_suffix real_B
    labels to photo, BtoA:  let a segmentation network of your choice colour the generated photos, then
                            python scripts/segmentation_score.py --fake its_maps --real true_maps

Scores of the second kind depend on that network: compare only those made with the same one. Published FCN scores come
from an FCN-8s in Caffe, at 1024 x 2048 pixels.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import numpy as np
from numpy.typing import NDArray

from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import replace_text
from util.images.labels import LABEL_COLOURS, MOST_LABELS
from util.metrics.images import HALVES, FolderImages, Pixels, as_rgb, pairs
from util.run.folder import check_writable
from util.wording import counted

Colour = tuple[int, int, int]

CITYSCAPES: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
"""The 19 classes of the benchmark."""

CITYSCAPES_VOID: tuple[Colour, ...] = (
    *((0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140)),
    *((180, 165, 180), (150, 100, 100), (150, 120, 90), (0, 0, 90), (0, 0, 110)),
)
"""What does not count where the true map has it: unlabeled, dynamic, ground, parking, rail track, guard rail, bridge,
tunnel, caravan, trailer. Pole groups and license plates have the colours of poles and cars, and count as these."""


@dataclass(frozen=True)
class Scores:
    """Of a confusion matrix; ``per_class`` has accuracy and IoU, NaN where a class occurs on neither side."""

    pixel_accuracy: float
    class_accuracy: float
    mean_iou: float
    per_class: dict[str, tuple[float, float]]


def nearest(pixels: Pixels, palette: Sequence[Colour]) -> NDArray[np.intp]:
    """``[H, W]``: for every pixel of ``[H, W, 3]`` in 0..255 the number of the nearest colour."""
    colours = np.array(palette, np.float32)
    # |p - c|^2 = |p|^2 - 2 p c + |c|^2, and |p|^2 is the same for all colours.
    distance = (colours**2).sum(axis=1) - 2 * (pixels.astype(np.float32) @ colours.T)
    return np.asarray(distance.argmin(axis=2))


def confusion(fake: Pixels, real: Pixels, classes: Sequence[Colour], void: Sequence[Colour]) -> NDArray[np.int64]:
    """``[K, K]`` of pixels: row = true class, column = class of ``fake``; pixels that are truly void are left out."""
    truth, found, size = nearest(real, [*classes, *void]), nearest(fake, classes), len(classes)
    counted = truth < size
    return np.bincount(truth[counted] * size + found[counted], minlength=size * size).reshape(size, size)


def scores(matrix: NDArray[np.int64], names: Sequence[str]) -> Scores:
    """Pixel accuracy ``sum n_ii / sum n_ij``; means over classes of ``n_ii / t_i`` and ``n_ii / (t_i + p_i - n_ii)``.

    ``t_i`` are the true pixels of a class, ``p_i`` those found (Long et al. 2015, arXiv:1411.4038, Sec. 5). A mean
    leaves out the classes for which it would be 0 / 0.
    """
    right, true, found = (part.astype(np.float64) for part in (np.diag(matrix), matrix.sum(1), matrix.sum(0)))
    with np.errstate(invalid="ignore"):
        accuracy, iou = right / true, right / (true + found - right)
    per_class = {name: (float(a), float(i)) for name, a, i in zip(names, accuracy, iou)}
    means = (float(np.nanmean(accuracy)), float(np.nanmean(iou)))
    return Scores(float(right.sum() / true.sum()), *means, per_class)


def measure(
    fake: FolderImages, real: FolderImages, classes: Mapping[str, Colour], void: Sequence[Colour] = ()
) -> Scores:
    """The scores of all pairs of equal names, from one confusion matrix over all their pixels.

    Raises:
        ValueError: an image without a partner or of another size, or no pixel that counts.
    """
    total = np.zeros((len(classes), len(classes)), np.int64)
    for i, j in pairs(fake, real):
        made, truth = as_rgb(fake.read(i)), as_rgb(real.read(j))
        if made.shape != truth.shape:
            sizes = " and ".join(f"{a.shape[1]}x{a.shape[0]}" for a in (made, truth))
            raise ValueError(
                f"{fake.paths[i]} and {real.paths[j]} differ in size, {sizes}: scale them without blending"
            )
        total += confusion(made, truth, list(classes.values()), void)
    if not total.any():
        raise ValueError(f"--real {real.folder}: no pixel has a class of the palette; check --palette")
    return scores(total, list(classes))


def read_palette(file: Path) -> tuple[dict[str, Colour], list[Colour]]:
    """Classes and void colours of a JSON file, ``{"window": [0, 85, 255], ..., "void": [0, 0, 0]}``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds something else.
    """
    if not file.is_file():
        raise FileNotFoundError(f"--palette {file}: no such file; give cityscapes, or a JSON file")
    try:
        known = {str(name): (int(r), int(g), int(b)) for name, (r, g, b) in json.loads(file.read_text("utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'--palette {file}: expected {{"name": [red, green, blue], ...}} ({error})') from None
    void = [known.pop("void")] if "void" in known else []
    if not known:
        raise ValueError(f"--palette {file}: it names no class")
    return known, void


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(OptionRecord):
    """What is scored against what."""

    fake: Path = arg(Path(), required=True, metavar="DIR", help="folder of the label maps to score")
    fake_suffix: str = arg("", help="of --fake only the files whose name ends in _<suffix>, e.g. fake_B")
    fake_half: str = arg("", choices=HALVES, help="use only this half of every picture of --fake")
    real: Path = arg(Path(), required=True, metavar="DIR", help="folder of the true label maps, of the same names")
    real_suffix: str = arg("", help="of --real only the files whose name ends in _<suffix>, e.g. real_B")
    real_half: str = arg("", choices=HALVES, help="use only this half of every picture of --real")
    palette: str = arg("cityscapes", help='cityscapes, or a JSON file: {"name": [r, g, b], ...}')
    label_nc: int = arg(0, minimum=0, maximum=MOST_LABELS, help="index maps of the labels 0 to N-1; 0 = colour maps")
    output: Path | None = arg(None, metavar="FILE.json", help="also write the scores to this file")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the scores; returns the exit code."""
    return run_command("segmentation_score.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("scripts/segmentation_score.py", ScoreOptions, words, __doc__)
    if args.output:
        check_writable(args.output, f"--output {args.output}")
    if args.label_nc and args.palette != "cityscapes":
        raise ValueError(
            f"--label_nc {args.label_nc}: index maps have no --palette {args.palette}; leave one of them out"
        )
    classes, void = _classes(args)
    fake, real = (
        FolderImages(folder, flag, suffix=suffix, half=half, label_nc=args.label_nc)
        for flag, folder, suffix, half in (
            ("--fake", args.fake, args.fake_suffix, args.fake_half),
            ("--real", args.real, args.real_suffix, args.real_half),
        )
    )
    found = measure(fake, real, classes, void)
    print(f"{counted(len(fake), 'pair')}, {counted(len(classes), 'class', 'classes')}")
    for name in ("pixel_accuracy", "class_accuracy", "mean_iou"):
        print(f"{name.replace('_', ' ')}: {getattr(found, name):.4f}")
    for name, (accuracy, iou) in found.per_class.items():
        print(f"  {name}: accuracy {accuracy:.4f}, IoU {iou:.4f}")
    if args.output:
        replace_text(args.output, [json.dumps(_record(found, fake, real), indent=1), "\n"])
    return EXIT_DONE


def _classes(args: ScoreOptions) -> tuple[Mapping[str, Colour], Sequence[Colour]]:
    """Name -> colour of the classes, and the colours that do not count."""
    if args.label_nc:
        colours = LABEL_COLOURS[: args.label_nc].tolist()
        return {f"label {number}": (r, g, b) for number, (r, g, b) in enumerate(colours)}, ()
    return (CITYSCAPES, CITYSCAPES_VOID) if args.palette == "cityscapes" else read_palette(Path(args.palette))


def _record(found: Scores, fake: FolderImages, real: FolderImages) -> dict[str, Any]:
    """As JSON, where NaN is null."""
    per_class = {
        name: [None if np.isnan(value) else value for value in values] for name, values in found.per_class.items()
    }
    return {**vars(found), "per_class": per_class, "fake": fake.facts(), "real": real.facts()}


if __name__ == "__main__":
    sys.exit(main())
