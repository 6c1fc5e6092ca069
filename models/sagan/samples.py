"""Samples of a trained SAGAN run: the run opened by a command, chosen classes, single files, a grid and a page."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from data import DATASETS
from data.class_folder_dataset import ClassFolderDataset, ClassFolderOptions, ClassImages
from models import MODELS
from models.base_model import draws_from_noise
from models.sagan.latent import draw_labels, numbered_latents
from models.sagan.sheets import Columns, sample_sheet
from models.trained import TrainedRun, drafted_results, folder_of, load_run
from options.files import write_options
from options.parse import Options, parse_test, parse_train
from options.schema import OptionError
from util.background import BackgroundWriter
from util.exit_code import EXIT_DONE
from util.files import replace_text
from util.images.draw import captioned_grid
from util.images.io import write_image
from util.metrics.results import RunPlace
from util.pages.html import HTML
from util.registry import unknown
from util.run.checkpoint import checkpoint_tag
from util.run.class_names import CLASSES_FILE, class_folder, read_class_names
from util.run.engine import Engine, start_engine
from util.wording import counted

if TYPE_CHECKING:
    from models.sagan.sample_options import SampleOptions
    from models.sagan_model import SAGANModel

logger = logging.getLogger(__name__)


SAMPLES_FILE = "samples.json"
"""In the folder of the samples."""

BATCH = 64  # samples at a time unless --batch_size says so; the pictures do not depend on it
_MOST_COLUMNS, _MOST_ROWS, _MOST_PICTURES = 20, 12, 400  # of grid.png
_PER_ROW = 60  # pictures of a class on the page


@dataclass(frozen=True)
class Sample:
    """One picture to draw: its class, and its number among those of the class. Both and the seed decide it."""

    label: int
    number: int


def class_names_of(folder: Path, num_classes: int, file: str = "") -> tuple[str, ...]:
    """Names of a run's classes, by label; their numbers where the run has none.

    Args:
        folder: of the run.
        num_classes: of the network; of 1 the name is ``all``.
        file: with the names, ``--class_names``; empty for that of the run.
    """
    if num_classes == 1:
        return ("all",)
    kept = Path(file) if file else folder / CLASSES_FILE
    names = read_class_names(kept) if file or kept.is_file() else ()
    return tuple(names[n] if n < len(names) else str(n) for n in range(num_classes))


def chosen_classes(asked: SampleOptions, names: Sequence[str]) -> list[int]:
    """Labels that ``--class_id``, ``--class_name`` or ``--generate_all`` ask for; empty for random ones.

    Raises:
        OptionError: there is no such class; with the closest name.
    """
    if asked.generate_all:
        return list(range(len(names)))
    for label in asked.class_id:
        if len(names) == 1 and label > 0:
            raise OptionError(f"--class_id {label}: the run has no classes; leave it out")
        if label >= len(names):
            raise OptionError(f"--class_id {label}: the run has {len(names)} classes, 0 to {len(names) - 1}")
    labels = [label for label in asked.class_id if label >= 0] or [label_of(name, names) for name in asked.class_name]
    return list(dict.fromkeys(labels))


def label_of(name: str, names: Sequence[str], flag: str = "--class_name") -> int:
    """The label of a class by its name, by one of its synonyms, or by its number.

    Raises:
        OptionError: there is none, or several have this name.
    """
    found = [label for label, full in enumerate(names) if name == full]
    found = found or [label for label, full in enumerate(names) if name.lower() in _synonyms(full)]
    if not found and name.isdigit() and int(name) < len(names):
        return int(name)
    if len(found) != 1:
        if found:
            shown = ", ".join(f"{label}: {names[label]}" for label in found[:5])
            raise OptionError(f"{flag} {name}: several classes have this name ({shown}); use the number")
        raise OptionError(str(unknown(f"{flag} {name}", name, names)))
    return found[0]


def _synonyms(name: str) -> list[str]:
    return [word.strip().lower() for word in name.split(",")]


def samples_to_draw(asked: SampleOptions, num_classes: int, classes: Sequence[int]) -> list[Sample]:
    """The samples in the order of their classes."""
    if classes:
        return [Sample(label, number) for label in classes for number in range(asked.num_images)]
    generator = torch.Generator().manual_seed(asked.sample_seed)
    counts = Counter(draw_labels(asked.num_images, num_classes, "balanced", generator).tolist())
    return [Sample(label, number) for label in sorted(counts) for number in range(counts[label])]


def draw(
    model: SAGANModel, samples: Sequence[Sample], *, seed: int, truncation: float = math.inf, batch_size: int = BATCH
) -> Iterator[Tensor]:
    """The pictures of the samples in order, one by one: float32 ``[C, S, S]`` in [-1, 1] on the CPU."""
    for begin in range(0, len(samples), batch_size):
        part = samples[begin : begin + batch_size]
        z = numbered_latents(
            seed, [(each.label, each.number) for each in part], model.options.nz, truncation=truncation
        )
        yield from model.sample(z, torch.tensor([each.label for each in part])).cpu()


@dataclass(frozen=True)
class Wanted:
    """What a test is asked to draw.

    Attributes:
        names: of the run's classes, by label.
        classes: labels that were asked for; empty for random ones.
        samples: all of them, in the order of their classes.
    """

    names: tuple[str, ...]
    classes: list[int]
    samples: list[Sample]


def names_of_run(options: Options) -> tuple[str, ...]:
    """Names of the classes of the run that a command's options name, by label; the network need not be loaded.

    Raises:
        FileNotFoundError, ValueError: there is no such run, or no such file of ``--class_names``.
    """
    file = options.data.class_names if "class_names" in options.given else ""  # type: ignore[attr-defined]
    return class_names_of(folder_of(options), options.model.num_classes, file)  # type: ignore[attr-defined]


def wanted_samples(options: Options) -> Wanted:
    """What the options of a test ask for; checked, with nothing loaded or written yet.

    Raises:
        FileNotFoundError, ValueError: as ``names_of_run``.
        OptionError: there is no such class.
    """
    for flag in sorted(options.given & options.about_images - {"phase"}):
        logger.warning("warning: --%s has no effect: this model draws from noise and reads no images", flag)
    names = names_of_run(options)
    classes = chosen_classes(options.test, names)
    return Wanted(names, classes, samples_to_draw(options.test, len(names), classes))


def write_samples(options: Options, model: Any, wanted: Wanted, folder: Path) -> None:
    """Draw into a folder: ``images/``, ``grid.png``, ``samples.json`` and ``index.html``.

    Args:
        options: of the test.
        model: loaded.
        wanted: what to draw.
        folder: is made.
    """
    asked, names, classes, samples = options.test, wanted.names, wanted.classes, wanted.samples
    run = options.run
    tag = checkpoint_tag(run.epoch, run.load_iter)
    title = f"Experiment = {run.name}, Epoch = {tag}, seed {asked.sample_seed}, truncation {asked.truncation:g}"
    page = HTML(folder, title)
    files = [_file_of(sample, names, asked.sample_seed) for sample in samples]
    shown = dict.fromkeys(_on_grid(samples, classes))
    kept: dict[Sample, Tensor] = {}
    how = {"seed": asked.sample_seed, "truncation": asked.truncation, "batch_size": batch_size_of(options)}
    with BackgroundWriter() as writer, tqdm(total=len(samples), unit=" img", disable=None) as bar:
        for sample, file, image in zip(samples, files, draw(model, samples, **how)):
            writer.submit(write_image, page.get_image_dir() / file, image)
            if sample in shown:
                kept[sample] = image
            bar.update()
    Image.fromarray(_grid(kept, classes, names)).save(folder / "grid.png")
    _add_rows(page, samples, files, names, options.result.display_winsize)
    page.save()
    replace_text(folder / SAMPLES_FILE, [json.dumps(facts_of(options, wanted), indent=1)])


def facts_of(options: Options, wanted: Wanted) -> dict[str, Any]:
    """What ``samples.json`` says: everything that decides the pictures, and each picture's file and class."""
    asked, run = options.test, options.run
    rows = [
        {
            "file": f"images/{_file_of(each, wanted.names, asked.sample_seed)}",
            "class": each.label,
            "name": wanted.names[each.label],
            "number": each.number,
        }
        for each in wanted.samples
    ]
    return {
        "seed": asked.sample_seed,
        "truncation": json_number(asked.truncation),
        "checkpoint": checkpoint_tag(run.epoch, run.load_iter),
        "network": options.model.sampled,  # type: ignore[attr-defined]
        "standing_stats": asked.standing_stats,
        "samples": rows,
    }


