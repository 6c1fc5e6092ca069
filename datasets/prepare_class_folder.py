"""Make a data set of squares from labelled photos: a folder a class, or a tar file of one tar a class (ImageNet).

The shorter side is scaled, the middle cut out, each file written whole under its own name. A second call goes on; it is
refused where it would put a picture into a second phase, or beside itself in another format.
"""

from __future__ import annotations

import csv
import functools
import io
import os
import shlex
import sys
import tarfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from data.class_folder_dataset import PHASES, class_names_below
from data.transforms import centred_corner, shorter_to
from models.sagan.sample_options import IMAGE_SIZES
from options.parse import parse_record
from options.schema import OptionRecord, arg
from util.exit_code import EXIT_DONE, run_command
from util.files import real_path, replace_text, replacing
from util.images.decode import decode
from util.images.folder import describe, has_images, is_image, natural_key, subfolders
from util.run.class_names import write_label_map
from util.wording import counted

_JPEG, _PNG = (".jpg", ".jpeg"), (".png",)
_KINDS = {"keep": _JPEG + _PNG, "jpeg": _JPEG, "png": _PNG}
KINDS = tuple(_KINDS)
"""Of the squares: suffixes that stay as they are."""


@dataclass(frozen=True)
class Source:
    """One file of the input.

    Attributes:
        phase: that its square belongs to.
        class_name: name of the class folder.
        name: of the file below the class.
        target: of the square below the class.
        read: gives the bytes; None for a tar file of a class that is broken.
        other_targets: of the square in another format, where no square of this format has that name.
        other_phase: where the square belongs by another division; empty where IN or ``--phase`` names the phase.
    """

    phase: str
    class_name: str
    name: str
    target: str
    read: Callable[[], bytes] | None
    other_targets: tuple[str, ...] = ()
    other_phase: str = ""


@contextmanager
def open_sources(
    source: Path, *, phase: str, val_fraction: float, kind: str
) -> Iterator[tuple[Callable[[], Iterator[Source]], int | None]]:
    """What gives the files of a folder or a tar file, as often as it is called, and how many there are, if known.

    To be used inside ``with``.

    Args:
        source: IN.
        phase: ``--phase``; empty for ``train``, or those that ``source`` has.
        val_fraction: ``--val_fraction``.
        kind: of the squares, see ``target_names``.

    Raises:
        FileNotFoundError: nothing is there, or no class folders.
        ValueError: flags that contradict what is there, or a broken or compressed tar file.
    """
    if phase and val_fraction:
        raise ValueError(
            f"--val_fraction {val_fraction:g} divides into train and val, --phase {phase} does not: give one"
        )
    if source.is_file():
        try:
            with tarfile.open(source, "r:") as outer:

                def in_tar() -> Iterator[Source]:
                    found = _tar_sources(outer, phase or "train", kind)
                    return found if phase else _divided(found, val_fraction)

                yield in_tar, None
        except tarfile.TarError as error:
            raise ValueError(
                f"{source}: cannot be read as an uncompressed tar file ({error}): unpack it if it is compressed, "
                f"download it again if it is broken"
            ) from None
    else:
        listing, has_phases = _listing(source, phase, val_fraction)

        def in_folders() -> Iterator[Source]:
            found = (
                each for folder in listing for each in _sources(*folder[:3], kind, functools.partial(_read, folder[3]))
            )
            return found if phase or has_phases else _divided(found, val_fraction)

        yield in_folders, sum(len(files) for _, _, files, _ in listing)


