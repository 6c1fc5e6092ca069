"""Export the generator of a trained run as ONNX, torch.export or OpenVINO, and compare the file with the run.

Usage:
    python scripts/export.py --name RUN                                  checkpoints/RUN/latest_AtoB.onnx
    python scripts/export.py --name RUN --direction BtoA --format openvino
    python scripts/export.py --name RUN --with_processing --output model.onnx     uint8 pictures in and out
Other flags as of test.py; --eval freezes the running statistics of batch norm. A page with the largest differences
is written to results/RUN/export_latest. Exit code 1: the file differs by more than --tolerance.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import numpy as np
import torch
import torch.nn.functional as F
from dominate.dom_tag import dom_tag
from dominate.tags import h2, p
from numpy.typing import NDArray
from torch import Tensor

from data import DATASETS
from data.loader import loader_of
from models import MODELS
from models.exported import Facts, Session, default_name, open_exported, usage_of
from models.exporting import (
    SUFFIX,
    Traced,
    allowed,
    check_packages,
    denormalised,
    differences,
    example_of,
    expected,
    facts_of_run,
    frozen,
    normalised,
    other_sizes,
    reflected,
    scale_factor,
    traced,
    write,
)
from models.generators import Generator, generator_of, is_forward, own_direction
from models.trained import TrainedRun, load_run, result_folder
from options.export_options import ExportOptions
from options.parse import Options, parse_test, split_direction
from util.exit_code import EXIT_DONE, EXIT_FAILED, report_error, run_command
from util.files import drafted, replace_text
from util.images.io import save_array
from util.images.labels import displayed
from util.pages.html import image_row, page, wide_table
from util.run.engine import start_engine
from util.run.folder import check_writable
from util.wording import counted

logger = logging.getLogger("export")

ENGINE_OF = {"onnx": "onnxruntime", "torch": "torch", "openvino": "openvino"}
"""Format -> the engine that it is compared by."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export from a command line.

    Args:
        argv: its words without the program; default ``sys.argv[1:]``.

    Returns:
        0 done, 1 failed or the file differs too much, 2 bad options or a missing package, 130 stopped by Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return run_command("export.py", argv, _run)


def _run(argv: list[str]) -> int:
    asked, words = split_direction(argv)
    options = parse_test(words, MODELS, DATASETS, program="scripts/export.py", test_record=ExportOptions)
    o: ExportOptions = options.test
    direction = asked or own_direction(options)
    is_forward(options, direction)  # refuses other words
    engine = ENGINE_OF[o.format]
    check_packages(o.format, engine)

    run = load_run(options, start_engine(**{**vars(options.engine), "gpu_ids": "-1"}))
    generator = generator_of(run, direction, maps=not o.translation_only)
    file = (
        Path(o.output)
        if o.output
        else run.folder / default_name(run.tag, direction, generator.inputs, SUFFIX[o.format])
    )
    if file.suffix != SUFFIX[o.format]:
        raise ValueError(f"--output {o.output}: a file of --format {o.format} ends with {SUFFIX[o.format]}")
    if file.is_dir():
        raise ValueError(f"--output {file}: is a folder; name a file")
    check_writable(file, f"--output {file}")
    graph = _graph(run, generator, direction, o)
    source = "drawn numbers"
    pictures: Iterator[tuple[str, Tensor]] = iter(())
    if "image" in graph.facts.inputs:  # before anything is written: --images may not be there
        source, pictures = _pictures(options, graph.facts, forward=is_forward(options, direction))
    made = write(graph, file, o.format, external_data=o.external_data, opset=o.opset)
    _tell(graph, made)

    session, facts = open_exported(file, engine)
    parity = Parity(session, generator, facts, o.tolerance)
    for count, size in other_sizes(generator, facts):
        example = example_of(generator, facts, batch=count, size=size, seed=1)
        shape = f"{size[0]}x{size[1]}" if size else "z and label"
        parity.add(f"drawn numbers, batch of {count}, {shape}", example)
    for name, picture in pictures:
        parity.add(name, (picture,), is_picture=True)
    folder = Path(o.report) if o.report else result_folder(options, "export")
    with drafted(folder, f"--report {folder}") as draft:
        _write_report(draft, parity, graph, made, engine, source)
    worst = parity.worst
    logger.info(
        "%s against torch on %s (%s): largest difference %.3g, mean %.3g; %s",
        *(engine, counted(len(parity.rows), "input"), source, worst.largest, worst.mean, folder / "index.html"),
    )
    if parity.failed:
        report_error(
            "export.py",
            f"{file}: {len(parity.failed)} of {len(parity.rows)} inputs differ by more than --tolerance "
            f"{o.tolerance:g}, the worst ({worst.name}) by {worst.largest:.3g}; see {folder / 'index.html'}",
        )
    return EXIT_FAILED if parity.failed else EXIT_DONE