def _file_of(sample: Sample, names: Sequence[str], seed: int) -> str:
    folder = f"{class_folder(sample.label, names)}/" if len(names) > 1 else ""
    return f"{folder}{seed:03d}_{sample.number:05d}.png"


def _on_grid(samples: Sequence[Sample], classes: Sequence[int]) -> list[Sample]:
    """Those that grid.png shows."""
    if 1 < len(set(classes)) <= _MOST_COLUMNS:
        return [each for each in samples if each.number < _MOST_ROWS]
    if len(set(classes)) > _MOST_COLUMNS:
        return [each for each in samples if each.number == 0][:_MOST_PICTURES]
    return list(samples[:_MOST_PICTURES])


def _grid(kept: dict[Sample, Tensor], classes: Sequence[int], names: Sequence[str]) -> np.ndarray[Any, Any]:
    pictures, several = torch.stack(list(kept.values())), list(dict.fromkeys(classes))
    if 1 < len(several) <= _MOST_COLUMNS:
        columns = Columns(tuple(several), len(kept) // len(several))
        return sample_sheet(pictures, columns, [names[label] for label in several])
    captions = [names[sample.label] if len(names) > 1 else str(sample.number) for sample in kept]
    return captioned_grid(pictures, captions)


def _add_rows(page: HTML, samples: Sequence[Sample], files: Sequence[str], names: Sequence[str], width: int) -> None:
    """A row per class, with its first pictures."""
    by_class: dict[int, list[str]] = {}
    for sample, file in zip(samples, files):
        by_class.setdefault(sample.label, []).append(file)
    for label, own in by_class.items():
        more = f", the first {_PER_ROW} of {len(own)}" if len(own) > _PER_ROW else ""
        page.add_header(f"{label}: {names[label]}{more}" if len(names) > 1 else f"samples{more}")
        first = own[:_PER_ROW]
        page.add_images(first, [Path(file).stem for file in first], first, width=min(width, 128))


def batch_size_of(options: Options) -> int:
    """Samples that are drawn at a time."""
    return options.data.batch_size if "batch_size" in options.given else BATCH


def json_number(value: float) -> float | str:
    """The number; a word for infinity, which JSON has no number for."""
    return value if math.isfinite(value) else "inf"


@dataclass(frozen=True)
class NoiseRun(TrainedRun):
    """A run whose model draws from noise, opened by a command.

    Attributes:
        names: of its classes, by label.
    """

    model: Any
    names: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, object]:
        """What a JSON file says of the network that drew, and how."""
        test, network = self.options.test, self.options.model.sampled  # type: ignore[attr-defined]
        facts = {"run": self.options.run.name, "checkpoint": self.tag, "network": network}
        return {**facts, "standing_stats": test.standing_stats, "truncation": json_number(test.truncation)}