def _listing(source: Path, phase: str, val_fraction: float) -> tuple[list[tuple[str, str, list[str], Path]], bool]:
    """Phase, class, files and folder of every class; and whether the phases are those of the folder."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: there is no such folder or file")
    phases = [name for name in PHASES if subfolders(source / name)]
    if phases and (phase or val_fraction):
        flag = f"--phase {phase}" if phase else f"--val_fraction {val_fraction:g}"
        raise ValueError(
            f"{flag}: {source} has the phases {', '.join(phases)} already: leave the flag out, "
            f"or give one of these folders as IN"
        )
    roots = {name: source / name for name in phases} or {phase or "train": source}
    classes = [(phase, name, root / name) for phase, root in roots.items() for name in sorted(subfolders(root))]
    listing = [(phase, name, files_below(folder), folder) for phase, name, folder in classes]
    if not any(files for _, _, files, _ in listing):
        raise FileNotFoundError(f"{source}: no class folders with files; {describe(source)}")
    for root in roots.values():
        if has_images(root):
            print(f"warning: images in {root} itself have no class and are left out", file=sys.stderr)
    return listing, bool(phases)


def files_below(root: Path) -> list[str]:
    """Paths below a class folder, hidden ones left out, in natural order; none if it does not exist."""
    files = []
    for folder, inside, names in os.walk(root):
        inside[:] = [each for each in inside if not each.startswith(".")]
        below = Path(folder).relative_to(root)
        files += [(below / each).as_posix() for each in names if not each.startswith(".")]
    return sorted(files, key=natural_key)


def _read(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def _sources(phase: str, name: str, files: list[str], kind: str, read: Callable[[str], bytes]) -> list[Source]:
    targets = target_names(files, kind)
    own, others = set(targets.values()), [target_names(files, other) for other in KINDS if other != kind]
    return [
        Source(
            *(phase, name, file, targets[file], functools.partial(read, file)),
            other_targets=tuple(sorted({names[file] for names in others} - own)),
        )
        for file in files
    ]


def target_names(names: Iterable[str], kind: str) -> dict[str, str]:
    """File of a class -> its square: the same name, with the suffix of its kind.

    ``a.bmp`` becomes ``a.png``; beside an ``a.png`` it becomes ``a.bmp.png``.

    Args:
        names: of all files of the class.
        kind: ``jpeg``, ``png``, or ``keep`` for that of the file where it is one of them, else PNG.
    """
    fitting = _KINDS[kind]
    suffix = ".jpg" if kind == "jpeg" else ".png"
    found, others = {}, []
    for name in names:
        if PurePosixPath(name).suffix.lower() in fitting:
            found[name] = name
        else:
            others.append(name)
    taken = set(found)
    for name in others:
        wanted = str(PurePosixPath(name).with_suffix(suffix))
        found[name] = wanted if wanted not in taken else name + suffix
        taken.add(found[name])
    return found


def _tar_sources(outer: tarfile.TarFile, phase: str, kind: str) -> Iterator[Source]:
    """The files of a tar file whose members are tar files, one per class; nothing is unpacked to the disk.

    Names inside count by their last part only, hidden ones are left out, so that none leads out of its class. The files
    are read when their ``read`` is called, one at a time: ``outer`` stays open until then.

    Raises:
        ValueError: no tar files inside.
        tarfile.TarError: it is cut off.
    """
    members = [each for each in outer if each.name.endswith(".tar") and _is_shown(each)]
    if not members:
        raise ValueError(
            f"{os.fsdecode(outer.name or '')}: holds no .tar file per class: "
            f"unpack it, and give the folder of class folders"
        )
    lock = threading.Lock()
    for member in members:
        yield from _class_tar(outer, member, phase, kind, lock)


def _class_tar(
    outer: tarfile.TarFile, member: tarfile.TarInfo, phase: str, kind: str, lock: threading.Lock
) -> list[Source]:
    name = PurePosixPath(member.name).stem
    try:
        with lock:
            inner = tarfile.open(fileobj=outer.extractfile(member), mode="r:")  # noqa: SIM115 (read by the workers later)
            files = {PurePosixPath(each.name).name: each for each in inner if _is_shown(each)}
    except tarfile.TarError:
        return [Source(phase, name, f"{name}.tar", "", None)]

    def read(file: str) -> bytes:
        with lock:
            content = inner.extractfile(files[file])
            return b"" if content is None else content.read()

    return _sources(phase, name, sorted(files, key=natural_key), kind, read)


def _is_shown(member: tarfile.TarInfo) -> bool:
    return member.isfile() and not PurePosixPath(member.name).name.startswith(".")


def _divided(sources: Iterable[Source], fraction: float) -> Iterator[Source]:
    """Every source in ``train`` or ``val``: by a hash of class and name, so that more files move none of the others."""
    for source in sources:
        digest = hashlib.blake2b(f"{source.class_name}/{source.name}".encode("utf-8", "surrogateescape"), digest_size=8)
        held_out = int.from_bytes(digest.digest(), "big") < fraction * 2**64
        phase, other = ("val", "train") if held_out else ("train", "val")
        yield replace(source, phase=phase, other_phase=other)


TOO_SMALL, UNREADABLE, NO_IMAGE = "too small", "unreadable", "no image"
_SHOWN = 20  # classes with skipped files in the report


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What becomes of a picture.

    Attributes:
        size: width and height of the squares.
        min_size: pictures with a shorter side than this are skipped; 0 = none.
        quality: of JPEG.
    """

    size: int = 256
    min_size: int = 256
    quality: int = 95


@dataclass
class Result:
    """What was done: counts, and (source, reason) of what was skipped."""

    made: int = 0
    there: int = 0
    skipped: list[tuple[Source, str]] = field(default_factory=list)


def square(array: NDArray[Any], size: int) -> Image.Image:
    """The middle of a picture uint8 ``[H, W, 3]``, its shorter side scaled to ``size``."""
    width, height = shorter_to(array.shape[1], array.shape[0], size)
    scaled = Image.fromarray(array).resize((width, height), Image.Resampling.LANCZOS)
    x, y = centred_corner(width, height, size)
    return scaled.crop((x, y, x + size, y + size))