def _graph(run: TrainedRun, generator: Generator, direction: str, o: ExportOptions) -> Traced:
    size = (o.size[0], o.size[1]) if o.size else None
    with frozen(generator) as told:
        facts = facts_of_run(run, run.tag, generator, told, direction=direction, processing=o.with_processing)
        return traced(generator, facts, size=size)


def _tell(graph: Traced, made: Sequence[Path]) -> None:
    facts = graph.facts
    for what, how in facts.frozen.items():
        logger.info("%s: %s", what.replace("_", " "), how)
    fixed = [name for name in ("height", "width") if name not in facts.dynamic and "image" in facts.inputs]
    why = f"; {' and '.join(fixed)} fixed: {graph.why_fixed or 'by --size'}" if fixed else ""
    logger.info("free: %s%s", ", ".join(facts.dynamic), why)
    logger.info("in: %s", usage_of(facts)["in"])
    logger.info("out: %s", usage_of(facts)["out"])
    logger.info("%s", ", ".join(f"{each} ({each.stat().st_size / 1e6:.1f} MB)" for each in made))


# --- what it is compared on -------------------------------------------------------------------------------------------


def _pictures(options: Options, facts: Facts, *, forward: bool) -> tuple[str, Iterator[tuple[str, Tensor]]]:
    """Where the images come from, and name and ``[1, C, H, W]`` (with processing ``[1, H, W, C]``) of each."""
    o: ExportOptions = options.test
    try:
        found = _images(options, forward=forward)
        first = next(found)
    except (ValueError, FileNotFoundError, StopIteration) as error:
        if o.images:
            raise
        logger.warning("no images of the run's data set (%s): compared on drawn numbers; give --images DIR", error)
        return "drawn numbers", iter(())
    chosen = itertools.islice(itertools.chain([first], found), o.num_images)
    pictures = ((name, _as_input(_of_size(image, facts), facts)) for name, image in chosen)
    return f"images of {o.images or options.data.dataroot}", pictures


def _images(options: Options, *, forward: bool) -> Iterator[tuple[str, Tensor]]:
    """Name and ``[1, C, H, W]`` in [-1, 1] of the images that a test would read, or of ``--images``."""
    o: ExportOptions = options.test
    data, channels = options.data, options.model.data_channels
    mode, side = options.run.dataset_mode, "A" if forward else "B"
    if o.images:
        mode, data = "single", replace(data, dataroot=o.images)
        if (side == "A") != (data.direction == "AtoB"):
            data, channels = data.exchanged(), (channels[1], channels[0])
        side = "A"
    dataset = DATASETS.get(mode)(data, input_nc=channels[0], output_nc=channels[1], seed=options.engine.seed)
    for batch in loader_of(dataset, batch_size=1).batches(1):
        if side not in batch:
            raise ValueError(f"the data set has no side {side}")
        image: Any = batch
        yield Path(str(image[f"{side}_paths"][0])).name, image[side]


def _of_size(image: Tensor, facts: Facts) -> Tensor:
    """The image at a size that the file takes: continued by reflection, or scaled to the only size."""
    height, width = image.shape[2:]
    if facts.fixed_size:
        return F.interpolate(image, size=facts.fixed_size, mode="bilinear", align_corners=False)
    if facts.processing:
        return image
    places = [reflected(size, facts, image.device) for size in (height, width)]
    return image.index_select(2, places[0]).index_select(3, places[1])


def _as_input(image: Tensor, facts: Facts) -> Tensor:
    """With processing: the numbers that a file of the source would hold."""
    if not facts.processing:
        return image
    stored = denormalised(image.permute(0, 2, 3, 1), facts.source)
    return stored if facts.source.labels else stored.to(getattr(torch, facts.source.format))


# --- the comparison ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """How far file and run are apart on one input: largest and mean over all outputs, in units of [-1, 1]."""

    name: str
    largest: float
    mean: float
    passed: bool


