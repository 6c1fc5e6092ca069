"""The training images nearest to what a run draws: does it invent, or repeat what it has seen?

Usage:
    python scripts/match.py --name RUN --class_name cat --top_n 15
    python scripts/match.py --name RUN --class_id 3 --features inception --num_images 8 --all_classes_real
By squared distance of the pixels, or of the features of a network, which finds images of the same kind.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data.class_folder_dataset import ClassImages
from models.sagan.sample_options import LatentOptions
from models.sagan.samples import (
    NoiseRun,
    Sample,
    batch_size_of,
    draw,
    load_noise_run,
    names_of_run,
    one_class,
    parse_noise_run,
    training_images,
)
from models.trained import result_folder
from options.metric_options import MetricOptions
from options.schema import OptionError, arg, specs
from util.exit_code import EXIT_DONE, run_command
from util.files import drafted, replace_text
from util.images.draw import captioned_grid
from util.metrics import EXTRACTORS
from util.metrics.extractors import Extractor, load_extractor
from util.metrics.features import FeatureCache, default_cache, features_of
from util.metrics.images import ImageSet, MadeImages, Pixels, as_rgb, as_stored
from util.metrics.results import RunPlace
from util.metrics.suite import NO_CACHE
from util.pages.html import HTML
from util.wording import counted

logger = logging.getLogger("match")


_CHUNK = 256  # images that are compared at a time
_READERS = 4
_MOST_ROWS = 40  # samples on match.png


class Comparison:
    """A squared distance between images.

    Args:
        extractor: name of the one whose features are compared; empty for the pixels.
        device: where that computes.
        inception_weights: file with the weights of Inception; empty to download.
        feature_cache: folder for the features of real images; empty: the user's; ``none``: no cache.

    Raises:
        MissingWeights, ValueError: as ``load_extractor``.
    """

    def __init__(
        self, extractor: str, device: torch.device, inception_weights: str = "", feature_cache: str = ""
    ) -> None:
        self._device = device
        self._extractor: Extractor | None = None
        if extractor:
            self._extractor = load_extractor(extractor, device, inception_weights=inception_weights)
        folder = None if feature_cache == NO_CACHE else Path(feature_cache) if feature_cache else default_cache()
        self._cache = FeatureCache(folder)

    @property
    def facts(self) -> dict[str, Any]:
        """What is compared."""
        if self._extractor is None:
            return {"values": "0 to 1"}
        return {**self._extractor.facts(), "layer": self._extractor.features}

    def distances(self, drawn: ImageSet, real: ImageSet) -> NDArray[np.float64]:
        """``[len(drawn), len(real)]``: the sum of the squared differences, of pixels with values from 0 to 1.

        Raises:
            ValueError: an image that cannot be read, or pixels of images of different sizes.
        """
        if self._extractor is None:
            one_size = drawn.read(0).shape
            queries = np.concatenate(list(_pixels(drawn, one_size)))
            parts = _pixels(real, one_size)
        else:
            queries = self._features(drawn, None).numpy()
            parts = (rows.numpy() for rows in self._features(real, self._cache).split(_CHUNK))
        columns = [[((part - query) ** 2).sum(1, dtype=np.float64) for query in queries] for part in parts]
        return np.concatenate(columns, axis=1)

    def _features(self, images: ImageSet, cache: FeatureCache | None) -> Tensor:
        assert self._extractor is not None
        found = features_of(images, self._extractor, self._device, cache=cache, progress=cache is not None)
        return found[self._extractor.features]


def _pixels(images: ImageSet, shape: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
    """``[n, H * W * 3]`` in 0..1, chunk by chunk."""
    with ThreadPoolExecutor(_READERS) as readers:
        for begin in range(0, len(images), _CHUNK):
            numbers = range(begin, min(begin + _CHUNK, len(images)))
            pictures = list(readers.map(images.read, numbers))
            for number, picture in zip(numbers, pictures):
                if picture.shape != shape:
                    sizes = [f"{width}x{height}" for height, width, _ in (picture.shape, shape)]
                    raise ValueError(
                        f"{images.names[number]} has {sizes[0]} pixels, the samples have {sizes[1]}: compare the "
                        "features of a network by --features"
                    )
            yield np.stack(pictures).reshape(len(pictures), -1).astype(np.float32) / np.float32(255)


def write_matches(run: NoiseRun, label: int, real: ClassImages, comparison: Comparison, folder: Path) -> str:
    """Draw samples of a class, find the nearest real images of each, and show them in a folder.

    ``match.png`` has the sample first and the others by rising distance, which stands below them; of several samples a
    row each, of the first ones. Beside it are ``match.json``, the single pictures in ``images/``, and ``index.html``.

    Args:
        run: what draws.
        label: class of the samples.
        real: what is searched.
        comparison: what is compared.
        folder: is made.

    Returns:
        name and distance of the nearest image of all.
    """
    asked = run.options.test
    samples = [Sample(label, number) for number in range(asked.num_images)]
    how = {"seed": asked.sample_seed, "truncation": asked.truncation, "batch_size": batch_size_of(run.options)}
    drawn = [as_rgb(as_stored(image)) for image in draw(run.model, samples, **how)]
    distances = comparison.distances(MadeImages("samples", dict(zip(map(str, samples), drawn))), real)
    if asked.top_n > len(real):
        logger.info("--top_n %d: all of %s are shown", asked.top_n, counted(len(real), "image"))
    order = np.argsort(distances, axis=1, kind="stable")[:, : asked.top_n].tolist()
    facts = run.facts
    title = f"Experiment = {facts['run']}, Epoch = {facts['checkpoint']}, {run.names[label]}: nearest training images"
    page = HTML(folder, title)
    width = min(run.options.result.display_winsize, 128)
    rows = []
    for number, (picture, row, places) in enumerate(zip(drawn, distances, order)):
        files = [f"{number:05d}_generated.png"]
        files += [f"{number:05d}_{rank:03d}_{_flat(real.names[place])}.png" for rank, place in enumerate(places, 1)]
        for file, each in zip(files, [picture, *map(real.read, places)]):
            Image.fromarray(each).save(page.get_image_dir() / file)
        page.add_header(f"sample {number}")
        captions = [f"{row[place]:.4g} {_class_of(real, place)}" for place in places]
        page.add_images(files, ["generated", *captions], files, width=width)
        matches = [_match(real, place, row[place], file) for place, file in zip(places, files[1:])]
        rows.append({"number": number, "picture": f"images/{files[0]}", "matches": matches})
    page.save()
    Image.fromarray(_tile(drawn, distances, order, real)).save(folder / "match.png")
    facts |= {"class": label, "name": run.names[label], "seed": asked.sample_seed}
    facts |= {"features": asked.features, **comparison.facts}
    facts |= {"distance": "squared L2", "real": real.facts(), "samples": rows}
    replace_text(folder / "match.json", [json.dumps(facts, indent=1)])
    place = order[distances.min(axis=1).argmin()][0]
    return f"{real.names[place]} at {distances.min():.4g}"


def _match(real: ClassImages, place: int, distance: float, picture: str) -> dict[str, object]:
    """What the JSON file says of a real image."""
    label = real.labels[place]
    facts = {"distance": float(distance), "file": real.paths[place], "picture": f"images/{picture}"}
    return {**facts, "class": label, "name": real.class_names[label]}


def _tile(
    drawn: list[Pixels], distances: NDArray[np.float64], order: list[list[int]], real: ClassImages
) -> NDArray[np.uint8]:
    """Every sample and its nearest images: of one sample in a square, of several a row each."""
    pictures: list[Pixels] = []
    captions: list[str] = []
    for picture, row, places in zip(drawn[:_MOST_ROWS], distances, order):
        pictures += [picture, *map(real.read, places)]
        captions += ["generated", *(f"{row[place]:.4g}" for place in places)]
    values = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    return captioned_grid(values, captions, across=0 if len(drawn) == 1 else 1 + len(order[0]))


def _flat(name: str) -> str:
    """A name with folders as the name of one file."""
    return name.replace("/", "_")


def _class_of(real: ClassImages, place: int) -> str:
    """Name of the class where images of several are searched, else nothing."""
    return real.class_names[real.labels[place]] if len(set(real.labels)) > 1 else ""


PIXELS = "pixels"
_WEIGHTS = specs(MetricOptions)["inception_weights"]
_CACHE = specs(MetricOptions)["feature_cache"]


@dataclass(frozen=True, kw_only=True)
class MatchOptions(LatentOptions):
    """What is drawn, and what it is compared with."""

    class_id: int | None = arg(None, minimum=0, aliases=("class-id",), help="class of the samples")
    class_name: str = arg("", aliases=("class-name",), help="the same by name")
    num_images: int = arg(1, minimum=1, maximum=1000, aliases=("n_samples",), help="samples, each with its own matches")
    top_n: int = arg(15, minimum=1, aliases=("top-n",), help="nearest training images of each sample")
    features: str = arg(
        PIXELS,
        choices=(PIXELS, *EXTRACTORS),
        aliases=("feature_extractor",),
        help="what is compared: the pixels, which finds copies, or the features of this network, which finds likeness",
    )
    all_classes_real: bool = arg(False, help="compare with the training images of all classes, not of this one only")
    inception_weights: str = arg("", metavar="FILE", help=_WEIGHTS.help)
    feature_cache: str = arg("", metavar="DIR", help=_CACHE.help, advanced=True)

    def __post_init__(self) -> None:
        if self.class_id is not None and self.class_name:
            raise OptionError("--class_id and --class_name together: give one")


def main(argv: Sequence[str] | None = None) -> int:
    """Match from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed, 2 bad options or images, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("match.py", argv, _run)


