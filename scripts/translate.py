"""Translate pictures with a trained run: any size, any number, no data set.

Usage:
    python scripts/translate.py --name RUN photo.jpg --output photo_B.png
    python scripts/translate.py --name RUN FOLDER more/*.tif --output DIR --direction BtoA
    find . -name '*.png' | python scripts/translate.py --name RUN - --output DIR
    python scripts/translate.py --name RUN clip.mp4 --output clip_B.mp4
    python scripts/translate.py --name RUN volume.nii.gz --output volume_B.nii.gz     (docs/medical.md)
    python scripts/translate.py --name RUN map.tif --output map_B.tif --tile 1024 --overlap 128
Sizes are kept, values are stored as in training, and what large pictures need is said: see docs/translate.md.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded
    gc.disable()  # what is imported stays: to search it for garbage again and again takes a tenth of the start

from data import DATASETS
from models import MODELS
from options.parse import Options, answer_help, parse_test, split_direction
from options.translate_options import TranslateOptions, check_flags

if __name__ == "__main__":
    answer_help("scripts/translate.py", MODELS, DATASETS, test_record=TranslateOptions)  # before torch is imported

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from models.exported import default_name, load_exported
from models.generators import is_forward, own_direction
from models.trained import folder_of, load_run, remembered_sides
from models.translation import SMALL, Ready, TilePlan, Translator, batch_of
from models.video import translate_video
from models.volumes import VolumeRun, plan_volumes, translate_to_nifti
from util.background import BackgroundWriter
from util.exit_code import EXIT_DONE, EXIT_FAILED, report_error, run_command
from util.images.folder import is_image, require_images
from util.images.io import IMAGE_SUFFIXES, WRITTEN_IMAGES, read_header, save_array
from util.images.labels import write_label_map
from util.images.video import VideoSource, is_video, read_video
from util.images.video_writer import WRITTEN_SUFFIXES, check_output
from util.memory import keep_freed_memory
from util.run.checkpoint import checkpoint_tag
from util.run.engine import start_engine
from util.run.folder import check_writable
from util.run.inference import ResultNames
from util.run.sides import read_sides
from util.volumes.series import naming_packages
from util.volumes.translation import is_volume
from util.wording import counted

if __name__ == "__main__":
    gc.freeze()
    gc.enable()

logger = logging.getLogger("translate")

PROGRAM = "scripts/translate.py"
READERS = 4
LARGEST_KEPT = 2**26
"""Bytes of the largest blocks that stay with the process when they are freed: those of tiles are larger."""
LARGE_NETWORK = 20_000_000
"""Weights from which a batch pays on the CPU: they are read from memory once for all of its pictures."""


@dataclass(frozen=True)
class Job:
    """A picture to translate.

    Attributes:
        path: of the input.
        result: of the output; its suffix gives way to what can hold the picture.
        place: its number among all inputs: what it draws depends on it.
    """

    path: str
    result: Path
    place: int


@dataclass
class Count:
    """What became of the pictures.

    Attributes:
        written: the files, in the order in which they were finished.
        errors: what was wrong with the others, in the order in which it was found.
        other_kind: whether one could not be written as the kind of file that was wanted.
    """

    other_kind: bool = False
    written: list[Path] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Translate from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed or pictures left out because they cannot be read, 2 bad options, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command(PROGRAM, argv, _run)


def _run(words: list[str]) -> int:
    direction, words = split_direction(words)
    options = parse_test(words, MODELS, DATASETS, program=PROGRAM, test_record=TranslateOptions)
    asked: TranslateOptions = options.test
    folder_of(options)  # a run that is not there, before anything is read
    if any(is_volume(Path(word)) for word in asked.inputs):
        check_flags(options.given, ["volumes"])
        return _translate_volumes(options, words, direction)
    pictures, videos = plan_jobs(asked, options.given)
    if not pictures and not videos:
        logger.info("nothing to do: all results are there already")
        return EXIT_DONE
    sources = {job.path: read_video(job.path) for job in videos}  # a broken one, before the work begins
    translator = open_translator(options, direction)
    batch_size = _batch_size(options, translator)
    failed = False
    if pictures:
        count = translate_all(pictures, translator, asked, batch_size)
        for error in count.errors:
            report_error(PROGRAM, error)
        logger.info("%s", _said(count, asked.output))
        failed = bool(count.errors)
    for job in videos:
        try:
            _video(job, sources[job.path], translator, asked, batch_size)
        except ValueError as error:  # one that is damaged further on
            report_error(PROGRAM, error)
            failed = True
    return EXIT_FAILED if failed else EXIT_DONE


def _said(count: Count, output: str) -> str:
    """What became of the pictures, as a sentence."""
    done, failed = len(count.written), len(count.errors)
    if not done:
        return "nothing was written: " + ("the picture" if failed == 1 else f"all {failed} pictures") + " failed"
    said = f"{done} pictures: {output}" if done > 1 else f"1 picture: {count.written[0]}"
    return f"{said}; {failed} more could not be translated, see above" if failed else said


def usual_batch(translator: Translator) -> int:
    """How many pictures go through the network together: as many as pay."""
    if translator.engine.device.type != "cpu":
        return 8
    weights = sum(each.numel() for each in translator.generator.module.parameters())
    return 8 if weights >= LARGE_NETWORK else 1


def _batch_size(options: Options, translator: Translator) -> int:
    batch_size = options.data.batch_size if "batch_size" in options.given else usual_batch(translator)
    if translator.one_by_one and batch_size > 1:
        if "batch_size" in options.given:
            logger.warning("--batch_size %d: 1 is used, because the model draws for the batch", batch_size)
        return 1
    return batch_size


def _video(job: Job, source: VideoSource, translator: Translator, asked: TranslateOptions, batch_size: int) -> None:
    """Translate one video and say what came out; raises as ``translate_video``."""
    for note in source.notes:
        logger.warning("%s: %s", job.path, note)
    job.result.parent.mkdir(parents=True, exist_ok=True)
    size = batch_of(batch_size, source.height, source.width)
    with tqdm(total=source.count or None, unit=" frames", desc=Path(job.path).name, disable=None) as bar:
        how = {"every": asked.every, "batch_size": size, "crf": asked.crf}
        made = translate_video(translator, source, job.result, **how, progress=bar.update)
    for note in made.notes:
        logger.warning("%s: %s", job.result, note)
    logger.info("%s: %dx%d, read as %s", job.path, source.width, source.height, source.colours)
    logger.info(
        "%s: %s; neighbours differ by %.2f of 255 in the input, by %.2f in the result (see docs/video.md)",
        counted(made.frames, "frame"),
        job.result,
        made.change_in,
        made.change_out,
    )


def open_translator(options: Options, direction: str) -> Translator:
    """The generator of the run, or of an export of it, with all that stands before and behind it.

    Raises:
        FileNotFoundError, ValueError: there is no such run, checkpoint or direction.
    """
    asked: TranslateOptions = options.test
    plan = TilePlan(asked.tile, asked.overlap, asked.max_memory, asked.tile_passes)
    if asked.exported or asked.engine != "torch":
        translator = _exported(options, direction, plan)
    else:
        engine = start_engine(**vars(options.engine))
        translator = load_run(options, engine).translator(direction, maps=asked.save_maps, plan=plan)
    fixed = translator.generator.fixed_size
    if fixed is not None and not asked.tile:
        height, width = fixed
        logger.info("this generator works at %dx%d only: pictures are scaled to it and back", width, height)
    return translator


def _exported(options: Options, direction: str, plan: TilePlan) -> Translator:
    """The run's export, or the file of ``--exported``, with the processing of the run; on the CPU."""
    asked: TranslateOptions = options.test
    folder = folder_of(options)
    direction = direction or own_direction(options)
    tag = checkpoint_tag(options.run.epoch, options.run.load_iter)
    file = Path(asked.exported or folder / default_name(tag, direction, ("image",), ".onnx"))
    generator = load_exported(file, asked.engine, direction=direction)
    if "image" not in generator.inputs:
        raise ValueError(f"{file}: makes images from noise and translates none")
    trained = [each for each in folder.glob(f"{tag}_net_*.pth") if each.stat().st_mtime > file.stat().st_mtime]
    if trained:
        logger.warning("%s is older than %s: export the run again if it was trained further", file, trained[0])
    return Translator(
        generator,
        options.data,
        start_engine(**{**vars(options.engine), "gpu_ids": "-1"}),
        forward=is_forward(options, direction),
        remembered=remembered_sides(options, read_sides(folder)),
        seed=options.engine.seed,
        plan=plan,
    )