class Parity:
    """Runs inputs through file and module.

    Attributes:
        rows: of the inputs, in their order.
        shown: of the worst picture, or of the worst input where there is none: input, torch, file.
    """

    def __init__(self, session: Session, generator: Generator, facts: Facts, tolerance: float) -> None:
        self._session, self._generator, self._facts, self._tolerance = session, generator, facts, tolerance
        self.rows: list[Row] = []
        self.shown: tuple[Row, list[NDArray[Any]]] | None = None
        self._shows_picture = False

    @property
    def worst(self) -> Row:
        """The input with the largest difference."""
        return max(self.rows, key=lambda row: row.largest)

    @property
    def failed(self) -> list[Row]:
        """Those beyond the tolerance."""
        return [row for row in self.rows if not row.passed]

    def add(self, name: str, inputs: Sequence[Tensor], *, is_picture: bool = False) -> None:
        """Compare on one input, as the file takes it."""
        wanted = expected(self._generator, self._facts, inputs)
        found = self._session([each.numpy() for each in inputs])
        pairs = enumerate(zip(wanted, found, strict=True))
        apart = [differences(self._facts, place, *pair) for place, pair in pairs]
        passed = all(each[0] <= allowed(self._facts, place, self._tolerance) for place, each in enumerate(apart))
        largest, mean = (max(each[k] for each in apart) for k in (0, 1))
        row = Row(name, largest, mean, passed)
        self.rows.append(row)
        if self.shown is None or (is_picture, largest) >= (self._shows_picture, self.shown[0].largest):
            first = [inputs[0].numpy()] if "image" in self._facts.inputs else []
            self.shown = row, [each[:1] for each in (*first, wanted[0], found[0])]
            self._shows_picture = is_picture


def _write_report(folder: Path, parity: Parity, graph: Traced, made: Sequence[Path], engine: str, source: str) -> None:
    """``index.html``, ``parity.json`` and the pictures of the worst input."""
    facts, worst = graph.facts, parity.worst
    assert parity.shown is not None
    row, pictures = parity.shown
    names = ["input", "run", "export"][-len(pictures) :]
    shown = {name: _displayed(each[0], facts, is_input=name == "input") for name, each in zip(names, pictures)}
    wanted, found = (pictures[place].astype(np.float64) for place in (-2, -1))
    gain, shown["difference"] = _difference(wanted[0], found[0], facts)
    for name, picture in shown.items():
        save_array(folder / "images" / f"{name}.png", picture)
    files = [f"{name}.png" for name in shown]
    said = {"input": "input", "run": "the run, torch", "export": f"the file, {engine}"}
    captions = [*(said[name] for name in names), f"difference, {gain:.0e} times" if gain else "no difference"]
    cells = [[e.name, f"{e.largest:.3g}", f"{e.mean:.3g}", "" if e.passed else "too much"] for e in parity.rows]
    pieces: list[dom_tag] = [
        p(
            f"{counted(len(parity.rows), 'input')}, {source}: largest difference {worst.largest:.3g} ({worst.name}), "
            "of values in [-1, 1]"
        ),
        image_row(f"The worst: {row.name}, {row.largest:.3g}", files, captions, files),
        h2("Every input"),
        wide_table(["input", "largest", "mean", ""], cells),
        h2("The file"),
        wide_table([], _facts_rows(facts, made), kind="facts"),
    ]
    replace_text(folder / "index.html", [page(f"Export of {facts.name}: {engine} against torch", pieces)])
    told = {"engine": engine, "source": source, "inputs": [asdict(each) for each in parity.rows]}
    replace_text(folder / "parity.json", [json.dumps({**told, "file": json.loads(facts.text())}, indent=1)])


def _facts_rows(facts: Facts, made: Sequence[Path]) -> list[list[str]]:
    rows = [["file", ", ".join(map(str, made))], ["run", f"{facts.name} ({facts.model}), {facts.tag}"]]
    rows += [[what.replace("_", " "), how] for what, how in facts.frozen.items()]
    rows += [["free", ", ".join(facts.dynamic)], *([key, text] for key, text in usage_of(facts).items())]
    return [*rows, ["made by", ", ".join(f"{name} {version}" for name, version in facts.versions.items())]]


def _displayed(picture: NDArray[Any], facts: Facts, *, is_input: bool) -> NDArray[Any]:
    """uint8 ``[H, W, 3]`` of what a file takes or gives."""
    side = facts.source if is_input else facts.target
    if not facts.processing:
        return displayed(picture, side.labels)
    return displayed(normalised(torch.from_numpy(picture), side).permute(2, 0, 1), side.labels)


def _difference(one: NDArray[Any], other: NDArray[Any], facts: Facts) -> tuple[float, NDArray[Any]]:
    """By which power of ten the difference is enlarged, and its picture, white where there is none."""
    apart = np.abs(one - other) if one.shape == other.shape else np.ones_like(one)
    if facts.processing and facts.target.labels:
        apart = np.minimum(apart, 1)  # another label, whichever
    apart = apart.max(axis=2 if facts.processing else 0) * scale_factor(facts, 0)
    largest = float(apart.max())
    gain = 10.0 ** np.floor(-np.log10(largest)) if largest > 0 else 0.0
    grey = (255 * (1 - np.clip(apart * gain, 0, 1))).astype(np.uint8)
    return gain, np.repeat(grey[:, :, None], 3, axis=2)


if __name__ == "__main__":
    sys.exit(main())
