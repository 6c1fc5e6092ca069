"""A generator, written as a file that runs without this code: ONNX, torch.export or OpenVINO.

The way: ``frozen`` takes out what cannot be part of such a file (dropout, batch norm that takes its statistics from the
batch), ``traced`` makes the graph, ``write`` stores it with its facts. ``models.exported`` opens it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.exported import FACTS_KEY, NEEDING, Facts, range_of, stored_as
from models.generators import Generator, OpenedRun
from models.networks.inference import InferenceModule
from util.packages import needs
from util.run.sides import SideFormat

SUFFIX = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml"}
"""Format -> suffix of its file. OpenVINO's weights always lie beside it, in a ``.bin``."""

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_DROPOUT = nn.modules.dropout._DropoutNd
_LARGEST_ONNX = 2**31 - 2**20  # bytes: protobuf ends at 2 GiB


# --- what is fixed ----------------------------------------------------------------------------------------------------


class PictureNorm2d(nn.Module):
    """Batch norm in train mode, of a batch of one: the statistics are those of the picture.

    What torch.export makes of the layer itself would update its running statistics, and ONNX's has no such mode.
    """

    def __init__(self, norm: _BATCH_NORM) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``, any N."""
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


@contextlib.contextmanager
def without_noise(generator: Generator) -> Iterator[dict[str, str]]:
    """The module draws nothing within; its batch norm stays in its mode.

    Yields:
        what was taken out, in words: ``dropout``, ``noise``.

    Raises:
        ValueError: it draws all the same, so that there is nothing to freeze.
    """
    module = generator.module
    dropouts = [each for each in module.modules() if isinstance(each, _DROPOUT)]
    found = {"dropout": "off" if dropouts else "none in the generator"}
    if any(each.training and each.p > 0 for each in dropouts):
        found["dropout"] = "off; the run draws it in a test without --eval, and an exported file never does"
    if not isinstance(module, InferenceModule):
        active = [each for each in dropouts if each.training]
        for each in active:
            each.eval()
        try:
            yield found
        finally:
            for each in active:
                each.train()
        return
    drew = module.draws()
    with module.still():
        if module.draws():
            raise ValueError(
                "this run draws its pictures from noise in every pass, which an exported file does not; "
                "translate with the run itself"
            )
        if drew and found["dropout"] in ("off", "none in the generator"):
            found["noise"] = "off; the run draws noise in every pass, and the file has its mean or none"
        yield found


@contextlib.contextmanager
def frozen(generator: Generator) -> Iterator[dict[str, str]]:
    """Within, the module has nothing that depends on a mode of training; afterwards it is as before.

    Yields:
        what was done, in words: ``batch_norm``, ``dropout``, and ``noise`` where there was any.
    """
    with without_noise(generator) as found:
        places = [
            (parent, name, child)
            for parent in generator.module.modules()
            for name, child in parent.named_children()
            if isinstance(child, _BATCH_NORM)
        ]
        of_picture = [place for place in places if place[2].training or place[2].running_mean is None]
        how = "none in the generator"
        if of_picture:
            how = "statistics of each picture, as in a test without --eval at a batch size of 1, whatever the batch"
        elif places:
            how = "running statistics of the training, as in a test with --eval"
        for parent, name, child in of_picture:
            setattr(parent, name, PictureNorm2d(child))
        try:
            yield {"batch_norm": how, **found}
        finally:
            for parent, name, child in of_picture:
                setattr(parent, name, child)


# --- processing in the graph ------------------------------------------------------------------------------------------


class Processed(nn.Module):
    """A generator with its pre- and post-processing: values of files in, values of files out, any size.

    Args:
        module: of the generator.
        facts: of the file to be.
        shrinks: by how much each output is smaller than the input, 1 for the translation.
    """

    def __init__(self, module: nn.Module, facts: Facts, shrinks: Sequence[int]) -> None:
        super().__init__()
        self.module, self.facts, self.shrinks = module, facts, tuple(shrinks)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``[N, H, W, C]`` in the numbers of a file -> the translation in those of its side, maps as float32."""
        x = normalised(image, self.facts.source).permute(0, 3, 1, 2)
        height, width = x.shape[2:]
        if not self.facts.fixed_size:
            x = x.index_select(2, reflected(height, self.facts, x.device))
            x = x.index_select(3, reflected(width, self.facts, x.device))
        first, *maps = self.module(x)
        translation = denormalised(first[:, :, :height, :width].permute(0, 2, 3, 1), self.facts.target)
        cut = [
            each[:, :, : (height + shrink - 1) // shrink, : (width + shrink - 1) // shrink].permute(0, 2, 3, 1)
            for each, shrink in zip(maps, self.shrinks[1:])
        ]
        return (translation, *cut)


class ProcessedSamples(nn.Module):
    """As ``Processed``, of a generator that draws from noise: z and label in, values of files out."""

    def __init__(self, module: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.module, self.facts = module, facts

    def forward(self, z: Tensor, label: Tensor) -> tuple[Tensor]:
        """``[N, nz]`` and int64 ``[N]`` -> ``[N, H, W, C]`` in the numbers of a file."""
        return (denormalised(self.module(z, label)[0].permute(0, 2, 3, 1), self.facts.target),)


def normalised(values: Tensor, side: SideFormat) -> Tensor:
    """Values of a file, ``[N, H, W, C]``, as float32 in [-1, 1]: the numbers of ``data.transforms.normalise``, clipped
    to the range. Of labels ``[N, H, W, 1]`` one channel for each, as ``data.transforms.one_hot`` makes them."""
    if side.labels:
        known = torch.arange(side.labels, device=values.device)
        return (values.to(torch.int64) == known).to(torch.float32) * 2 - 1
    low, high = range_of(side)
    unit = (values.to(torch.float32) - low) / (high - low)
    return ((unit - 0.5) / 0.5).clamp(-1, 1)


def denormalised(values: Tensor, side: SideFormat) -> Tensor:
    """``[N, H, W, C]`` in [-1, 1] as ``util.images.io.write_image`` stores it; the scores of labels as uint8
    ``[N, H, W, 1]``, the label of the largest, the first of equal ones."""
    if side.labels:
        return values.argmax(dim=3, keepdim=True).to(torch.uint8)
    low, high = range_of(side)
    scaled = low + (values.clamp(-1, 1) + 1) / 2 * (high - low)
    stored = stored_as(side)
    return scaled if stored == "float32" else torch.round(scaled).to(getattr(torch, stored))


def reflected(size: int, facts: Facts, device: torch.device) -> Tensor:
    """Which row stands at each place of a picture that is continued by reflection to a size that the network takes."""
    padded = torch.sym_max(size + (-size) % facts.multiple, facts.minimum)
    places = torch.arange(padded, device=device)
    # A tensor: ONNX has no remainder by a size that is not known yet.
    period = torch.full((1,), 2 * size - 2, dtype=torch.int64, device=device).clamp(min=1)
    places = torch.remainder(places, period)
    return torch.minimum(places, period - places)


# --- the facts --------------------------------------------------------------------------------------------------------


def facts_of_run(
    run: OpenedRun,
    tag: str,
    generator: Generator,
    told: Mapping[str, str],
    *,
    direction: str = "AtoB",
    processing: bool = False,
) -> Facts:
    """What the file of a run's generator will say.

    Args:
        run: opened.
        tag: of its checkpoint.
        generator: of the run.
        told: of ``frozen``.
        direction: of the generator.
        processing: see ``Facts``.
    """
    o, module = run.options, generator.module
    return Facts(
        name=o.run.name,
        tag=tag,
        model=o.run.model,
        direction=direction if "image" in generator.inputs else "",
        processing=processing,
        latent=int(getattr(module, "latent", 0)),
        num_classes=int(getattr(module, "num_classes", 0)),
        frozen=dict(told),
        weights=digest(module),
        versions={"torch": torch.__version__},
        **generator.signature(),
    )


# --- the graph --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traced:
    """A graph, and what it is.

    Attributes:
        program: of torch.export.
        facts: with ``dynamic`` as it came out.
        why_fixed: why height and width are not free; empty where they are, or were not asked to be.
        axes: input -> axis -> name of those that are free.
    """

    program: torch.export.ExportedProgram
    facts: Facts
    why_fixed: str
    axes: dict[str, dict[int, str]]


def traced(generator: Generator, facts: Facts, *, size: tuple[int, int] | None = None) -> Traced:
    """The graph of a generator that is ``frozen``; batch, height and width free where the network allows.

    Args:
        generator: of the run.
        facts: of the file to be; ``processing`` decides what goes in.
        size: ``(height, width)`` to fix; None for any.

    Raises:
        ValueError: a size that the network does not take, or a network that fixes its batch.
    """
    fixed = generator.fixed_size or size
    if size:
        check_fixed(generator, size)
        facts = replace(facts, fixed_size=size)
    if "image" not in generator.inputs:
        return _traced(_wrapped(generator, facts), generator, facts, fixed, ("batch",), "")
    if fixed:
        why = "" if size else f"the network is built for {fixed[0]}x{fixed[1]} pixels only"
        return _traced(_wrapped(generator, facts), generator, facts, fixed, ("batch",), why)
    return _traced(_wrapped(generator, facts), generator, facts, None, ("batch", "height", "width"), "")


def check_fixed(generator: Generator, size: tuple[int, int]) -> None:
    """Refuse a size that the network does not take.

    Raises:
        ValueError: with the remedy.
    """
    if "image" not in generator.inputs:
        raise ValueError(f"--size {size[0]},{size[1]}: this run draws from noise at its own size; leave it out")
    if generator.fixed_size not in (None, size):
        height, width = generator.fixed_size or size
        raise ValueError(f"--size {size[0]},{size[1]}: this network works at {height},{width} only; leave it out")
    for each in size:
        if each % generator.multiple or each < generator.minimum:
            least = max(generator.minimum, each // generator.multiple * generator.multiple)
            raise ValueError(
                f"--size {size[0]},{size[1]}: this network takes multiples of {generator.multiple} of at least "
                f"{generator.minimum}; {least} and {least + generator.multiple} are near {each}"
            )


def example_of(
    generator: Generator, facts: Facts, *, batch: int = 2, size: tuple[int, int] | None = None, seed: int = 0
) -> tuple[Tensor, ...]:
    """Inputs as the file takes them, drawn.

    Without ``size`` larger than any network's smallest, height and width unlike: at its smallest size a U-Net has maps
    of one pixel, which torch.export takes for a rule.
    """
    draw = torch.Generator().manual_seed(seed)
    if "image" not in generator.inputs:
        z = torch.randn(batch, facts.latent, generator=draw)
        return z, torch.arange(batch) % facts.num_classes
    height, width = size or _usual_size(generator)
    if not facts.processing:
        return (torch.rand(batch, facts.source.channels, height, width, generator=draw) * 2 - 1,)
    if facts.source.labels:
        return (torch.randint(facts.source.labels, (batch, height, width, 1), generator=draw).to(torch.uint8),)
    unit = torch.rand(batch, height, width, facts.source.channels, generator=draw)
    low, high = range_of(facts.source)
    values = low + unit * (high - low)
    return (values.to(getattr(torch, facts.source.format)),)


def _usual_size(generator: Generator) -> tuple[int, int]:
    if generator.fixed_size:
        return generator.fixed_size
    least = -(-max(generator.minimum, 8) // generator.multiple) * generator.multiple + generator.multiple
    return least, least + generator.multiple


def _wrapped(generator: Generator, facts: Facts) -> nn.Module:
    if not facts.processing:
        return generator.module
    if "image" not in generator.inputs:
        return ProcessedSamples(generator.module, facts)
    (example,) = example_of(generator, replace(facts, processing=False), batch=1)
    with torch.no_grad():
        outputs = generator.module(example)
    return Processed(generator.module, facts, [example.shape[2] // each.shape[2] for each in outputs])


def _traced(
    module: nn.Module,
    generator: Generator,
    facts: Facts,
    size: tuple[int, int] | None,
    dynamic: tuple[str, ...],
    why_fixed: str,
) -> Traced:
    place = {"batch": 0, "height": 1 if facts.processing else 2, "width": 2 if facts.processing else 3}
    axes = {name: {place[each]: each for each in dynamic} for name in generator.inputs}
    shapes = tuple(dict.fromkeys(axes[name], torch.export.Dim.DYNAMIC) for name in generator.inputs)
    example = example_of(generator, facts, size=size)
    try:
        with torch.no_grad():
            program = torch.export.export(module, example, dynamic_shapes=shapes)
    except Exception as error:
        # DYNAMIC and not AUTO: a network that fixes an axis is refused instead of exported without a word.
        if "pecialized it to be a constant" not in str(error):
            raise
        raise ValueError(
            "this network fixes the size of its example (int() of a shape, or a shape in an if): "
            f"{' '.join(str(error).split())[:300]}; --size HEIGHT,WIDTH exports one size"
        ) from error
    return Traced(program, replace(facts, dynamic=dynamic), why_fixed, axes)


# --- the file ---------------------------------------------------------------------------------------------------------


def write(graph: Traced, path: Path, kind: str, *, external_data: bool = False, opset: int = 20) -> list[Path]:
    """Store a graph with its facts; a file appears whole or not at all.

    Args:
        graph: to be stored.
        path: of the file, its suffix that of ``kind``.
        kind: ``onnx``, ``torch`` or ``openvino``.
        external_data: of ONNX: weights in a file ``<path>.data`` beside it, as models over 2 GB need.
        opset: of ONNX.

    Returns:
        The files, ``path`` first.

    Raises:
        ValueError: a package is missing, or the weights do not fit into one file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder) / path.name
        if kind == "torch":
            torch.export.save(graph.program, draft, extra_files={FACTS_KEY: graph.facts.text()})
        elif kind == "onnx":
            _write_onnx(graph, draft, external_data, opset)
        else:
            _write_openvino(graph, draft, opset)
        made = sorted(Path(folder).iterdir(), key=lambda each: each == draft)  # the weights first: no file without
        for each in made:
            os.replace(each, path.with_name(each.name))
    return [path.with_name(each.name) for each in reversed(made)]


def check_packages(kind: str, engine: str) -> None:
    """Refuse a format whose packages are missing, or a torch that is too old, before anything is made.

    Raises:
        ValueError: with the package to install.
    """
    if not hasattr(torch.compiler, "is_exporting"):
        raise ValueError(f"scripts/export.py needs torch 2.7 or newer; this is {torch.__version__}")
    wanted = {"onnx": ("onnx", "onnxscript"), "openvino": ("onnx", "onnxscript", "openvino"), "torch": ()}[kind]
    for package in dict.fromkeys((*wanted, engine)):
        with needs(NEEDING, package):
            importlib.import_module(package)


def _write_onnx(graph: Traced, path: Path, external_data: bool, opset: int) -> None:
    import onnx

    size = sum(each.numel() * each.element_size() for each in graph.program.state_dict.values())
    if size > _LARGEST_ONNX and not external_data:
        raise ValueError(
            f"--format onnx: {size / 2**30:.1f} GB of weights do not fit into one file; add --external_data"
        )
    with _quiet():
        made = torch.onnx.export(
            graph.program,
            input_names=list(graph.axes),
            output_names=list(graph.facts.outputs),
            dynamic_shapes=graph.axes,
            opset_version=opset,
            external_data=external_data,
            verbose=False,
        )
        assert made is not None
        made.model.metadata_props[FACTS_KEY] = graph.facts.text()
        made.model.producer_name = "scripts/export.py"
        made.save(path, external_data=external_data)
    onnx.checker.check_model(str(path))


def _write_openvino(graph: Traced, path: Path, opset: int) -> None:
    import openvino

    between = path.with_name("between.onnx")
    _write_onnx(graph, between, True, opset)
    model = openvino.convert_model(str(between))
    model.set_rt_info(graph.facts.text(), [FACTS_KEY])
    openvino.save_model(model, str(path), compress_to_fp16=False)  # by default the weights are halved
    del model
    for each in path.parent.glob("between.onnx*"):
        each.unlink()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter reports of its own steps."""
    talkers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [each.level for each in talkers]
    for each in talkers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(talkers, levels):
            each.setLevel(level)


def digest(module: nn.Module) -> str:
    """SHA-256 over names and values of all weights."""
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return found.hexdigest()


# --- is it the same? --------------------------------------------------------------------------------------------------


def expected(generator: Generator, facts: Facts, inputs: Sequence[Tensor]) -> list[NDArray[Any]]:
    """What the file should give: the run's own module, without noise, picture by picture."""
    module = _wrapped(generator, facts)
    with torch.no_grad(), without_noise(generator):
        rows = [module(*(each[place : place + 1] for each in inputs)) for place in range(len(inputs[0]))]
    return [torch.cat(each).numpy() for each in zip(*rows)]


def other_sizes(generator: Generator, facts: Facts) -> list[tuple[int, tuple[int, int] | None]]:
    """Batches and sizes to try a file with, none of them that of its example; with ``processing`` no multiples."""
    if "height" not in facts.dynamic:
        size = facts.fixed_size if "image" in facts.inputs else None
        return [(1, size), (3, size)]
    least, step = -(-max(generator.minimum, 8) // generator.multiple) * generator.multiple, generator.multiple
    if facts.processing:
        return [(1, (1, least + 1)), (3, (least + step + 1, least - 1))]
    return [(1, (least, least)), (3, (least + 2 * step, least))]


def scale_factor(facts: Facts, output: int) -> float:
    """What a difference of an output counts in units of [-1, 1]."""
    if not facts.processing or output or facts.target.labels:
        return 1.0
    low, high = range_of(facts.target)
    return 2 / (high - low)


def allowed(facts: Facts, output: int, tolerance: float) -> float:
    """The largest difference of an output that is none: the tolerance, and one level where levels are rounded."""
    rounded = facts.processing and not output and stored_as(facts.target) != "float32" and not facts.target.labels
    return tolerance + (scale_factor(facts, output) if rounded else 0.0)


def differences(facts: Facts, output: int, expected: NDArray[Any], found: NDArray[Any]) -> tuple[float, float]:
    """Largest and mean absolute difference of an output, in units of [-1, 1]; infinite where one is NaN or the shapes
    differ. Labels are either equal or not: for both the share of pixels with another one."""
    if expected.shape != found.shape:
        return float("inf"), float("inf")
    if facts.processing and facts.target.labels and not output:
        share = float((expected != found).mean())
        return share, share
    apart = np.abs(expected.astype(np.float64) - found.astype(np.float64)) * scale_factor(facts, output)
    return (float(apart.max()), float(apart.mean())) if np.isfinite(apart).all() else (float("inf"), float("inf"))