# -- volumes -------------------------------------------------------------------------------------------------------


def _translate_volumes(options: Options, words: Sequence[str], direction: str) -> int:
    """Translate volumes slice by slice; those that cannot be read are left out, one line each."""
    asked: TranslateOptions = options.test
    with naming_packages(PROGRAM):
        jobs = plan_volumes(asked.inputs, asked.output, asked.existing)
        views = asked.views or ("",) * (1 + len(asked.with_runs))
        runs = [_volume_run(options, direction, views[0])]
        for name, view in zip(asked.with_runs, views[1:]):
            other = parse_test(
                [*words, "--name", name], MODELS, DATASETS, program=PROGRAM, test_record=TranslateOptions
            )
            runs.append(_volume_run(other, direction, view))
        errors = 0
        for path, output in jobs:
            try:
                logger.info("%s", translate_to_nifti(path, output, runs))
            except ValueError as error:
                errors += 1
                if len(jobs) == 1:
                    raise
                report_error(PROGRAM, error)
    return EXIT_FAILED if errors else EXIT_DONE


def _volume_run(options: Options, direction: str, view: str) -> VolumeRun:
    translator = open_translator(options, direction)
    return VolumeRun(options.run.name, translator, view, _batch_size(options, translator))


# -- what there is to do -------------------------------------------------------------------------------------------