def _rgb8(array: NDArray[Any]) -> NDArray[np.uint8] | None:
    """``[H, W, 3]`` of 8 bit; None for what is neither grey nor colour of 8 or 16 bit."""
    if array.dtype == np.uint16:
        array = np.rint(array / 257).astype(np.uint8)  # 65535 / 255
    if array.dtype != np.uint8 or array.shape[2] not in (1, 3):
        return None
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def make(source: Source, out: Path, recipe: Recipe) -> str:
    """Write one square; returns ``made``, ``there`` if it was there already, or why there is none.

    Raises:
        OSError: the square cannot be written.
    """
    if source.read is None:
        return UNREADABLE
    if not is_image(PurePosixPath(source.name).name):
        return NO_IMAGE
    target = out / source.phase / source.class_name / source.target
    if _is_whole(target, recipe.size):
        return "there"
    try:
        pixels = _rgb8(decode(source.name, source.read(), "white").array)
    except (ValueError, OSError, EOFError, zlib.error, tarfile.TarError):  # the picture, or the archive around it
        return UNREADABLE
    if pixels is None:
        return NO_IMAGE
    if min(pixels.shape[:2]) < recipe.min_size:
        return TOO_SMALL
    picture = square(pixels, recipe.size)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        if target.suffix.lower() != ".png":
            # Full colour resolution in good quality, as ImageMagick does it.
            picture.save(temporary, "JPEG", quality=recipe.quality, subsampling=0 if recipe.quality >= 90 else 2)
        else:
            picture.save(temporary, "PNG")
    return "made"


def _is_whole(file: Path, size: int) -> bool:
    try:
        with Image.open(file) as picture:
            picture.load()
            return picture.size == (size, size)
    except (OSError, SyntaxError, ValueError):  # no such file, too
        return False


def prepare(sources: Iterable[Source], out: Path, recipe: Recipe, *, workers: int, total: int | None = None) -> Result:
    """Make all squares in ``out``/PHASE/CLASS.

    Args:
        sources: the files.
        out: folder of the data set.
        recipe: see there.
        workers: threads.
        total: number of the sources, for the progress.
    """
    result = Result()
    pool = ThreadPoolExecutor(workers)
    try:
        done = _in_order(pool, lambda source: make(source, out, recipe), sources, ahead=4 * workers)
        for source, outcome in tqdm(done, out.name, total, unit="image", disable=None):
            if outcome == "made":
                result.made += 1
            elif outcome == "there":
                result.there += 1
            else:
                result.skipped.append((source, outcome))
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C: those that are being written, no more
    return result


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Source], str], sources: Iterable[Source], *, ahead: int
) -> Iterator[tuple[Source, str]]:
    """Sources and what ``work`` gives for them, in order; at most ``ahead`` of them are under way."""
    waiting: deque[tuple[Source, Future[str]]] = deque()
    for source in sources:
        waiting.append((source, pool.submit(work, source)))
        if len(waiting) >= ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def refuse_second_squares(sources: Iterable[Source], out: Path, *, val_fraction: float, kind: str) -> None:
    """Refuse a call that would make squares again that an earlier call put elsewhere. Writes nothing.

    A picture in ``val`` as well as in ``train`` would make every measurement too good.

    Args:
        sources: all files.
        out: folder of the data set.
        val_fraction: ``--val_fraction``.
        kind: ``--format``.

    Raises:
        ValueError: how many there are, and where the first is.
    """
    there = functools.lru_cache(maxsize=4)(lambda folder: frozenset(files_below(out / folder)))
    divided, formatted = [], []
    for source in sources:
        if source.other_phase:
            folder = f"{source.other_phase}/{source.class_name}"
            divided += [f"{folder}/{name}" for name in (source.target, *source.other_targets) if name in there(folder)]
        folder = f"{source.phase}/{source.class_name}"
        formatted += [f"{folder}/{name}" for name in source.other_targets if name in there(folder)]
    if divided:
        named = "" if val_fraction else "; --phase train, if these are other pictures of the same names"
        raise ValueError(
            f"--val_fraction {val_fraction:g}: {_files(divided)} of {out} would be in two phases, such as "
            f"{divided[0]}: give the --val_fraction of the first call, or another OUT{named}"
        )
    if formatted:
        raise ValueError(
            f"--format {kind}: {_files(formatted)} of {out} would be there in two formats, such as {formatted[0]}: "
            "give the --format of the first call, or another OUT"
        )


def _files(names: Sequence[str]) -> str:
    return counted(len(names), "file")


