"""Make a folder of training images out of videos: every N-th frame as PNG, upright, in the right colours.

    python datasets/prepare_video.py a.mp4 b.mov --out datasets/street --every 25 --val_share 0.2
    python datasets/prepare_video.py day.mp4 --out datasets/day2night --phase trainA --every 25

The last part of each video becomes the validation set, in one piece: neighbouring frames are nearly equal, and a
network that has seen one has seen the other.

Exit code 0: done; 1: failed; 2: bad arguments or a video that cannot be read, and then nothing is written.
"""

from __future__ import annotations

import glob
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image
from tqdm import tqdm

from options.parse import parse_record
from options.schema import OptionError, OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.images.video import RGB, VideoSource, read_video
from util.run.folder import make_folder
from util.wording import counted


@dataclass(frozen=True, kw_only=True)
class VideoFolderOptions(OptionRecord):
    """Which videos, which of their frames, and where they go."""

    videos: tuple[str, ...] = arg((), positional=True, several=True, metavar="VIDEO", help="the videos")
    out: Path = arg(Path(), required=True, metavar="DIR", help="data set; gets the folders of the phases")
    every: int = arg(25, minimum=1, help="use frames 0, N, 2N, ... of each video")
    size: int = arg(0, minimum=0, maximum=16384, help="scale the shorter side to this many pixels; 0 = as it is")
    phase: str = arg("train", help="folder of the frames in --out, e.g. train, trainA, testB")
    val_share: float = arg(
        0.0,
        minimum=0.0,
        maximum=0.9,
        help="the last part of each video that goes to val (valA, valB) instead of train; 0 = none",
    )
    gap: float = arg(1.0, minimum=0.0, help="seconds that are left out between the two parts")

    def __post_init__(self) -> None:
        if len(PurePath(self.phase).parts) != 1 or self.phase in (".", ".."):
            raise OptionError(f"--phase {self.phase!r}: give the name of a folder, e.g. train or trainA")
        if self.val_share and not self.phase.startswith("train"):
            raise OptionError(f"--val_share {self.val_share:g}: it divides --phase train, trainA or trainB only")

    @property
    def val_phase(self) -> str:
        """Folder of the validation set."""
        return "val" + self.phase.removeprefix("train")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folders; returns the exit code."""
    return run_command("prepare_video.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/prepare_video.py", VideoFolderOptions, words, __doc__)
    sources = [read_video(name) for name in args.videos]
    _check_names(args, [source.path for source in sources])
    make_folder(args.out, f"--out {args.out}")
    draft = Path(tempfile.mkdtemp(prefix=".prepare_video.", dir=args.out))
    try:
        counts: Counter[str] = Counter()
        for source in sources:
            for note in source.notes:
                print(f"warning: {source.path}: {note}", file=sys.stderr)
            for phase, name, image in _chosen(args, source):
                (draft / phase).mkdir(exist_ok=True)
                Image.fromarray(image).save(draft / phase / name, compress_level=3)
                counts[phase] += 1
            print(f"{source.path}: {source.width}x{source.height}, {source.colours}")
        missing = {args.phase, *([args.val_phase] if args.val_share else ())} - counts.keys()
        if missing:
            raise ValueError(
                f"--every {args.every} --val_share {args.val_share:g} --gap {args.gap:g}: no frame is left for "
                f"{', '.join(sorted(missing))}; the videos are too short for that"
            )
        for phase in counts:
            (args.out / phase).mkdir(exist_ok=True)
            for file in sorted((draft / phase).iterdir()):
                file.replace(args.out / phase / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if not any(args.out.iterdir()):
            args.out.rmdir()
    for phase, count in sorted(counts.items()):
        print(f"{args.out / phase}: {counted(count, 'image')}")
    return EXIT_DONE


def _check_names(args: VideoFolderOptions, paths: Sequence[Path]) -> None:
    """Raises ValueError where two videos would get the same names, or images have them already."""
    first: dict[str, Path] = {}
    for path in paths:
        other = first.setdefault(path.stem, path)
        if other is not path:
            raise ValueError(f"{other}, {path}: the images are named after their video, and these have equal names")
        for phase in (args.phase, args.val_phase):
            there = sorted((args.out / phase).glob(f"{glob.escape(path.stem)}_[0-9][0-9][0-9][0-9][0-9][0-9].png"))
            if there:
                raise ValueError(f"--out {args.out}: {there[0]} exists; move the images of {path.name} away first")


def _chosen(args: VideoFolderOptions, source: VideoSource) -> Iterator[tuple[str, str, RGB]]:
    """Phase, file name and picture of the frames of a video."""
    train_until = val_from = float("inf")
    if args.val_share:
        first, last = source.span()
        val_from = first + (last - first) * (1 - args.val_share)
        train_until = val_from - args.gap
    with tqdm(total=source.count or None, unit=" frames", desc=source.path.name, disable=None) as bar:
        for frame in source.frames(args.every):
            bar.update(frame.number - bar.n)
            seconds = float(frame.pts * source.time_base)
            if seconds < train_until or seconds >= val_from:
                phase = args.phase if seconds < train_until else args.val_phase
                yield phase, f"{source.path.stem}_{frame.number:06d}.png", _scaled(frame.image, args.size, source)


def _scaled(image: RGB, size: int, source: VideoSource) -> RGB:
    """The picture with square pixels, its shorter side ``size`` pixels long; 0: as it is."""
    height, width = image.shape[:2]
    width = round(width * source.pixel_aspect)
    factor = size / min(height, width) if size else 1
    target = (max(round(width * factor), 1), max(round(height * factor), 1))
    if target == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(target, Image.Resampling.BICUBIC))


if __name__ == "__main__":
    sys.exit(main())