def plan_jobs(asked: TranslateOptions, given: Collection[str] = ()) -> tuple[list[Job], list[Job]]:
    """Every picture and every video with its result.

    Raises:
        FileNotFoundError: an input that is not there.
        ValueError: a result would replace an input, is there already, or cannot be of the kind that is wanted.
    """
    output = Path(asked.output)
    inputs = [found for word in asked.inputs for found in _files_of(word, output)]
    pictures, videos = ([each for each in inputs if is_video(each[0]) == wanted] for wanted in (False, True))
    if not inputs:
        raise ValueError("INPUT -: standard input names no pictures" if "-" in asked.inputs else "INPUT: is empty")
    if not asked.output:
        raise ValueError("--output: is empty; name a folder, or . for this one")
    is_name = output.suffix.lower() in IMAGE_SUFFIXES or is_video(str(output))
    as_file = is_name and not output.is_dir() and not asked.output.endswith(("/", os.sep))
    if as_file and len(inputs) > 1:
        what = "inputs" if pictures and videos else "pictures" if pictures else "videos"
        raise ValueError(f"--output {output}: a file name, but there are {len(inputs)} {what}; name a folder")
    if as_file and pictures and is_video(str(output)):
        raise ValueError(f"--output {output}: is the name of a video, but {pictures[0][0]} is a picture")
    if not as_file and output.is_file():
        raise ValueError(f"--output {output}: is a file of another kind; name a folder, or a picture")
    if as_file and pictures:
        _check_kind(output, asked.format)
    check_writable(output, f"--output {output}")
    check_flags(given, [kind for kind, files in (("pictures", pictures), ("videos", videos)) if files])
    jobs = [*_plan_pictures(pictures, asked, as_file), *_plan_videos(videos, asked)]
    planned = _not_in_the_way(jobs, asked)
    return [job for job in planned if not is_video(job.path)], [job for job in planned if is_video(job.path)]


