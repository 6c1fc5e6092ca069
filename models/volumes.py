"""Volumes through trained runs: each run sees slices cut as those of its training were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.translation import Ready, Translator, batch_of
from util.files import real_path
from util.images.io import Format, Picture, scale_of, stored_pixels
from util.volumes.files import suffix_of, write_nifti
from util.volumes.grid import view_of
from util.volumes.slices import SideSettings, read_settings
from util.volumes.translation import Pictures, SliceModel, is_volume, read_volume, translate_volume


@dataclass(frozen=True)
class VolumeRun:
    """A run that translates slices.

    Attributes:
        name: of the run, for messages.
        translator: its generator.
        view: in which its slices were cut, by ``--views``; empty for what its data set says.
        batch_size: slices that go through the network together; fewer where they would have more than ``BATCH_PIXELS``.
    """

    name: str
    translator: Translator
    view: str = ""
    batch_size: int = 1

    def slice_model(self, path: Path) -> _Slices:
        """What cuts, translates and remembers the type of the results.

        Raises:
            ValueError: nothing says how the slices of the training were cut.
        """
        data = self.translator.data
        settings = read_settings(Path(data.dataroot))
        if settings is None and not self.view:
            raise ValueError(
                f"--name {self.name}: {data.dataroot} has no slices.json that says how the training's slices were cut: "
                "give --views, e.g. --views axial, or --dataroot if the data set has been moved"
            )
        side = data.domain(self.translator.source)
        named = settings.sides.get(side.name, settings.sides.get("")) if settings else None
        model = SliceModel(
            self._translate(path),
            self.view or (settings.view if settings else ""),
            settings.resample if settings else 0.0,
            named or SideSettings(),
            self._low,
        )
        return _Slices(model, self._kind(path))

    @property
    def _low(self) -> float:
        """The lowest value of the source's files, in their unit."""
        side = self.translator.data.domain(self.translator.source)
        return (side.value_range or scale_of(self.translator.generator.source.format))[0]

    def _kind(self, path: Path) -> Format:
        """The type of the translation's numbers."""
        source = self.translator.generator.source
        empty = np.full((1, 1, source.channels), 0, source.format)
        if source.format == "float32" or float(self._low).is_integer():
            empty = empty + np.asarray(self._low, source.format)
        return self.translator.ready(Picture(empty, source.format), str(path)).kind

    def _translate(self, path: Path) -> Callable[[Pictures], Pictures]:
        translator = self.translator

        def translate(slices: Pictures) -> Pictures:
            height, width = slices[0].shape[:2]
            grid = translator.grid(height, width)
            batch = batch_of(self.batch_size, height, width)
            made: list[NDArray[Any]] = []
            for first in range(0, len(slices), batch):
                places = range(first, min(first + batch, len(slices)))
                ready = [self._ready(slices[place], path, place) for place in places]
                if grid is not None:
                    made += [translator.tiled(each, place, grid) for each, place in zip(ready, places)]
                    continue
                images = torch.stack([translator.tensor(each) for each in ready])
                results = translator.translate(images, places)[0].cpu()
                made += [_in_unit(each, result) for each, result in zip(ready, results)]
            return made

        return translate

    def _ready(self, array: NDArray[Any], path: Path, place: int) -> Ready:
        name = f"{path}, slice {place}"
        side, source = self.translator.data.domain(self.translator.source), self.translator.generator.source
        if not side.value_range and not side.label_nc and array.dtype.name != source.format:
            low, high = float(array.min()), float(array.max())
            limits = np.iinfo(source.format) if source.format != "float32" else None
            if limits is not None and not limits.min <= low <= high <= limits.max:
                raise ValueError(
                    f"{name}: has values from {low:g} to {high:g}, the training had {source.format} and no "
                    f"--value_range_{side.name}: give one that fits"
                )
            array = array.astype(source.format)
        format: Format = array.dtype.name  # type: ignore[assignment]  # util.volumes makes these four only
        return self.translator.ready(Picture(array, format), name)


@dataclass(frozen=True)
class _Slices:
    model: SliceModel
    kind: Format


def _in_unit(ready: Ready, values: torch.Tensor) -> NDArray[np.float32]:
    """``[H, W, C]`` in the unit of the target, not yet rounded: several views may be averaged."""
    return stored_pixels(values, ready.stored.format, "float32", value_range=ready.value_range)


def translate_to_nifti(path: Path, output: Path, runs: Sequence[VolumeRun]) -> str:
    """Translate a volume, average over the runs, and write it on the grid of its source.

    Args:
        path: a file, or the folder of a DICOM series.
        output: ``.nii`` or ``.nii.gz``.
        runs: one, or one per view, of one target.

    Returns:
        shape, type and range of the result, in one line.

    Raises:
        FileNotFoundError, ValueError: the volume cannot be read, or does not fit the runs.
    """
    models = [run.slice_model(path) for run in runs]
    targets = {(model.kind, run.translator.generator.target.unit) for model, run in zip(models, runs)}
    if len(targets) > 1:
        raise ValueError(f"the runs {', '.join(run.name for run in runs)} make values of different kinds: no average")
    volume = read_volume(path)
    try:
        views = [view_of(volume, model.model.view) for model in models]
        if len(set(views)) < len(views):
            raise ValueError(f"the runs cut {', '.join(views)} slices: give runs of different views to average")
        array = translate_volume(volume, [model.model for model in models], models[0].kind)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    unit = runs[0].translator.generator.target.unit
    write_nifti(output, array, volume, description=f"{'+'.join(run.name for run in runs)} {unit}".strip())
    size = "x".join(map(str, array.shape[:3]))
    return f"{output}: {size}, {array.dtype.name}, {array.min():.6g} to {array.max():.6g} {unit}".rstrip()


def plan_volumes(inputs: Sequence[str], to: str, existing: str) -> list[tuple[Path, Path]]:
    """Every volume with its result.

    Args:
        inputs: files, and folders of a DICOM series each.
        to: ``--output``: a file for one volume, or a folder.
        existing: what to do where a result is there already: ``refuse``, ``skip`` or ``replace``.

    Raises:
        FileNotFoundError, ValueError: an input is no volume, or a result cannot be written or is there already.
    """
    paths, output = [Path(word) for word in inputs], Path(to)
    if foreign := [path for path in paths if not is_volume(path)]:
        raise ValueError(f"INPUT {foreign[0]}: is no volume, others are: translate pictures and volumes by two calls")
    as_file = output.name.lower().endswith((".nii", ".nii.gz"))
    if as_file and len(paths) > 1:
        raise ValueError(f"--output {output}: a file name, but there are {len(paths)} volumes; name a folder")
    if not as_file and output.suffix and not output.is_dir():
        raise ValueError(f"--output {output}: volumes are written as .nii or .nii.gz; name such a file, or a folder")
    names = [path.name.removesuffix(suffix_of(path)) if path.is_file() else real_path(path).name for path in paths]
    if not as_file and len(set(names)) < len(names):
        raise ValueError(f"--output {output}: two volumes are called {max(names, key=names.count)}; give two calls")
    jobs = [(path, output if as_file else output / f"{name}.nii.gz") for path, name in zip(paths, names)]
    for _, result in jobs:
        if real_path(result) in {real_path(each) for each in paths}:
            raise ValueError(f"--output {output}: {result} is an input and would be lost; name another place")
        if result.exists() and existing == "refuse":
            raise FileExistsError(f"--output {output}: {result} is there already: give --existing replace or skip")
    return [job for job in jobs if existing != "skip" or not job[1].exists()]
