"""An exported generator, opened: files of scripts/export.py run by torch, ONNX Runtime or OpenVINO.

from models.exported import load_exported
generator = load_exported("latest_AtoB.onnx", "onnxruntime")
fake_B, = generator.module(images)     # [N, C, H, W] float32 in [-1, 1], as the generator of the run itself

The file says by itself what goes in and what comes out: its facts are JSON text under the key ``generator`` of an ONNX
file's metadata, of the ``rt_info`` of an OpenVINO model, and of the extra files of a ``.pt2``.
"""

from __future__ import annotations

import contextlib
import json
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.generators import Generator, Signature
from util.images.io import FORMATS, fitting_format, scale_of
from util.packages import needs
from util.run.sides import SideFormat

FACTS_KEY = "generator"
FACTS_VERSION = 1
ENGINES: Mapping[str, tuple[str, ...]] = {
    "torch": (".pt2",),
    "onnxruntime": (".onnx",),
    "openvino": (".onnx", ".xml"),
}
"""Engine -> suffixes of the files that it runs."""

NEEDING = "exported files of this kind need"
_LARGEST = 1 << 16  # pixels; no network here asks for more
Arrays = Sequence[NDArray[Any]]
Session = Callable[[Arrays], list[NDArray[Any]]]
"""Runs the network on its inputs, in their order; may be called from several threads at once."""


@dataclass(frozen=True, kw_only=True)
class Facts(Signature):
    """What an exported file says of itself.

    Attributes:
        name: of the run.
        tag: of the checkpoint: ``latest``, an epoch, ``iter_<n>``.
        model: of the run, e.g. ``pix2pix``.
        direction: ``AtoB`` or ``BtoA``; empty for networks that draw from noise.
        dynamic: which of ``batch``, ``height``, ``width`` are free.
        processing: the file takes and gives values as files hold them, ``[N, H, W, C]`` of any size, instead of float32
            ``[N, C, H, W]`` in [-1, 1] at multiples of ``multiple``.
        latent: length of ``z``; 0 for networks that translate.
        num_classes: ``label`` is 0 ... num_classes - 1; 0 for networks that translate.
        frozen: what of a training was fixed, in words: ``batch_norm``, ``dropout``.
        weights: SHA-256 over the weights, to tell whether the run has been trained further since.
        versions: package -> version that made the file.
    """

    name: str
    tag: str
    model: str
    direction: str
    dynamic: tuple[str, ...] = ("batch", "height", "width")
    processing: bool = False
    latent: int = 0
    num_classes: int = 0
    frozen: Mapping[str, str] = field(default_factory=dict)
    weights: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """As the file holds it, with sentences for those who read it by other programs."""
        return json.dumps({"version": FACTS_VERSION, **asdict(self), "usage": usage_of(self)})


def usage_of(facts: Facts) -> dict[str, str]:
    """How another program feeds the file and reads its results, in words."""
    low, high = range_of(facts.source)
    out_low, out_high = range_of(facts.target)
    size = f"exactly {facts.fixed_size[0]}x{facts.fixed_size[1]}" if facts.fixed_size else ""
    if facts.processing:
        sides = (facts.source, facts.target)
        taken, given = (f"{stored_as(each)} [N, H, W, {1 if each.labels else each.channels}]" for each in sides)
        taken += f", {size or 'any size'}, " + (_numbers(facts.source.labels) or "values of the file")
        given += f", {_numbers(facts.target.labels) or 'values of a file'}"
    else:
        size = size or f"height and width multiples of {facts.multiple}, at least {facts.minimum}"
        scaled = f"x = 2 (v - {low:g}) / {high - low:g} - 1 of the file's values v"
        taken = f"float32 [N, {facts.source.channels}, H, W], {scaled}; {size}"
        given = (
            f"float32 [N, {facts.target.channels}, H, W] in [-1, 1], "
            f"v = {out_low:g} + (clip(y, -1, 1) + 1) / 2 * {out_high - out_low:g}, rounded for integers"
        )
    if facts.source.labels and not facts.processing:
        layout = f"float32 [N, {facts.source.channels}, H, W]"
        taken = f"{layout}, index maps of {facts.source.labels} labels: 1 in the channel of the label, else -1; {size}"
    if facts.target.labels and not facts.processing:
        layout = f"float32 [N, {facts.target.channels}, H, W]"
        given = f"{layout}, a score for each of {facts.target.labels} labels: the channel of the largest is the label"
    if facts.latent:
        taken = f"z float32 [N, {facts.latent}] from N(0, 1), label int64 [N], 0 to {facts.num_classes - 1}"
    first, *maps = facts.outputs
    given = f"{first}: {given}" + (f"; {', '.join(maps)}: float32 in the same layout" if maps else "")
    return {"in": taken, "out": given}