def _check_kind(output: Path, format: str) -> None:
    """Refuse a file name of a kind that is not written, or another one than ``--format``.

    Raises:
        ValueError: with the remedy.
    """
    suffix = output.suffix.lower()
    if suffix not in WRITTEN_IMAGES:
        raise ValueError(f"--output {output}: pictures are written as {', '.join(WRITTEN_IMAGES)}; name one of these")
    if format and format[:2] != suffix[1:3]:  # .jpeg is jpg, .tiff is tif
        raise ValueError(
            f"--format {format}: --output {output} says {suffix[1:]}; leave out --format, or name a folder"
        )


def _plan_pictures(inputs: Sequence[tuple[str, str]], asked: TranslateOptions, as_file: bool) -> list[Job]:
    output, names = Path(asked.output), ResultNames(Path("."))
    suffix = f".{asked.format}" if asked.format else output.suffix if as_file else ".png"
    if as_file:
        results = [output.with_suffix(suffix) for _ in inputs]
    else:
        results = [output / f"{names(Path(below))}{suffix}" for _, below in inputs]
    return [Job(path, result, place) for place, ((path, _), result) in enumerate(zip(inputs, results))]


def _plan_videos(inputs: Sequence[tuple[str, str]], asked: TranslateOptions) -> list[Job]:
    """Raises ValueError: no such kind of video can be written."""
    output, names = Path(asked.output), ResultNames(Path("."))
    if output.suffix and not output.is_dir() and len(asked.inputs) == 1:
        results = [output for _ in inputs]
    else:
        kinds = [Path(path).suffix.lower() for path, _ in inputs]
        suffixes = [kind if kind in WRITTEN_SUFFIXES else ".mp4" for kind in kinds]
        results = [output / f"{names(Path(below))}{suffix}" for (_, below), suffix in zip(inputs, suffixes)]
    for result in results:
        check_output(result)
    return [Job(path, result, 0) for (path, _), result in zip(inputs, results)]


def _files_of(word: str, output: Path) -> Iterator[tuple[str, str]]:
    """The pictures that a word of the command line names, each with the path by which its result is named."""
    if word == "-":
        for path in _names_on_stdin():
            yield path, Path(path).name
    elif os.path.isdir(word):
        _say_videos(word)
        yield from ((path, os.path.relpath(path, word)) for path in _images_of_folder(word, output))
    elif os.path.exists(word) or is_video(word):  # read_video says what is wrong with one
        if not is_video(word) and not is_image(word) and Path(word).suffix.lower() not in IMAGE_SUFFIXES:
            kinds = " ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
            raise ValueError(f"INPUT {word}: its name is not that of a picture ({kinds})")
        yield word, Path(word).name
    else:
        raise FileNotFoundError(f"INPUT {word}: there is no such file or folder")


def _names_on_stdin() -> Iterator[str]:
    """One name for each line that is not empty; names that are no Unicode stay the bytes that they are."""
    if sys.stdin is None:
        raise ValueError("INPUT -: there is no standard input; name the pictures")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    yield from (name for line in sys.stdin if (name := line.rstrip("\r\n")))


def _images_of_folder(folder: str, output: Path) -> list[str]:
    """All pictures in and below a folder but those in the folder of the results, should that lie in it."""
    found, results = require_images(Path(folder), flags=f"INPUT {folder}"), Path(os.path.realpath(output))
    if not results.is_dir() or not results.is_relative_to(os.path.realpath(folder)) or results.samefile(folder):
        return found
    kept = [path for path in found if not Path(os.path.realpath(path)).is_relative_to(results)]
    if len(kept) < len(found):
        left_out = counted(len(found) - len(kept), "picture")
        logger.warning("%s: %s in it left out, as results go there", output, left_out)
    if not kept:
        raise FileNotFoundError(f"INPUT {folder}: all pictures in it lie in --output {output}; name another place")
    return kept