def parse_noise_run(program: str, argv: Sequence[str], record: type, *, used: Iterable[str] = ()) -> Options:
    """Options of a command that draws samples of a run.

    Flags about images that go in have no effect: the user is warned, and they are left out of ``given``.

    Args:
        program: path of the command.
        argv: words of its command line.
        record: its own options, derived from ``LatentOptions``.
        used: those of these flags that the command uses, beside ``--batch_size`` and ``--class_names``.

    Raises:
        OptionError, HelpAsked: as ``parse_test``.
        FileNotFoundError: there is no such run.
        ValueError: the run's model needs images.
    """
    options = parse_test(argv, MODELS, DATASETS, program=program, test_record=record)
    folder_of(options)
    run = options.run
    if not draws_from_noise(MODELS.get(run.model)):
        raise ValueError(
            f"--name {run.name}: a run of --model {run.model}, which does not draw from noise but translates images: "
            f"use python test.py --name {run.name} --dataroot DIR"
        )
    without = options.given & options.about_images - set(used)
    for flag in sorted(without):
        logger.warning("warning: --%s has no effect on %s: leave it out", flag, program)
    return replace(options, given=options.given - without)


def load_noise_run(options: Options) -> NoiseRun:
    """``models.trained.load_run``, with the names of the run's classes.

    Raises:
        FileNotFoundError, ValueError: as ``models.trained.load``.
    """
    run = load_run(options, start_engine(**vars(options.engine)))
    model: Any = run.model
    return NoiseRun(options, model, run.folder, names=names_of_run(options))