# --- the command ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ClassFolderCommand(OptionRecord):
    """The photos, and the squares they become."""

    source: Path = arg(
        Path(), positional=True, metavar="IN", help="folder of class folders (or of train, val, test); or .tar"
    )
    out: Path = arg(Path(), positional=True, metavar="OUT", help="gets PHASE/CLASS/* and dirname_to_label.txt")
    size: int = arg(256, help="width and height of the squares in pixels")
    min_size: int | None = arg(None, help="skip pictures with a shorter side than this (default: --size)")
    keep_small: bool = arg(False, help="scale small pictures up, skip none")
    quality: int = arg(95, help="quality of JPEG files, 1 to 100")
    format: str = arg("keep", choices=KINDS, help="format of the squares; keep: JPEG and PNG stay")
    phase: str = arg("", help="which phase these are, where IN has no phases (default: train)")
    val_fraction: float = arg(0.0, help="put this share of every class into val")
    workers: int | None = arg(None, help="files treated at a time (default: as many as the machine has cores)")


def report(result: Result, out: Path) -> None:
    """Print what was done, write ``out``/skipped.csv, and the label of every class to ``out``/dirname_to_label.txt."""
    reasons = Counter(reason for _, reason in result.skipped)
    skipped = f"{len(result.skipped)} skipped" + (f" ({_counted(reasons)})" if reasons else "")
    print(f"{out}: {result.made} made, {result.there} there already, {skipped}")
    by_class: dict[str, Counter[str]] = {}
    for source, reason in result.skipped:
        by_class.setdefault(f"{source.phase}/{source.class_name}", Counter())[reason] += 1
    for name, counts in list(by_class.items())[:_SHOWN]:
        print(f"  skipped of {name}: {_counted(counts)}")
    if len(by_class) > _SHOWN:
        print(f"  and of {counted(len(by_class) - _SHOWN, 'more class', 'more classes')}")
    listing = out / "skipped.csv"
    if result.skipped:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["phase", "class", "file", "reason"])
        writer.writerows([source.phase, source.class_name, source.name, reason] for source, reason in result.skipped)
        out.mkdir(parents=True, exist_ok=True)
        replace_text(listing, [text.getvalue()])
        print(f"warning: some files were skipped; {listing} names them", file=sys.stderr)
    else:
        listing.unlink(missing_ok=True)
    if not result.made + result.there:
        raise ValueError(f"none of {len(result.skipped)} files became a square: {_counted(reasons)}")
    names = sorted({name for phase in subfolders(out) for name in class_names_below(out / phase)})
    write_label_map(out / "dirname_to_label.txt", names)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


def main(argv: Sequence[str] | None = None) -> int:
    """Make the squares; returns the exit code: 0 done, 2 bad arguments or nothing made, 130 interrupted."""
    return run_command("prepare_class_folder.py", argv, _run)


def _run(words: list[str]) -> int:
    args = parse_record("datasets/prepare_class_folder.py", ClassFolderCommand, words, __doc__)
    _check(args)
    least = 0 if args.keep_small else args.size if args.min_size is None else args.min_size
    recipe = Recipe(size=args.size, min_size=least, quality=args.quality)
    where: dict[str, Any] = {"phase": args.phase, "val_fraction": args.val_fraction, "kind": args.format}
    with open_sources(args.source, **where) as (sources, total):
        if subfolders(args.out):
            refuse_second_squares(sources(), args.out, val_fraction=args.val_fraction, kind=args.format)
        result = prepare(sources(), args.out, recipe, workers=args.workers or os.cpu_count() or 1, total=total)
    report(result, args.out)
    fitting = [each for each in IMAGE_SIZES if each <= args.size] or IMAGE_SIZES[:1]
    words = ["--dataroot", str(args.out), "--name", "run", "--model", "sagan", "--image_size", str(max(fitting))]
    print(f"train with: python train.py {shlex.join(words)}")
    return EXIT_DONE


def _check(args: ClassFolderCommand) -> None:
    for flag, low, high in (("size", 1, 16384), ("min_size", 0, 16384), ("quality", 1, 100), ("workers", 1, 1024)):
        value = getattr(args, flag)
        if value is not None and not low <= value <= high:
            raise ValueError(f"--{flag} {value}: give a number from {low} to {high}")
    if args.keep_small and args.min_size is not None:
        raise ValueError(f"--min_size {args.min_size} skips small pictures, --keep_small keeps them: give one of them")
    if not 0 <= args.val_fraction < 1:
        raise ValueError(f"--val_fraction {args.val_fraction:g}: give a number from 0 up to 1, e.g. 0.1")
    if PurePosixPath(args.phase).name != args.phase:
        raise ValueError(f"--phase {args.phase}: give the name of a folder, e.g. val")
    source, out = real_path(args.source), real_path(args.out)
    if out == source or source in out.parents:
        raise ValueError(f"OUT {args.out} lies in IN {args.source}: give a folder beside it")
    if out.exists() and not out.is_dir():
        raise ValueError(f"OUT {args.out} is a file: give a folder")


if __name__ == "__main__":
    sys.exit(main())