def _say_videos(folder: str) -> None:
    """One line on the videos in a folder of pictures, which are not read."""
    names = (name for _, _, names in os.walk(folder) for name in names if is_video(name) and not name.startswith("."))
    for suffix, number in Counter(Path(name).suffix.lower() for name in names).items():
        files = "file is" if number == 1 else "files are"
        logger.warning("%s: %d %s %s not read: name videos on the command line", folder, number, suffix, files)


def _not_in_the_way(jobs: Sequence[Job], asked: TranslateOptions) -> list[Job]:
    """The jobs whose results may be written, by ``--existing``.

    Raises:
        ValueError: a result is an input, or is there and must not be replaced.
    """
    inputs = {os.path.realpath(job.path) for job in jobs}
    there = []
    for job in jobs:
        others = () if is_video(job.path) else (".png", ".tif")
        for file in {job.result, *map(job.result.with_suffix, others)}:
            if os.path.realpath(file) in inputs:
                raise ValueError(f"--output {asked.output}: {file} is an input and would be lost; name another place")
            if file == job.result and file.is_dir():
                raise ValueError(f"--output {asked.output}: {file}, where a result would be written, is a folder")
            if file.exists():
                there.append(job)
                break
    if there and asked.existing == "refuse":
        more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise FileExistsError(
            f"--output {asked.output}: {there[0].result}{more} there already: give --existing replace or skip"
        )
    return [job for job in jobs if job not in there] if asked.existing == "skip" else list(jobs)


# -- reading, network and writing ----------------------------------------------------------------------------------


def translate_all(jobs: Sequence[Job], translator: Translator, asked: TranslateOptions, batch_size: int) -> Count:
    """Translate and write; reading, network and writing overlap."""
    count = Count()
    writer = Results(translator, asked, count)
    with (
        BackgroundWriter(num_threads=2) as background,
        tqdm(total=len(jobs), unit=" img", disable=None) as bar,
    ):
        for batch in batches(jobs, translator, batch_size, count, bar):
            job, ready, image = batch[0]
            if image is None:
                _translate_tiled(translator, job, ready, writer, background)
            else:
                images = torch.stack([each for _, _, each in batch if each is not None])
                made = [each.cpu() for each in translator.translate(images, [job.place for job, _, _ in batch])]
                for row, (job, ready, _) in enumerate(batch):
                    background.submit(writer.write, job, ready, [each[row] for each in made])
            bar.update(len(batch))
    return count


def _translate_tiled(
    translator: Translator, job: Job, ready: Ready, writer: Results, background: BackgroundWriter
) -> None:
    grid = translator.grid(*ready.size)
    assert grid is not None
    height, width = ready.size
    size = grid.rows[0].size
    logger.info("%s: %dx%d pixels in %d tiles of %d%s", job.path, width, height, len(grid), size, _about(translator))
    total = len(grid) * translator.passes()
    with tqdm(total=total, unit=" tiles", desc=Path(job.path).name, leave=False, disable=None) as tiles:
        pixels = translator.tiled(ready, job.place, grid, progress=tiles.update)
    background.wait()  # at most one large result waits to be written
    background.submit(writer.save, job, ready, pixels)


def _about(translator: Translator) -> str:
    """What is to be said of tiles."""
    reason = translator.generator.whole_picture
    if not reason:
        return ""
    if translator.takes_statistics:
        return f"; {reason}, gathered by --tile_passes {translator.plan.passes}: near to it, see docs/translate.md"
    return f"; the result differs from that of the whole picture: {reason}"


Item = tuple[Job, Ready, Tensor | None]
"""A picture that was read; without its tensor if it is translated by tiles."""