def draw_from_noise(options: Options, engine: Engine, output: str = "") -> int:
    """A test of a model that needs no images.

    Args:
        options: of the test.
        engine: where the run is loaded.
        output: folder of the pictures; empty for that of test.py.

    Returns:
        the exit code.

    Raises:
        FileNotFoundError, ValueError: as ``wanted_samples`` and ``models.trained.load_run``.
    """
    wanted = wanted_samples(options)  # a wrong class is refused before standing statistics take their minutes
    run = load_run(options, engine)
    with drafted_results(options, output) as (web_dir, draft):
        write_samples(options, run.model, wanted, draft)
    write_options(options.values, options.defaults, run.folder, "test")
    logger.info("%s: %s", counted(len(wanted.samples), "image"), web_dir / "index.html")
    return EXIT_DONE


def one_class(number: int | None, name: str, names: Sequence[str], flag: str) -> int:
    """The label that ``<flag>_id`` or ``<flag>_name`` names; 0 where the run has no other.

    Args:
        number: value of the first flag, None without it.
        name: of the second, empty without it.
        names: of the run's classes.
        flag: such as ``--class``.

    Raises:
        OptionError: there is no such class, or neither flag was given.
    """

    if name:
        return label_of(name, names, f"{flag}_name")
    if number is None and len(names) > 1:
        raise OptionError(f"{flag}_id is missing: give a class, 0 to {len(names) - 1}, or its {flag}_name")
    label = number or 0
    if label >= len(names):
        raise OptionError(f"{flag}_id {label}: the run has {len(names)} classes, 0 to {len(names) - 1}")
    return label


def training_images(place: RunPlace, dataroot: str = "") -> ClassImages:
    """The images that a run was trained on, as it saw them but for flips and noise.

    Args:
        place: of the run.
        dataroot: where they are now; empty: where they were.

    Raises:
        FileNotFoundError: they are not there any more.
    """
    argv = ["--name", place.name, "--checkpoints_dir", str(place.checkpoints_dir), "--continue_train", "--no_flip"]
    argv += ["--dataroot", dataroot] if dataroot else []
    options = parse_train(argv, MODELS, DATASETS)
    if not isinstance(options.data, ClassFolderOptions):
        raise ValueError(
            f"--name {place.name}: it was trained on --dataset_mode {options.run.dataset_mode}; give --real DIR"
        )
    m = options.model
    dataset = ClassFolderDataset(options.data, input_nc=m.input_nc, output_nc=m.output_nc, seed=options.engine.seed)
    return ClassImages(dataset, f"training images in {dataset.root.as_posix()}")
