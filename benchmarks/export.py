"""Exported generators beside their run: the largest difference for every network and engine, and the engines' speed.

python -m benchmarks.export [--full] [--only NAME ...]     the table of docs/export.md
python -m benchmarks.export --speed [--images 8]           CPU seconds per image at 256 px, one thread, interleaved

Networks have random weights of --init_type kaiming, with which values are of the order of 1; without ``--full`` they
are narrow. Every file is run with another batch than that of its example, and where the size is free with two other
sizes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from util.openmp import share_processors

if __name__ == "__main__":
    share_processors()  # before torch is loaded

import torch

from data import DATASETS
from models import MODELS
from models.exported import ENGINES, Facts, Session, open_exported
from models.exporting import (
    SUFFIX,
    differences,
    example_of,
    expected,
    facts_of_run,
    frozen,
    other_sizes,
    traced,
    write,
)
from models.generators import Generator, generator_of
from models.trained import TrainedRun
from options.parse import parse_test
from util.run.engine import Engine

SMALL = ["--ngf", "8", "--ndf", "8"]
SMALL_ATME = ["--dim", "8", "--init_dim", "8"]
NETWORKS: dict[str, tuple[list[str], list[str], str]] = {  # name -> flags, flags that make it small, direction
    "pix2pix, unet_256, batch norm": (["--model", "pix2pix", "--eval"], SMALL, "AtoB"),
    "pix2pix, unet_256, statistics of each picture": (["--model", "pix2pix"], SMALL, "AtoB"),
    "pix2pix, resnet_9blocks, batch norm": (
        ["--model", "pix2pix", "--netG", "resnet_9blocks", "--eval"],
        SMALL,
        "AtoB",
    ),
    "CycleGAN, resnet_9blocks, A to B": (["--model", "cycle_gan"], SMALL, "AtoB"),
    "CycleGAN, resnet_9blocks, B to A": (["--model", "cycle_gan"], SMALL, "BtoA"),
    "ATME: W and G": (["--model", "atme"], SMALL_ATME, "AtoB"),
    "ATME, two passes": (["--model", "atme", "--test_map", "two_pass"], [*SMALL_ATME, "--ndf", "8"], "AtoB"),
    "U-GAT-IT, full, 256 px": (["--model", "ugatit", "--img_size", "256"], ["--ngf", "4", "--img_size", "64"], "AtoB"),
    "U-GAT-IT, light": (["--model", "ugatit", "--light"], SMALL, "AtoB"),
    "AU-GAN with confidence": (["--model", "augan"], SMALL, "AtoB"),
    "AU-GAN of the port": (["--model", "augan", "--augan_variant", "port"], SMALL, "AtoB"),
    "SAGAN, 128 px, from z and class": (["--model", "sagan", "--num_classes", "10"], ["--ngf", "8"], "AtoB"),
    "colorization, L* to sRGB": (["--model", "colorization"], SMALL, "AtoB"),
}
SPEED = ("pix2pix, unet_256, batch norm", "CycleGAN, resnet_9blocks, A to B")
COLUMNS = (("torch", "torch"), ("onnxruntime", "onnx"), ("openvino", "onnx"), ("openvino", "openvino"))
"""Engine and format."""


def build(name: str, *, full: bool) -> tuple[TrainedRun, Generator, str]:
    """A network with random weights as a run without a folder."""
    flags, small, direction = NETWORKS[name]
    options = parse_test(
        [*flags, *([] if full else small), "--init_type", "kaiming", "--gpu_ids", "-1"], MODELS, DATASETS
    )
    torch.manual_seed(0)
    model = MODELS.get(options.run.model)(options.model, Engine())
    model.train(not options.result.eval)
    run = TrainedRun(options, model, Path())
    return run, generator_of(run, direction), direction


def exported(
    run: TrainedRun, generator: Generator, direction: str, folder: Path, kinds: Sequence[str], *, fixed: bool
) -> tuple[Facts, dict[str, Path]]:
    """One file of each format."""
    with frozen(generator) as told:
        facts = facts_of_run(run, "latest", generator, told, direction=direction)
        size = None
        if fixed and "image" in generator.inputs and generator.fixed_size is None:
            size = (2 * max(generator.multiple, generator.minimum),) * 2
        graph = traced(generator, facts, size=size)
    return graph.facts, {kind: write(graph, folder / f"g{SUFFIX[kind]}", kind)[0] for kind in kinds}


def largest_difference(session: Session, generator: Generator, facts: Facts) -> float:
    """Over all outputs, other batches and sizes, of values in [-1, 1]."""
    worst = 0.0
    for batch, size in other_sizes(generator, facts):
        inputs = example_of(generator, facts, batch=batch, size=size, seed=1)
        found = session([each.numpy() for each in inputs])
        pairs = enumerate(zip(expected(generator, facts, inputs), found, strict=True))
        worst = max(worst, *(differences(facts, place, *pair)[0] for place, pair in pairs))
    return worst


def rows(names: Sequence[str], *, full: bool) -> Iterator[str]:
    """The table, line by line."""
    yield f"| network | free | {' | '.join(f'{engine}, {SUFFIX[kind]}' for engine, kind in COLUMNS)} |"
    yield "|---|---|" + "---|" * len(COLUMNS)
    for name in names:
        run, generator, direction = build(name, full=full)
        forms = (False, True) if "image" in generator.inputs and generator.fixed_size is None else (False,)
        for fixed in forms:
            with tempfile.TemporaryDirectory() as folder:
                kinds = list(dict.fromkeys(kind for _, kind in COLUMNS))
                facts, files = exported(run, generator, direction, Path(folder), kinds, fixed=fixed)
                cells = []
                for engine, kind in COLUMNS:
                    session, stored = open_exported(files[kind], engine, 1)
                    cells.append(f"{largest_difference(session, generator, stored):.1e}")
            free = "batch only" if facts.dynamic == ("batch",) else ", ".join(facts.dynamic)
            yield f"| {name} | {free} | {' | '.join(cells)} |"


def speed(images: int) -> Iterator[str]:
    """CPU seconds an image, engines in turn on the same images: the noise of the machine meets all alike."""
    yield "| network | engine | CPU s/image, median | of torch eager |"
    yield "|---|---|---|---|"
    for name in SPEED:
        run, generator, direction = build(name, full=True)
        with tempfile.TemporaryDirectory() as folder:
            facts, files = exported(run, generator, direction, Path(folder), ["torch", "onnx"], fixed=False)
            plain = generator.module

            def eager(arrays: Sequence[object], module: torch.nn.Module = plain) -> object:
                with torch.inference_mode():
                    return module(*(torch.as_tensor(each) for each in arrays))

            runs: dict[str, Callable[[list[object]], object]] = {"torch eager": eager}
            for engine in ENGINES:
                session = open_exported(files["torch" if engine == "torch" else "onnx"], engine, 1)[0]
                runs["torch.export" if engine == "torch" else engine] = session  # type: ignore[assignment]
            spent: dict[str, list[float]] = {label: [] for label in runs}
            for number in range(images + 1):
                inputs: list[object] = [
                    each.numpy() for each in example_of(generator, facts, batch=1, size=(256, 256), seed=number)
                ]
                for label, call in runs.items():
                    start = time.process_time()
                    call(inputs)
                    spent[label] += [time.process_time() - start] * (number > 0)  # the first warms up
        medians = {label: statistics.median(each) for label, each in spent.items()}
        for label, median in medians.items():
            yield f"| {name} | {label} | {median:.3f} | {medians['torch eager'] / median:.2f}x |"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or with ``--speed`` the other one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="networks of their published width")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="networks of the table")
    parser.add_argument("--speed", action="store_true", help="measure the engines' speed instead")
    parser.add_argument("--images", type=int, default=8, help="images for --speed")
    known = parser.parse_args(argv)
    torch.set_num_threads(1)
    for line in speed(known.images) if known.speed else rows(known.only, full=known.full):
        print(line, flush=True)


if __name__ == "__main__":
    main()
