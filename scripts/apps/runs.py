"""The runs of the app: what each one is, known at once; the weights, loaded on first use, one copy for all visitors."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import DATASETS
from data.base_dataset import BaseDataset
from data.loader import collate
from data.transforms import final_size
from models import MODELS
from models.augan_model import MOST_UNCERTAIN
from models.base_model import draws_from_noise
from models.generators import own_direction
from models.sagan.latent import labels_between, numbered_latents
from models.sagan.samples import class_names_of
from models.trained import TrainedRun, folder_of, load_run
from options.parse import Options, parse_test
from options.test_options import as_in_test
from scripts.apps.palettes import FITS, Palette, fitting_palette, palette_in
from util.images.draw import draw_heat, draw_plasma
from util.images.io import stored_format, stored_pixels, to_display
from util.run.engine import start_engine

_PHASES = ("test", "val", "train")  # where pictures to start from are looked for
_MOST_SAMPLES = 200
_LOOKED_AT = 3  # label maps by which the palette is found


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before its weights are loaded.

    Attributes:
        name: of the run.
        options: as test.py has them.
        folder: of its checkpoints.
    """

    name: str
    options: Options
    folder: Path

    @property
    def draws_from_noise(self) -> bool:
        """True for a run that makes images of classes from noise."""
        return draws_from_noise(MODELS.get(self.options.run.model))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Of a run that draws from noise."""
        options: Any = self.options.model
        return class_names_of(self.folder, options.num_classes)

    @property
    def directions(self) -> tuple[str, ...]:
        """``AtoB``, ``BtoA`` or both, the run's own first."""
        own = own_direction(self.options)
        kinds = MODELS.get(self.options.run.model).visual_kinds
        both = {"fake_A", "fake_B"} <= kinds.keys() and getattr(self.options.model, "test_direction", "both") == "both"
        return (own, "BtoA" if own == "AtoB" else "AtoB") if both else (own,)

    @cached_property
    def dataset(self) -> BaseDataset | None:
        """The run's pictures as test.py reads them; None where they are no longer there."""
        if self.draws_from_noise:
            return None
        options = self.options
        for phase in dict.fromkeys((options.data.phase, *_PHASES)):
            data = as_in_test(options.data, phase, _MOST_SAMPLES)
            try:
                return DATASETS.get(options.run.dataset_mode)(
                    data, input_nc=options.model.input_nc, output_nc=options.model.output_nc, seed=options.engine.seed
                )
            except (ValueError, OSError):
                continue
        return None

    @cached_property
    def samples(self) -> tuple[str, ...]:
        """Names of the pictures of the data set, in its order; of domains without pairs their numbers."""
        if self.dataset is None:
            return ()
        count = min(len(self.dataset), _MOST_SAMPLES)
        if count != self.dataset.num_units():
            return tuple(str(place + 1) for place in range(count))
        return tuple(f"{place + 1}: {Path(self.dataset.unit_paths(place)[0]).stem}" for place in range(count))

    def sample(self, place: int, side: str = "A") -> torch.Tensor:
        """A picture of the data set as the network takes it: ``[C, H, W]`` in [-1, 1].

        Args:
            place: in ``samples``.
            side: ``A`` is the model's input.

        Raises:
            ValueError: there is no such picture, or it cannot be read.
        """
        if self.dataset is None or not 0 <= place < len(self.samples):
            raise ValueError("There is no such picture in the data of this run.")
        batch = collate([self.dataset[1, place]], swap=self.options.data.direction == "BtoA")
        if side not in batch:
            raise ValueError("The data of this run have no pictures for this direction.")
        picture: torch.Tensor = batch[side][0]
        return picture

    @property
    def label_nc(self) -> int:
        """Labels of the model's input where that is one-hot; 0 where it has colours."""
        return self.options.data.domain("A").label_nc

    @cached_property
    def palette(self) -> Palette | None:
        """The classes of the model's input; None where it is no label map.

        Raises:
            ValueError: the ``palette.json`` of the data is damaged.
        """
        if self.draws_from_noise:
            return None
        maps = [to_display(self.sample(place)) for place in range(min(len(self.samples), _LOOKED_AT))]
        found = palette_in(Path(self.options.data.dataroot)) if self.options.data.dataroot else None
        if self.label_nc:
            return found
        if self.options.model.input_nc == 1:  # the ids themselves, in grey
            return found if found and all(each.max() < len(found.names) for each in maps) else None
        return found if found and all(found.distance(each) <= FITS for each in maps) else fitting_palette(maps)

    def map_size(self, width: int = 0, height: int = 0) -> tuple[int, int]:
        """Width and height that test.py would scale a label map of this size to; without one, that of the training."""
        crop = self.options.data.crop_size
        return final_size(width, height, self.options.data) if width else (crop, crop)

    def input_of(self, ids: NDArray[np.uint8], palette: Palette) -> NDArray[np.uint8]:
        """What the run's files hold for a map of class ids ``[H, W]``: colours ``[H, W, 3]``, or the ids ``[H, W, 1]``.

        Raises:
            ValueError: the run has fewer labels than the map has classes.
        """
        if self.label_nc and ids.max() >= self.label_nc:
            raise ValueError(f"The run {self.name} has {self.label_nc} labels only: 0 to {self.label_nc - 1}.")
        return ids[:, :, None] if self.label_nc or self.options.model.input_nc == 1 else palette.colours[ids]