def _numbers(labels: int) -> str:
    return f"labels 0 to {labels - 1} of an index map" if labels else ""


def default_name(tag: str, direction: str, inputs: Sequence[str], suffix: str) -> str:
    """The file in a run's folder that scripts/export.py writes and scripts/translate.py looks for."""
    return f"{tag}_{direction}{suffix}" if "image" in inputs else f"{tag}{suffix}"


def range_of(side: SideFormat) -> tuple[float, float]:
    """The file's values that -1 and 1 stand for."""
    if side.value_range:
        return float(side.value_range[0]), float(side.value_range[1])
    return scale_of(side.format)


def stored_as(side: SideFormat) -> str:
    """Type of the numbers that ``write_image`` stores for this side."""
    if side.labels:
        return "uint8"
    if side.format == "int16" and not side.value_range:
        return "float32"
    return fitting_format(side.format, *range_of(side))


def facts_of(text: str, path: Path) -> Facts:
    """The facts of a file.

    Raises:
        ValueError: they are none, or not such as scripts/export.py writes.
    """
    try:
        found = json.loads(text)
        if found["version"] != FACTS_VERSION:
            raise ValueError(f"version {found['version']}; this program knows {FACTS_VERSION}")
        known = {name: found[name] for name in Facts.__dataclass_fields__ if name in found}
        for name in ("inputs", "outputs", "dynamic"):
            known[name] = tuple(str(each) for each in known[name])
        for name in ("source", "target"):
            side = known[name]
            value_range = tuple(float(each) for each in side["value_range"])
            known[name] = SideFormat(**{**side, "value_range": value_range})
            if known[name].format not in FORMATS or len(value_range) not in (0, 2):
                raise ValueError(f"{name} {side}")
        if known.get("fixed_size"):
            height, width = known["fixed_size"]
            known["fixed_size"] = (int(height), int(width))
        facts = Facts(**known)
        sizes = (facts.multiple, facts.minimum, *(facts.fixed_size or ()))
        if not all(type(each) is int and 1 <= each <= _LARGEST for each in sizes) or not facts.outputs:
            raise ValueError(f"sizes {sizes}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: no file of scripts/export.py, or damaged ({type(error).__name__}: {error}); export the run again"
        ) from None
    return facts


def load_exported(path: str | Path, engine: str = "onnxruntime", threads: int = 0, direction: str = "") -> Generator:
    """Open an exported generator.

    Args:
        path: ``.onnx``, ``.xml`` of OpenVINO (its ``.bin`` beside it) or ``.pt2``.
        engine: ``onnxruntime``, ``openvino`` or ``torch``; see ``ENGINES``.
        threads: of the engine; 0 for its own choice.
        direction: ``AtoB`` or ``BtoA``, which the file must have; empty for either.

    Returns:
        A generator on the CPU whose ``module`` runs the file; it cannot be trained or moved.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another engine's file, a foreign or damaged one, one that takes values of files
            (``--with_processing``) or has another direction, or the engine's package is missing.
    """
    session, facts = open_exported(path, engine, threads)
    if direction and facts.direction and direction != facts.direction:
        raise ValueError(
            f"{path}: translates {facts.direction}, not {direction}; scripts/export.py --direction {direction} makes "
            "the other file"
        )
    if facts.processing:
        raise ValueError(
            f"{path}: made by --with_processing, it takes pictures as they are and runs in your program; export the "
            "run without for this one"
        )
    return Generator(module=ExportedModule(session, Path(path), facts.inputs), **facts.signature())


