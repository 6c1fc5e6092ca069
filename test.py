"""Test a trained model: ``python test.py --name RUN`` makes a folder of pictures with a page to look at them.

Everything else comes from the run's ``train_opt.json`` and can be overridden. As a library: ``main(argv)``.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data import DATASETS
from models import MODELS
from options.parse import Options, answer_help, parse_test
from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()
    answer_help("test.py", MODELS, DATASETS)  # both before torch is imported; help answers at once

import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from data.base_dataset import BaseDataset, sample_size
from data.check import unread_files
from data.loader import Loader, loader_of
from data.transforms import scaled_size
from models.base_model import BaseModel, draws_from_noise
from models.sagan.samples import draw_from_noise
from models.trained import drafted_results, folder_of, load_run
from options.base_options import OneWayOptions
from options.files import write_options
from util.background import BackgroundWriter
from util.exit_code import EXIT_DONE, EXIT_FAILED, report_error, run_command
from util.images.io import fitting_format, save_array, scale_of, to_display, write_image, written_path
from util.images.labels import displayed, label_map, write_label_map
from util.loggers.base import Logger
from util.loggers.wandb_log import WandbLogger
from util.pages.html import HTML, SHOWN
from util.run.engine import Engine, start_engine
from util.run.inference import ResultNames, all_kinds, caption, translate
from util.run.origin import Origin, origin_of
from util.run.sides import SideFormat, Storage, exchanged, write_sides
from util.types import Batch, ImageRecord, Visual
from util.wording import counted

logger = logging.getLogger("test")


def main(argv: Sequence[str] | None = None) -> int:
    """Test from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed or images left out because they cannot be read, 2 bad options or data, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("test.py", argv, lambda words: _run(parse_test(words, MODELS, DATASETS)))


def _run(options: Options) -> int:

    run, result = options.run, options.result
    folder_of(options)  # a run that is not there, before anything is read
    engine = start_engine(**vars(options.engine))
    if draws_from_noise(MODELS.get(run.model)):
        return draw_from_noise(options, engine)
    input_nc, output_nc = options.model.data_channels
    one_way = isinstance(options.model, OneWayOptions) and options.model.test_direction == "BtoA"
    dataset = DATASETS.get(run.dataset_mode)(
        options.data.exchanged() if one_way else options.data,
        input_nc=input_nc,
        output_nc=output_nc,
        seed=options.engine.seed,
    )
    trained = load_run(options, engine)
    model = trained.model
    if result.num_samples > 1 and not _draws(model):
        raise ValueError(
            f"--num_samples {result.num_samples}: nothing is drawn in this test, so that all samples would be equal; "
            "leave it out, or test a run with dropout (without --eval) or of --model stochastic"
        )
    for line in unread_files(dataset):
        logger.warning("%s", line)
    total = int(min(options.result.num_test, len(dataset)))
    broken = _Broken(total)
    loader = _loader(options, dataset, model, engine, broken)
    remembered = (
        exchanged(trained.sides) if str(options.values.get("model_suffix", "")).endswith("_B") else trained.sides
    )
    storage = Storage(options.data.ranges(), remembered, "B" if one_way else "A", options.data.labels())
    model.check_size(*sample_size(_first_readable(dataset, loader.order(1)[:total])), what=options.data.size_flags)

    title = f"Experiment = {run.name}, Phase = {options.data.phase}, Epoch = {run.epoch}"
    with drafted_results(options) as (web_dir, draft):
        count = _translate(options, model, loader, dataset.root, HTML(draft, title), storage, total)
        if not count:
            raise broken.errors[0]
    write_options(options.values, options.defaults, trained.folder, "test")
    for error in broken.errors:
        report_error("test.py", error)
    lost, skipped = total - count, loader.num_images - total
    notes = [f"{skipped} left out by --num_test"] if skipped else []
    notes += [f"{lost or len(broken.errors)} left out as they cannot be read"] if broken.errors else []
    logger.info("%s%s: %s", counted(count, "image"), f" ({', '.join(notes)})" if notes else "", web_dir / "index.html")
    return EXIT_FAILED if broken.errors else EXIT_DONE


