"""What the app can do for a visitor, without the page: the functions behind its buttons and its HTTP endpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.transforms import to_channels
from models.trained import TrainedRun
from scripts.apps.palettes import BUILT_IN, Palette
from scripts.apps.pictures import data_url, save_file, scaled_map, shown, side_by_side, spread, window_of
from scripts.apps.runs import Result, RunFacts, Runs, draw_between, file_of, translate
from scripts.apps.uploads import Limits, decode_upload, label_ids, read_upload
from util.images.io import to_display
from util.wording import counted

NO_TRUNCATION = 3.0
"""From here on the latent vectors are not truncated: fewer than 3 of 1000 numbers are larger."""

OF_THE_DATA = "of the data"
"""The palette that was found for a run, in the list of palettes."""


@dataclass(frozen=True)
class Translation:
    """What one run made of one picture.

    Attributes:
        run: its name.
        results: one per draw.
        spread: where the draws differ, uint8 ``[H, W, 3]``; None for a single draw.
    """

    run: str
    results: tuple[Result, ...]
    spread: NDArray[np.uint8] | None = None


@dataclass
class Times:
    """How long a request took.

    Attributes:
        network: seconds in networks, summed.
        begin: when the request was taken from the queue.
    """

    network: float = 0.0
    begin: float = field(default_factory=time.perf_counter)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begin

    def __str__(self) -> str:
        return f"network {1e3 * self.network:.0f} ms, on the server {1e3 * self.elapsed:.0f} ms"


@dataclass(frozen=True)
class Actions:
    """The app's functions.

    Attributes:
        runs: that it was started with.
        limits: of uploads.
        folder: of temporary files, which the server may hand out.
        palettes: name -> palette that may be chosen for a run, beside its own.
    """

    runs: Runs
    limits: Limits
    folder: Path
    palettes: dict[str, Palette] = field(default_factory=lambda: dict(BUILT_IN))

    # -- label maps ------------------------------------------------------------------------------------------------

    def palette(self, run: str, name: str = OF_THE_DATA) -> Palette:
        """The palette of a run, the first one where it has none, or the one that was chosen for it.

        Raises:
            ValueError: there is none of that name.
        """
        facts = self.runs.known(run)
        if name in ("", OF_THE_DATA):
            return facts.palette or next(iter(self.palettes.values()))
        if name not in self.palettes:
            raise ValueError(f"There is no palette {str(name)[:60]!r}; there are {', '.join(self.palettes)}.")
        return self.palettes[name]

    def canvas(self, run: str, palette: str, ids: NDArray[np.uint8] | None, *, generate: bool = True) -> str:
        """What the editor is given: the palette, and the map unless it stays.

        Args:
            run: its name.
            palette: name.
            ids: uint8 ``[H, W]``; None for the map that is there.
            generate: a picture is asked for at once.
        """
        chosen = self.palette(run, palette)
        pairs = zip(chosen.names, chosen.hex_colours)
        given: dict[str, Any] = {
            "key": chosen.key,
            "palette": [{"name": name, "colour": colour} for name, colour in pairs],
            "generate": generate,
        }
        return json.dumps(given if ids is None else {**given, "image": data_url(chosen.colours[ids])})

    def empty_map(self, run: str) -> NDArray[np.uint8]:
        """A map of the first class alone, in the size of the training."""
        width, height = self.runs.known(run).map_size()
        return np.zeros((height, width), np.uint8)

    def sample_map(self, run: str, place: int, palette: str) -> NDArray[np.uint8]:
        """A label map of the run's data, snapped."""
        facts = self.runs.known(run)
        sample = facts.sample(place)
        if facts.label_nc:
            return sample.argmax(0).numpy().astype(np.uint8)
        return self.palette(run, palette).ids(to_display(sample))

    def uploaded_map(self, run: str, file: str, palette: str) -> NDArray[np.uint8]:
        """A label map from a file, snapped, in the size that test.py would scale it to."""
        ids = label_ids(file, self.palette(run, palette), self.limits)
        return scaled_map(ids, self.runs.known(run).map_size(*ids.shape[::-1]))

    def drawn_map(self, run: str, image: str, palette: str) -> NDArray[np.uint8]:
        """The map that was drawn: a PNG in base64, snapped again, as nobody knows who has sent it.

        Raises:
            ValueError: it is no 8-bit picture.
        """
        chosen, picture = self.palette(run, palette), decode_upload(image, self.limits)
        if picture.format != "uint8" or picture.array.shape[2] not in (1, 3):
            raise ValueError("The label map is no 8-bit picture in grey or RGB.")
        height, width = picture.array.shape[:2]
        return chosen.ids(np.broadcast_to(picture.array, (height, width, 3)))

    def generate(self, run: str, ids: NDArray[np.uint8], palette: str, seed: int, times: Times) -> Result:
        """The picture of a label map."""
        facts = self.runs.known(run)
        with self.runs.use(run) as opened:
            result = translate(opened, facts.input_of(ids, self.palette(run, palette)), seed=seed)
        times.network += result.seconds
        return result

    def save_map(self, run: str, ids: NDArray[np.uint8], palette: str, seed: int) -> list[str]:
        """Files of the result, of the label map, and of both as a pair of the run's data set."""
        facts, result = self.runs.known(run), self.generate(run, ids, palette, seed, Times())
        labels = self.palette(run, palette).colours[ids]
        sides = (labels, result.array) if facts.directions[0] == "AtoB" else (result.array, labels)
        files = {"result": result.array, "label_map": labels, "pair": side_by_side(*sides)}
        return [save_file(array, self.folder, name) for name, array in files.items()]

    # -- pictures --------------------------------------------------------------------------------------------------

    def picture(self, run: str, direction: str, file: str | None, place: int) -> NDArray[Any]:
        """The picture to translate, ``[H, W, C]`` in the units of the run's files: an upload, or one of its data.

        Raises:
            ValueError: neither is there, or the upload is refused.
        """
        if file:
            return read_upload(file, self.limits).array
        if place < 0:
            raise ValueError("Upload a picture, or choose one of the run's data.")
        facts = self.runs.known(run)
        own = direction in ("", facts.directions[0])
        with self.runs.use(run) as opened:
            return file_of(opened, direction, facts.sample(place, "A" if own else "B"))

    def translate(
        self, run: str, array: NDArray[Any], direction: str, seed: int, samples: int, times: Times
    ) -> Translation:
        """Translate a picture, several times where the run draws at random.

        Raises:
            ValueError: the picture has other channels than the run's files.
        """
        facts = self.runs.known(run)
        if direction and direction not in facts.directions:
            raise ValueError(f"The run {run} translates {' and '.join(facts.directions)} only.")
        with self.runs.use(run) as opened:
            fitting = self._fitting(opened, array, direction)
            count = samples if opened.translator(direction).draws else 1
            results = tuple(
                translate(opened, fitting, direction=direction, seed=seed + draw, maps=draw == 0)
                for draw in range(max(count, 1))
            )
        times.network += sum(result.seconds for result in results)
        seen = [shown(result.array, *window_of([each.array for each in results])) for result in results]
        return Translation(run, results, spread(seen) if len(seen) > 1 else None)

    def _fitting(self, run: TrainedRun, array: NDArray[Any], direction: str) -> NDArray[Any]:
        """The picture with the channels of the run's files: colour as grey for one, grey three times for three."""
        generator = run.generator(direction)
        channels = 3 if generator.of_lightness else generator.source.channels
        try:
            return to_channels(array, channels, path="The picture", flag="input_nc", alpha="drop")
        except ValueError:
            name = run.options.run.name
            raise ValueError(
                f"The picture has {counted(array.shape[2], 'channel')}; the run {name} needs {channels}."
            ) from None

    # -- classes ---------------------------------------------------------------------------------------------------

    def draw(
        self, run: str, classes: tuple[str, str], place: float, count: int, truncation: float, seed: int, times: Times
    ) -> NDArray[np.uint8]:
        """Images of a class, or between two: uint8 ``[count, S, S, 3]``.

        Raises:
            ValueError: the run draws no classes, or has no such class.
        """
        facts = self.runs.known(run)
        if not facts.draws_from_noise:
            raise ValueError(f"The run {run} translates pictures and draws no classes.")
        labels = class_number(facts, classes[0]), class_number(facts, classes[1])
        bound = truncation if truncation < NO_TRUNCATION else math.inf
        with self.runs.use(run) as opened:
            drawn = draw_between(opened, labels, min(max(place, 0.0), 1.0), count=count, truncation=bound, seed=seed)
        times.network += drawn.seconds
        return drawn.array

    def models(self) -> list[dict[str, Any]]:
        """What the app has, for programs: per run its name, its model, and what it takes."""
        return [self._described(facts) for facts in self.runs.facts.values()]

    def _described(self, facts: RunFacts) -> dict[str, Any]:
        model = facts.options.run.model
        if facts.draws_from_noise:
            return {"run": facts.name, "model": model, "classes": list(facts.class_names)}
        palette = facts.palette
        colours = dict(zip(palette.names, palette.hex_colours)) if palette else {}
        return {"run": facts.name, "model": model, "directions": list(facts.directions), "palette": colours}


def class_number(facts: RunFacts, name: str) -> int:
    """The label of a class.

    Raises:
        ValueError: the run has none of this name.
    """
    if name not in facts.class_names:
        raise ValueError(f"The run {facts.name} has no class {str(name)[:60]!r}.")
    return facts.class_names.index(name)


def number(value: Any, low: int, high: int, what: str) -> int:
    """A whole number from a form or a program.

    Raises:
        ValueError: it is none, or lies outside.
    """
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = low - 1
    if not low <= whole <= high:
        raise ValueError(f"{what} must be a whole number from {low} to {high}.")
    return whole


def place_of(names: Sequence[str], name: str | None) -> int:
    """The place of a name in a list that the app made; -1 for none."""
    return names.index(name) if name in names else -1


def level(value: Any) -> float:
    """A number from 0 on, of a slider or a program.

    Raises:
        ValueError: it is something else.
    """
    try:
        level = float(value)
    except (TypeError, ValueError, OverflowError):
        level = -1.0
    if not 0 <= level <= 1000:
        raise ValueError("Morph and truncation are numbers from 0 on; truncation is above 0.")
    return level