class ExportedModule(nn.Module):
    """An exported network with the signature of the module that it was made from; thread-safe."""

    def __init__(self, session: Session, path: Path, inputs: Sequence[str]) -> None:
        super().__init__()
        self._session, self._path, self._inputs = session, path, tuple(inputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Tensors on the CPU -> tensors on the CPU.

        Raises:
            ValueError: the file does not work at this size or number of channels.
        """
        arrays = [np.ascontiguousarray(each.detach().numpy()) for each in inputs]
        try:
            outputs = self._session(arrays)
        except Exception as error:  # every engine has its own classes
            shapes = ", ".join(f"{name} {list(each.shape)}" for name, each in zip(self._inputs, arrays))
            raise ValueError(f"{self._path}: cannot be run on {shapes} ({_first_line(error)})") from error
        return tuple(torch.from_numpy(each) for each in outputs)


def open_exported(path: str | Path, engine: str, threads: int = 0) -> tuple[Session, Facts]:
    """Open a file for its engine, whatever it takes; arguments and errors as of ``load_exported``."""
    file = Path(path)
    if engine not in ENGINES:
        raise ValueError(f"--engine {engine}: choose one of {', '.join(ENGINES)}")
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file; scripts/export.py makes one")
    if file.suffix not in ENGINES[engine]:
        others = [name for name, suffixes in ENGINES.items() if file.suffix in suffixes]
        remedy = f"--engine {' or '.join(others)} runs it" if others else "scripts/export.py makes .onnx, .xml and .pt2"
        raise ValueError(f"{file}: --engine {engine} runs {' and '.join(ENGINES[engine])} files; {remedy}")
    opened: tuple[Session, str] = _OPENERS[engine](file, threads)
    session, text = opened
    return session, facts_of(text, file)


def _onnxruntime(file: Path, threads: int) -> tuple[Session, str]:
    with needs(NEEDING, "onnxruntime"):
        import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = threads
    with _naming(file, "onnxruntime"):
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(arrays: Arrays) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = session.run(None, dict(zip(names, arrays, strict=True)))
        return outputs

    return run, session.get_modelmeta().custom_metadata_map.get(FACTS_KEY, "")


def _openvino(file: Path, threads: int) -> tuple[Session, str]:
    with needs(NEEDING, "openvino"):
        import openvino
    # By default OpenVINO computes in bfloat16 where the CPU has units for it.
    settings = {"INFERENCE_PRECISION_HINT": "f32", **({"INFERENCE_NUM_THREADS": threads} if threads else {})}
    with _naming(file, "openvino"):
        model = openvino.Core().read_model(str(file))
        told = ["framework", FACTS_KEY] if file.suffix == ".onnx" else [FACTS_KEY]
        text = str(model.get_rt_info(told).value) if model.has_rt_info(told) else ""
        facts_of(text, file)  # before it is compiled, which takes seconds
        compiled = openvino.compile_model(model, "CPU", settings)
    requests = threading.local()  # a request holds the tensors of one run

    def run(arrays: Arrays) -> list[NDArray[Any]]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        found = requests.own.infer(list(arrays))
        return [np.array(found[output]) for output in compiled.outputs]  # copies: the next run overwrites them

    return run, text


def _torch(file: Path, threads: int) -> tuple[Session, str]:
    text = ""
    with _naming(file, "torch"):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                member = next((each for each in archive.namelist() if each.endswith(f"extra/{FACTS_KEY}")), "")
                text = archive.read(member).decode() if member else ""
        facts_of(text, file)  # first: torch unpickles parts of the file
        # Its guards are about the example; the sizes that work are checked by their multiple and minimum.
        module = torch.export.load(str(file)).module(check_guards=False)
    if threads:
        torch.set_num_threads(threads)

    def run(arrays: Arrays) -> list[NDArray[Any]]:
        with torch.no_grad():
            return [each.numpy() for each in module(*map(torch.from_numpy, arrays))]

    return run, text


_OPENERS: Mapping[str, Callable[[Path, int], tuple[Session, str]]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


@contextlib.contextmanager
def _naming(file: Path, engine: str) -> Any:
    try:
        yield
    except ValueError:
        raise
    except Exception as error:  # every engine has its own classes
        raise ValueError(f"{file}: {engine} cannot open it ({_first_line(error)}); export the run again") from error


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