def batches(
    jobs: Sequence[Job], translator: Translator, batch_size: int, count: Count, bar: tqdm
) -> Iterator[list[Item]]:
    """Pictures of one size together, as they come; each that is translated by tiles alone."""
    waiting: dict[tuple[int, ...], list[Item]] = {}
    for item in _read(jobs, translator, count, bar, ahead=4 * batch_size):
        image = item[2]
        if image is None:
            yield [item]
            continue
        shape = tuple(image.shape)
        waiting.setdefault(shape, []).append(item)
        if len(waiting[shape]) >= batch_of(batch_size, *shape[-2:]):
            yield waiting.pop(shape)
        elif sum(map(len, waiting.values())) >= 4 * batch_size:  # many sizes: the memory for them is bounded
            yield waiting.pop(max(waiting, key=lambda each: len(waiting[each])))
    yield from waiting.values()


def _read(jobs: Sequence[Job], translator: Translator, count: Count, bar: tqdm, *, ahead: int) -> Iterator[Item]:
    """The pictures in order, read by threads, at most ``ahead`` before they are used; broken ones are counted.

    Large ones are not read ahead, so that no more than one of them is in memory.
    """

    def load(job: Job) -> Item | Job:
        if not is_small(job.path):
            return job
        ready = translator.read(job.path)
        return job, ready, None if translator.plan.tile else translator.tensor(ready)

    pool = ThreadPoolExecutor(READERS)
    pending: list[Future[Item | Job]] = []
    left = iter(jobs)
    try:
        while True:
            while len(pending) < ahead and (job := next(left, None)) is not None:
                pending.append(pool.submit(load, job))
            if not pending:
                return
            try:
                found = pending.pop(0).result()
                job, ready, image = (found, translator.read(found.path), None) if isinstance(found, Job) else found
            except (ValueError, OSError) as error:
                count.errors.append(error)
                bar.update()
                continue
            if image is None and translator.grid(*ready.size) is None:  # asks the network, so not by the threads
                image = translator.tensor(ready)
            yield job, ready, image
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def is_small(path: str) -> bool:
    """Whether the header of a picture says so; of those that cannot be read, too."""
    try:
        header = read_header(path)
    except (ValueError, OSError):
        return True
    return header.width * header.height <= SMALL


@dataclass(frozen=True)
class Results:
    """Writes translations; for several threads."""

    translator: Translator
    asked: TranslateOptions
    count: Count

    def write(self, job: Job, ready: Ready, made: Sequence[Tensor]) -> None:
        """The translation ``[C, H, W]``, and maps if they are asked for."""
        try:
            pixels = self.translator.stored(ready, made[0])
        except ValueError as error:
            self.count.errors.append(ValueError(f"{job.path}: {error}"))
            return
        if self.asked.save_maps:
            for name, values in zip(self.translator.generator.outputs[1:], made[1:]):
                save_array(job.result.with_name(f"{job.result.stem}_{name}.npy"), values.permute(1, 2, 0).numpy())
        self.save(job, ready, pixels)

    def save(self, job: Job, ready: Ready, pixels: NDArray[np.generic]) -> None:
        """``[H, W, C]`` as the file stores it, with what it takes over from its source."""
        origin = ready.origin
        if ready.stored.labels and job.result.suffix.lower() not in (".tif", ".tiff"):
            file = write_label_map(job.result.with_suffix(".png"), pixels.astype(np.uint8), geo=origin.geo)
            self._written(job, file)
            return
        wanted = job.result.with_suffix(".tif") if origin.has_gaps else job.result
        file = save_array(
            wanted,
            pixels,
            alpha=self.translator.has_alpha(pixels.shape[2]),
            geo=origin.geo,
            nodata=origin.nodata,
            quality=self.asked.quality,
        )
        self._written(job, file)

    def _written(self, job: Job, file: Path) -> None:
        if file.suffix != job.result.suffix and not self.count.other_kind:
            logger.warning("%s: %s cannot hold this picture", file, job.result.suffix)
            self.count.other_kind = True
        self.count.written.append(file)


if __name__ == "__main__":
    keep_freed_memory(largest=LARGEST_KEPT)
    sys.exit(main())