@dataclass(frozen=True)
class Result:
    """A translation.

    Attributes:
        array: ``[H, W, C]`` in the depth and units of the run's files.
        maps: name -> uint8 ``[H, W, 3]``, what the model says beside it, in colours.
        seconds: that the network took.
    """

    array: NDArray[Any]
    maps: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    seconds: float = 0.0


class Runs:
    """The runs that the app was started with.

    One lock for all networks: they share the processor, and what they draw at random comes from one generator.

    Args:
        names: of the runs.
        flags: of test.py for all of them, such as ``--checkpoints_dir``.
        max_models: this many have their weights in memory at a time; the one not used for longest goes.

    Raises:
        FileNotFoundError, ValueError: a run is not there, or cannot be opened.
    """

    def __init__(self, names: Sequence[str], flags: Sequence[str], max_models: int) -> None:
        self.facts: dict[str, RunFacts] = {}
        for name in dict.fromkeys(names):
            options = parse_test(["--name", name, *flags], MODELS, DATASETS, program="scripts/app.py")
            self.facts[name] = RunFacts(name, options, folder_of(options))
        self.max_models = max_models
        self.loads = 0  # how often weights were loaded
        self._opened: OrderedDict[str, TrainedRun] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, name: str) -> RunFacts:
        """The run of this name.

        Raises:
            ValueError: the app has none.
        """
        if name not in self.facts:
            raise ValueError(f"There is no run {str(name)[:60]!r} here; there are {', '.join(self.facts)}.")
        return self.facts[name]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the runs whose weights are in memory, the one used last at the end."""
        return tuple(self._opened)

    @contextmanager
    def use(self, name: str) -> Iterator[TrainedRun]:
        """The run with its weights, for this thread alone.

        Raises:
            ValueError: the app has no such run, or its weights cannot be loaded.
        """
        facts = self.known(name)
        with self._lock:
            if name not in self._opened:
                while len(self._opened) >= self.max_models:
                    self._opened.popitem(last=False)
                self._opened[name] = load_run(facts.options, start_engine(**vars(facts.options.engine)))
                self.loads += 1
            self._opened.move_to_end(name)
            yield self._opened[name]


def translate(
    run: TrainedRun, array: NDArray[Any], *, direction: str = "", seed: int = 0, maps: bool = False
) -> Result:
    """Translate one picture.

    Args:
        run: opened.
        array: ``[H, W, C]`` in the units of the run's files.
        direction: ``AtoB`` or ``BtoA``; empty for the run's own.
        seed: of what the model draws at random.
        maps: with what the model says beside it.
    """
    begin = time.perf_counter()
    made, found = (
        run(array, direction=direction, seed=seed, maps=maps)
        if maps
        else (run(array, direction=direction, seed=seed), {})
    )
    seconds = time.perf_counter() - begin
    return Result(made, {name: drawn_map(name, values) for name, values in found.items()}, seconds)


def file_of(run: TrainedRun, direction: str, picture: torch.Tensor) -> NDArray[Any]:
    """A picture ``[C, H, W]`` in [-1, 1] of the input's domain as its file would have it: ``[H, W, C]``."""
    source = run.generator(direction).source
    value_range = (source.value_range[0], source.value_range[1]) if source.value_range else None
    kind = stored_format(source.format, value_range)
    return stored_pixels(picture, source.format, kind, value_range=value_range)


def drawn_map(name: str, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What a model says beside its translation, in colours: attention as heat, uncertainty on a scale, W as grey.

    Args:
        name: of the output, such as ``heat_fake_B``, ``conf_A`` or ``Disc_B``.
        values: ``[H, W]``.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    picture = torch.from_numpy(values)[None, None]
    if name.startswith("heat_"):
        return to_display(draw_heat(picture, *values.shape)[0])
    if name.startswith("conf_"):
        return to_display(draw_plasma(picture, MOST_UNCERTAIN)[0])
    return to_display(picture[0])


def draw_between(
    run: TrainedRun, labels: tuple[int, int], place: float, *, count: int, truncation: float, seed: int
) -> Result:
    """Images of a class, as ``scripts/generate.py`` draws them with this seed, or between it and another one.

    Args:
        run: of a model that draws from noise.
        labels: of both classes.
        place: 0 for the first class, 1 for the last.
        count: how many.
        truncation: bound of the latent vectors, see ``models.sagan.latent``.
        seed: of the latent vectors.

    Returns:
        ``array`` is uint8 ``[count, S, S, 3]``.
    """
    model: Any = run.model
    rows = [(labels[0], number) for number in range(count)]
    z = numbered_latents(seed, rows, model.options.nz, truncation=truncation)
    y = labels_between(labels, place, model.options.num_classes, count)
    begin = time.perf_counter()
    images = model.sample(z, y).cpu()
    return Result(np.stack([to_display(image) for image in images]), seconds=time.perf_counter() - begin)