class _Broken:
    """What the loader finds that cannot be read among the first ``total`` samples, each file once.

    Attributes:
        errors: in the order of the test.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self.errors: list[Exception] = []

    def __call__(self, place: int, error: Exception) -> None:
        if place < self._total and str(error) not in map(str, self.errors):
            self.errors.append(error)


def _first_readable(dataset: BaseDataset, indices: Sequence[int]) -> Mapping[str, Any]:
    """The first sample of these that can be read.

    Raises:
        ValueError, OSError: none can; the error of the first.
    """
    errors: list[Exception] = []
    for index in indices:
        sample, found = dataset.readable(1, index)
        if sample is not None:
            return sample
        errors += found
    raise errors[0]


def _loader(options: Options, dataset: BaseDataset, model: BaseModel, engine: Engine, broken: _Broken) -> Loader:
    """Batches in order; one by one where the pictures of a larger batch would not be the same."""
    batch_size = options.data.batch_size
    if batch_size > 1 and (reason := _couples_samples(model)):
        logger.warning("--batch_size %d: 1 is used, because %s", batch_size, reason)
        batch_size = 1
    return loader_of(dataset, batch_size=batch_size, pin_memory=engine.device.type == "cuda", on_broken=broken)


def _couples_samples(model: BaseModel) -> str:
    """Why a picture would depend on the others in its batch; empty if it does not."""
    if model.draws_at_test:
        return "the model draws random numbers for the batch"
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in _active_modules(model)):
        return "batch norm takes its statistics from the batch; --eval would allow more"
    return "dropout draws one mask for the batch; --eval would allow more" if _draws(model) else ""


def _draws(model: BaseModel) -> bool:
    """Whether a second look at an image may give another picture."""
    dropout = nn.modules.dropout._DropoutNd
    return model.draws_at_test or any(isinstance(module, dropout) and module.p > 0 for module in _active_modules(model))


def _active_modules(model: BaseModel) -> Iterator[nn.Module]:
    return (module for net in model.networks.values() for module in net.modules() if module.training)


def _translate(
    options: Options, model: BaseModel, loader: Loader, root: Path, page: HTML, storage: Storage, total: int
) -> int:
    """Run the model over the first ``total`` images; returns how many samples were written."""

    kinds = all_kinds(model, options.result.num_samples)
    names = ResultNames(root, kinds)
    done = 0
    sides: dict[str, SideFormat] = {}
    live = _live_logger(options, page.web_dir)
    with contextlib.closing(live), BackgroundWriter() as writer, tqdm(total=total, unit=" img", disable=None) as bar:
        how = {"seed": options.engine.seed, "num_samples": options.result.num_samples}
        for batch, row, images in translate(model, loader, total=total, **how):
            stored = {label: storage.of(kinds[label], batch, row) for label in images}
            for label, kind in kinds.items():
                if label in images and kind.domain and not kind.colours:
                    unit, channels = options.data.domain(kind.domain).unit, int(images[label].shape[0])
                    sides[kind.domain] = replace(stored[label], unit=unit, channels=channels)
            parts = list(names.parts(batch, row, images))
            for side, name, part in parts:
                origins = {label: _origin(options, storage, batch, row, side, kinds[label]) for label in part}
                _write(options, writer, page, name, part, stored, origins)
                for label, values in model.extras().items() if side == "A" else ():
                    writer.submit(save_array, page.get_image_dir() / f"{name}_{label}.npy", values[row])
            done += 1
            shown = tuple(name for _, name, _ in parts)
            pictures = {label: displayed(image, stored[label].labels) for label, image in images.items()}
            live.log_images(ImageRecord(1, done, pictures, shown))
            bar.update()
    page.save()
    write_sides(page.web_dir, sides)
    return done


def _live_logger(options: Options, folder: Path) -> Logger:

    if not options.result.use_wandb:
        return Logger()
    return WandbLogger(folder, options.run.name, project=options.result.wandb_project_name, options=options.values)


def _write(
    options: Options,
    writer: BackgroundWriter,
    page: HTML,
    name: str,
    visuals: dict[str, Tensor],
    stored: Mapping[str, SideFormat],
    origins: Mapping[str, Origin],
) -> None:
    """Queue the pictures of one sample, each stored like its domain, and add its row to the page.

    A result at the place of a GeoTIFF is one too.
    """
    files, shown = [], []
    for label, image in visuals.items():
        image = _stretch(image, options.result.aspect_ratio)
        file = page.get_image_dir() / f"{name}_{label}.png"
        files.append(f"{name}_{label}.png")
        shown.append(files[-1])
        if stored[label].labels:
            geo = origins[label].of_size(*image.shape[-2:]).geo
            writer.submit(write_label_map, file, label_map(image), geo=geo)
            continue
        format, value_range = stored[label].format, stored[label].value_range or None
        alpha = options.data.alpha == "keep" and image.shape[0] in (2, 4)
        from_file = origins[label].of_size(*image.shape[-2:])
        numbers = [*(value_range or scale_of(format))]
        if from_file.has_gaps:
            numbers.append(float(from_file.nodata or 0.0))
        kind = fitting_format(format, *numbers)
        how: dict[str, Any] = {"value_range": value_range, "alpha": alpha, **vars(from_file)}
        # A TIFF says where it lies, and which number marks missing pixels. The page shows a PNG beside it.
        as_tiff = from_file.has_gaps or from_file.geo is not None
        if as_tiff or written_path(file, image.shape[0], kind, alpha=alpha) != file:
            writer.submit(write_image, file.with_name(f"{file.stem}.tif"), image, format, **how)
            writer.submit(save_array, file, to_display(image))
        else:
            writer.submit(write_image, file, image, format, **how)
            if value_range and value_range != scale_of(kind):  # 0 to 1200 of 65535 is black in a browser
                writer.submit(save_array, page.web_dir / SHOWN / files[-1], to_display(image))
                shown[-1] = f"../{SHOWN}/{files[-1]}"
    page.add_header(name)
    page.add_images(shown, [caption(label) for label in visuals], files, width=options.result.display_winsize)


def _origin(options: Options, storage: Storage, batch: Batch, row: int, side: str, kind: Visual) -> Origin:
    """What a visual takes over from its source file, where it lies at the same place as that."""
    data = options.data
    return origin_of(
        batch,
        row,
        side,
        kind,
        domain_key="A" if kind.domain == storage.source else "B",
        nodata=data.domain(kind.domain).nodata if kind.domain else "",
        keeps_place=lambda width, height: data.no_flip and scaled_size(width, height, data) == (width, height),
    )


def _stretch(image: Tensor, aspect_ratio: float) -> Tensor:
    """``[C, H, W]`` widened (ratio above 1) or heightened (below 1), as published."""
    if aspect_ratio == 1.0:
        return image

    height, width = image.shape[-2:]
    size = (height, round(width * aspect_ratio)) if aspect_ratio > 1 else (round(height / aspect_ratio), width)
    return F.interpolate(image[None], size=size, mode="bicubic", antialias=True)[0].clamp(-1, 1)


if __name__ == "__main__":
    sys.exit(main())