def _run(argv: list[str]) -> int:
    options = parse_noise_run("scripts/match.py", argv, MatchOptions, used=("dataroot",))
    asked = options.test
    label = one_class(asked.class_id, asked.class_name, names_of_run(options), "--class")
    run = load_noise_run(options)
    images = _real(run, label)

    extractor = "" if asked.features == PIXELS else asked.features
    comparison = Comparison(extractor, run.model.engine.device, asked.inception_weights, asked.feature_cache)
    place = result_folder(options, f"match_{label}")
    with drafted(place, f"--results_dir {options.result.results_dir}") as draft:
        nearest = write_matches(run, label, images, comparison, draft)
    logger.info("%s compared, the nearest is %s: %s", counted(len(images), "image"), nearest, place / "index.html")
    return EXIT_DONE


def _real(run: NoiseRun, label: int) -> ClassImages:
    """The training images that samples of a class are compared with.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are not of the run's size.
    """
    options, asked = run.options, run.options.test
    place = RunPlace(options.run.name, Path(options.run.checkpoints_dir), Path(options.result.results_dir))
    images = training_images(place, options.data.dataroot if "dataroot" in options.given else "")
    if len(run.names) > 1 and not asked.all_classes_real:
        images = images.of_classes(_same_class(run.names, label, images.class_names))
    if not len(images):
        raise FileNotFoundError(f"{images.label}: no images of the class {run.names[label]}; give --dataroot DIR")
    run.model.check_size(*images.read(0).shape[:2], what="--dataroot: images of")
    return images


def _same_class(names: Sequence[str], label: int, others: Sequence[str]) -> list[int]:
    """The label of a class in a data set that may have been changed since: by name, else by number, else none."""
    if names[label] in others:
        return [others.index(names[label])]
    if len(others) != len(names):
        return []
    logger.warning("warning: class %d of the run is %s, that of the images %s", label, names[label], others[label])
    return [label]


if __name__ == "__main__":
    sys.exit(main())
