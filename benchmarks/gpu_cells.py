"""What ``benchmarks/gpu.py`` measures: a training step in several ways, the device's limits, and checks of equality.

Every function takes the device, so that tests can call them on the CPU, too; what only CUDA has is ``Skipped`` there.
A step is built from the models alone: no data are read, and no package but torch and numpy is needed.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.measure import convolution_rate, count_flops, wait
from models import MODELS
from models.atme_model import ATMEModel
from models.base_model import BaseModel
from models.networks.factory import build_discriminator, build_generator
from models.pix2pix_model import Pix2PixModel
from models.sagan_model import SAGANModel
from tests.golden_rules import fill, load_golden, uniform_input
from util.run import distributed
from util.run.device import peak_memory_mb
from util.run.engine import Engine, seed_everything, seed_step, use_deterministic_algorithms
from util.types import Losses


class Skipped(Exception):
    """A cell that this device cannot run; the message says why."""


@dataclass(frozen=True)
class Mode:
    """A way to compute a step: arithmetic, memory layout, ``torch.compile``, and replay of a CUDA graph."""

    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False
    graph: bool = False


MODES = {
    "fp32": Mode(),
    "tf32": Mode("tf32"),
    "bf16": Mode("bf16"),
    "bf16 channels_last": Mode("bf16", channels_last=True),
    "bf16 channels_last graph": Mode("bf16", channels_last=True, graph=True),
    "fp32 graph": Mode(graph=True),
    "bf16 channels_last compile": Mode("bf16", channels_last=True, compile=True),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "pix2pix": {},
    "cycle_gan": {},
    "atme": {},
    "ugatit": {"light": True},
    "sagan": {"num_classes": 10, "ema_start": 0},
}
SIZES = {"sagan": 128}
SIZE = 256
SMALL_SIZE = 32
_THIN: dict[str, Any] = {"netG": "resnet_6blocks", "ngf": 4, "ndf": 4}
SMALL: dict[str, dict[str, Any]] = {
    "pix2pix": _THIN,
    "cycle_gan": _THIN,
    "atme": {"dim": 8, "init_dim": 8, "groups": 4, "dim_mults": (1, 2), "ndf": 4},
    "ugatit": {"light": True, "ngf": 4, "ndf": 4, "n_res": 1, "n_layers_global": 5, "n_layers_local": 3},
    "sagan": {"num_classes": 3, "nz": 8, "ngf": 4, "ndf": 4, "attn_res_G": 8, "attn_res_D": 8, "ema_start": 0},
}
IMAGES = 64
"""Size of the data set, for ATME's memory of maps."""


class CapturableEngine(Engine):
    """Adam whose learning rate and counter are tensors on the GPU, as a CUDA graph needs them."""

    def adam(self, parameters: Any, **settings: Any) -> torch.optim.Adam:
        """As ``Engine.adam``; the learning rate is changed by ``set_lr``."""
        if self.device.type == "cuda":
            settings |= {"lr": torch.tensor(float(settings["lr"]), device=self.device), "capturable": True}
        return super().adam(parameters, **settings)


def set_lr(model: BaseModel, lr: float) -> None:
    """Change the learning rate of a captured step: the value in the tensor, which must stay the same object."""
    for optimizer in model.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"].fill_(lr)


class DevicePool:
    """``ImagePool`` with its images in one tensor: what a query exchanges is drawn before, outside the CUDA graph.

    Args:
        size: number of images kept.
        rng: the same numbers give the same exchanges as an ``ImagePool`` with them.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self._size, self._rng, self._filled = size, rng, 0
        self._images = torch.empty(0)
        self._given = self._kept = torch.empty(0)  # rows of the pool and the new images, one after the other

    def draw(self, images: Tensor) -> None:
        """Decide the next query, of images like these."""
        if self._images.numel() == 0:
            self._images = torch.zeros(self._size, *images.shape[1:], device=images.device, dtype=torch.float32)
            self._given = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            self._kept = torch.zeros(self._size, dtype=torch.int64, device=images.device)
        given, kept = [], list(range(self._size))
        for row in range(self._size, self._size + len(images)):
            if self._filled < self._size:
                kept[self._filled] = row
                self._filled += 1
                given.append(row)
            elif self._rng.uniform(0, 1) > 0.5:
                slot = self._rng.randint(0, self._size - 1)
                given.append(kept[slot])
                kept[slot] = row
            else:
                given.append(row)
        self._given.copy_(torch.tensor(given))
        self._kept.copy_(torch.tensor(kept))

    def query(self, images: Tensor) -> Tensor:
        """As ``ImagePool.query``; only operations on the device."""
        everything = torch.cat([self._images, images.detach().float()])
        self._images.copy_(everything.index_select(0, self._kept))
        return everything.index_select(0, self._given).to(images.dtype)


def make_model(name: str, mode: Mode, device: torch.device, *, small: bool = False, **options: Any) -> BaseModel:
    """A model ready to train, seeded.

    Raises:
        Skipped: the device cannot do the mode.
    """
    if device.type != "cuda" and (mode.graph or mode.precision == "tf32"):
        raise Skipped(f"{'a CUDA graph' if mode.graph else 'tf32'} needs an NVIDIA GPU")
    kind = CapturableEngine if mode.graph else Engine
    world = distributed.world_from_environment()
    engine = kind(device, mode.precision, mode.channels_last, mode.compile, world)
    engine.start()
    seed_everything(0)
    model_class, size = MODELS.get(name), image_size(name, small)
    sized = {"sagan": "image_size", "ugatit": "img_size"}.get(name)
    settings = {**(SMALL if small else OPTIONS)[name], **({sized: size} if sized else {}), **options}
    model: BaseModel = model_class(model_class.Options(**settings), engine)
    model.setup_training(IMAGES)
    model.train()
    return model


def image_size(name: str, small: bool) -> int:
    """Height and width of the images of a model."""
    return SMALL_SIZE if small else SIZES.get(name, SIZE)


def make_batch(name: str, count: int, device: torch.device, *, small: bool = False, seed: int = 0) -> dict[str, Any]:
    """Random images on the device, the same numbers on every device."""
    generator = torch.Generator().manual_seed(seed)
    size, classes = image_size(name, small), (SMALL if small else OPTIONS)["sagan"]["num_classes"]
    sides = {side: torch.rand(count, 3, size, size, generator=generator) * 2 - 1 for side in "AB"}
    sides = {side: images.to(device) for side, images in sides.items()}
    paths = [f"train/{number}.png" for number in range(count)]
    label = (torch.arange(count) % classes).to(device)
    return {**sides, "image": sides["A"], "label": label, "index": torch.arange(count), "A_paths": paths}


class SplitStep:
    """A training step, cut into what a CUDA graph can hold (``body``) and what it cannot (``before``, ``after``).

    Outside stay: the draws of the history of fakes, of SAGAN's noise and classes, and of every seed (``seed_step``,
    before a replay); the reading and writing of ATME's memory of maps, whose rows are chosen on the CPU; ATME's and
    SAGAN's monitors, which are left out; and SAGAN's count of steps, so that its average starts with the first one.

    Attributes:
        losses: of the last step; the same tensors again and again when a graph is replayed.
    """

    def __init__(self, model: BaseModel, batch: Mapping[str, Any]) -> None:
        self.model, self.losses = model, Losses()
        model.set_input(dict(batch))
        images = batch["image"] if isinstance(model, SAGANModel) else batch["A"]
        self._batch, self._images = dict(batch), images
        self._pools: list[DevicePool] = []
        for name, pool in model.pools.items():
            if pool.size:
                self._pools.append(DevicePool(pool.size, model.engine.rng(name)))
                setattr(model, name, self._pools[-1])
        self._maps = torch.empty(0)
        if isinstance(model, ATMEModel):
            self._maps = model.maps.current.clone()
        if isinstance(model, SAGANModel):
            o, device = model.options, model.engine.device
            self._z = torch.zeros(2, len(images), o.nz, device=device)
            self._classes = torch.zeros(2, len(images), dtype=torch.int64, device=device)

    def before(self) -> None:
        """Draw, read, and copy into the tensors that the graph reads."""
        model = self.model
        for pool in self._pools:
            pool.draw(self._images)
        if isinstance(model, SAGANModel):
            self._z.copy_(torch.randn(self._z.shape))
            self._classes.copy_(torch.randint(model.options.num_classes, self._classes.shape))
        elif isinstance(model, ATMEModel):
            model.set_input(self._batch)
            self._maps.copy_(model.maps.current)
            model.maps.current = self._maps

    def body(self) -> Losses:
        """The steps of D and of G: only work on the device."""
        model = self.model
        if isinstance(model, SAGANModel):
            (z_D, z_G), (y_D, y_G) = self._z, self._classes
            losses = model.update_D([(model.images, model.labels, z_D, y_D)])
            return {**losses, **model.update_G([(z_G, y_G)])}
        if isinstance(model, Pix2PixModel):  # ATME's own step also writes its memory
            return Pix2PixModel.optimize_parameters(model)
        return model.optimize_parameters()

    def after(self) -> None:
        """Write ATME's memory."""
        if isinstance(self.model, ATMEModel):
            self.model.maps.write()

    def capture(self) -> Callable[[], None]:
        """Capture ``body`` in a CUDA graph, after three steps to warm up.

        Returns:
            a step: ``before``, replay, ``after``.
        """
        device, here = self.model.engine.device, torch.cuda.current_stream()
        side = torch.cuda.Stream(device)
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(3):
                self.eager()
        here.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.losses = self.body()

        def step() -> None:
            self.before()
            graph.replay()
            self.after()

        return step

    def eager(self) -> None:
        """The same step without a graph."""
        self.before()
        self.losses = self.body()
        self.after()


def make_step(model: BaseModel, batch: Mapping[str, Any], mode: Mode) -> Callable[[], Any]:
    """One step of a mode: as train.py makes it, or the replay of a graph."""
    if mode.graph:
        return SplitStep(model, batch).capture()

    def step() -> Losses:
        model.set_input(dict(batch))
        return model.optimize_parameters()

    return step


def measure_step(
    name: str, batch_size: int, mode: str, device: torch.device, *, seconds: float = 1.5, small: bool = False
) -> dict[str, float]:
    """Seconds of a step, images/s, TFLOP/s, peak memory; on CUDA also the share of time in which the GPU computes.

    The GPU is waited for once for every block of steps, so that the launches run ahead as they do in a training.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    how = MODES[mode]
    model = make_model(name, how, device, small=small)
    batch = make_batch(name, batch_size, device, small=small)
    begin = time.perf_counter()
    step = make_step(model, batch, how)
    for _ in range(3):
        step()
    wait(device)
    start = time.perf_counter() - begin
    begin = time.perf_counter()
    step()
    wait(device)
    block = max(1, int(seconds / 5 / max(time.perf_counter() - begin, 1e-6)))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(block):
            step()
        wait(device)
        times.append((time.perf_counter() - begin) / block)
    found = {"seconds": sorted(times)[len(times) // 2], "start_seconds": start, "peak_mb": peak_memory_mb(device)}
    found["images_per_s"] = batch_size / found["seconds"]
    found["tflops"] = flops_of_image(name, device, small) * batch_size / found["seconds"] / 1e12
    if device.type == "cuda":
        found |= launches(step, device, found["seconds"])
    return found


_FLOPS: dict[tuple[str, bool], float] = {}


def flops_of_image(name: str, device: torch.device, small: bool) -> float:
    """Floating point operations of a step per image, counted once in eager fp32 with one image."""
    if (name, small) not in _FLOPS:
        model = make_model(name, Mode(), device, small=small)
        _FLOPS[name, small] = count_flops(make_step(model, make_batch(name, 1, device, small=small), Mode()))
    return _FLOPS[name, small]


def launches(step: Callable[[], object], device: torch.device, seconds: float) -> dict[str, float]:
    """By torch's profiler: share of ``seconds`` (of a step without it) in which a kernel runs, kernels per step."""
    from torch.profiler import ProfilerActivity, profile

    steps = 3
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            step()
        wait(device)
    rows = [row for row in found.key_averages() if row.self_device_time_total > 0]
    busy = sum(row.self_device_time_total for row in rows) / 1e6 / steps
    return {"busy": busy / seconds, "kernels": sum(row.count for row in rows) / steps}


def measure_limit(
    precision: str, batch_size: int, device: torch.device, *, seconds: float = 0.6, side: int = 8192
) -> dict[str, float]:
    """TFLOP/s of a large square matrix product, and of the better of two plain convolutions, forward and backward."""
    if precision == "tf32" and device.type != "cuda":
        raise Skipped("tf32 needs an NVIDIA GPU")
    engine = Engine(device, precision, channels_last=precision != "fp32")
    engine.start()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(2):
        a @ b
    wait(device)
    count, begin = 0, time.perf_counter()
    while count < 2 or time.perf_counter() - begin < seconds / 2:
        for _ in range(2):
            a @ b
        wait(device)
        count += 2
    matmul = 2 * side**3 * count / (time.perf_counter() - begin)
    return {"matmul": matmul / 1e12, "conv": convolution_rate(engine, batch_size, seconds=seconds / 4) / 1e12}


# -- checks ----------------------------------------------------------------------------------------------------------

GOLDEN_NETWORKS = ("unet_256_batch", "resnet_9blocks_instance", "D_basic_batch")


def check_golden(
    device: torch.device, *, tolerance: float = 1e-3, names: tuple[str, ...] = GOLDEN_NETWORKS
) -> dict[str, float]:
    """Networks with the weights of ``tests/golden`` against the published outputs, computed on a CPU in float32.

    Returns:
        network -> largest difference before the last tanh, in standard deviations of the output.

    Raises:
        AssertionError: a difference above the tolerance.
    """
    Engine(device).start()  # tf32 off
    index, arrays = load_golden("atme/golden_pix2pix")
    found = {}
    for name in names:
        entry = index["networks"][name]
        kind, norm = name.removeprefix("D_").rsplit("_", 1)
        is_D, dropout = name.startswith("D_"), 0.5 if norm == "batch" else 0.0
        net = (
            build_discriminator(kind, 6, norm=norm) if is_D else build_generator(kind, 3, 3, norm=norm, dropout=dropout)
        )
        net = fill(net).eval().to(device)
        last = _KeepsInput()
        for module in net.modules():
            if isinstance(module, nn.Tanh):
                module.register_forward_pre_hook(last)
        with torch.no_grad():
            out = net(uniform_input(entry["inputs"][0]["shape"]).to(device))
        part = entry if is_D else entry["pretanh"]
        step = entry["stored_stride_hw"]
        want = torch.from_numpy(arrays[part["npz_key"]])
        apart = ((out if is_D else last.input).cpu()[..., ::step, ::step] - want).abs().max()
        found[name] = float(apart) / part["std"]
    assert max(found.values()) <= tolerance, f"more than {tolerance:g} apart: {found}"
    return found


class _KeepsInput:
    """A hook that keeps what a layer was given."""

    input = torch.empty(0)

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.input = inputs[0].clone()


def check_against_cpu(
    device: torch.device, *, tolerance: float = 1e-3, reference: torch.device | None = None
) -> dict[str, float]:
    """The losses of a small fp32 step on the device against the CPU's, same weights, images and draws.

    Returns:
        model -> largest relative difference of a loss.

    Raises:
        AssertionError: a difference above the tolerance.
    """
    found = {}
    for name in OPTIONS:
        losses = []
        for where in (reference or torch.device("cpu"), device):
            no_dropout = {} if name == "sagan" else {"no_dropout": True}
            model = make_model(name, Mode(), where, small=True, **no_dropout)
            seed_step(0, 1, 0)
            step = make_step(model, make_batch(name, 2, where, small=True), Mode())
            losses.append({key: float(value) for key, value in step().items()})
        found[name] = max(abs(losses[1][key] - value) / max(abs(value), 1e-3) for key, value in losses[0].items())
    assert max(found.values()) <= tolerance, f"more than {tolerance:g} apart: {found}"
    return found


def check_resume(device: torch.device, *, small: bool = True) -> dict[str, float]:
    """Four steps at once, and two and two with everything saved between, give the same weights bit for bit.

    Raises:
        AssertionError: they differ.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    use_deterministic_algorithms()
    try:
        found = {name: float(_differs_after_resuming(name, device, small)) for name in OPTIONS}
    finally:  # the cells that follow are to be as fast as a training
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
    assert not any(found.values()), f"not equal after resuming: {[name for name, apart in found.items() if apart]}"
    return found


def _differs_after_resuming(name: str, device: torch.device, small: bool) -> bool:
    whole = make_model(name, Mode(), device, small=small)
    _steps(whole, name, range(4), small)
    first = make_model(name, Mode(), device, small=small)
    _steps(first, name, range(2), small)
    file = io.BytesIO()
    parts: dict[str, Mapping[str, Any]] = {"networks": first.saved_networks, "optimizers": first.optimizers}
    states = {kind: {key: each.state_dict() for key, each in owners.items()} for kind, owners in parts.items()}
    torch.save({**states, "extra": first.extra_state()}, file)
    file.seek(0)
    state = torch.load(file, map_location="cpu", weights_only=True)
    second = make_model(name, Mode(), device, small=small)
    parts = {"networks": second.saved_networks, "optimizers": second.optimizers}
    for kind, owners in parts.items():
        for key, each in owners.items():
            each.load_state_dict(state[kind][key])
    second.load_extra_state(state["extra"])
    _steps(second, name, range(2, 4), small)
    return weights_digest(whole) != weights_digest(second)


def _steps(model: BaseModel, name: str, numbers: range, small: bool) -> Losses:
    losses = Losses()
    for number in numbers:
        seed_step(0, number, 0)
        model.set_input(make_batch(name, 2, model.engine.device, small=small, seed=number))
        losses = model.optimize_parameters()
    return losses


def weights_digest(model: BaseModel) -> str:
    """A number for the exact weights and buffers of all networks."""
    total = hashlib.sha256()
    for tensor in itertools.chain(*(net.state_dict().values() for net in model.networks.values())):
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def check_graph(device: torch.device, *, tolerance: float = 1e-3, steps: int = 5) -> dict[str, float]:
    """Replays of a captured fp32 step against the same step without a graph: the losses, and another learning rate.

    Returns:
        model -> largest relative difference of a loss after this many steps.

    Raises:
        Skipped: no CUDA.
        AssertionError: a difference above the tolerance, or a learning rate without effect.
    """
    found = {}
    for name in OPTIONS:
        losses: list[dict[str, float]] = []
        for graphed in (False, True):
            model = make_model(name, Mode(graph=True), device, small=True)
            split = SplitStep(model, make_batch(name, 2, device, small=True))
            step: Callable[[], object] = split.eager
            seed_step(0, 0, 0)
            if graphed:
                step = split.capture()
            else:
                for _ in range(3):  # as the capture does
                    split.eager()
            for number in range(steps):
                seed_step(0, number + 1, 0)
                step()
            losses.append({key: float(value) for key, value in split.losses.items()})
        found[name] = max(abs(losses[1][key] - value) / max(abs(value), 1e-2) for key, value in losses[0].items())
        set_lr(model, 0.0)
        judges = [net for key, net in model.networks.items() if key.startswith("D")]
        before = [p.detach().clone() for net in judges for p in net.parameters()]
        step()
        after = [p for net in judges for p in net.parameters()]
        assert all(map(torch.equal, before, after)), f"{name}: a replay ignores the learning rate"
    assert max(found.values()) <= tolerance, f"more than {tolerance:g} apart: {found}"
    return found


def two_process_step(device: torch.device) -> dict[str, Any]:
    """In each of two processes on one device, over gloo: three steps of CycleGAN on this process's half of a batch."""
    world = distributed.world_from_environment()
    if world.size > 1:
        dist.init_process_group("gloo")  # NCCL refuses two processes on one GPU
    model = make_model("cycle_gan", Mode(), device, small=True, no_dropout=True, pool_size=0)
    losses: list[dict[str, float]] = []
    for number in range(3):
        batch = make_batch("cycle_gan", 2, device, small=True, seed=number)
        if world.size > 1:
            rows = slice(world.rank, world.rank + 1)
            batch = {key: value[rows] for key, value in batch.items()} | {"share": 0.5}
        model.set_input(batch)
        found = {key: float(value) for key, value in model.optimize_parameters().items()}
        every = model.engine.gather(found)
        losses.append({key: sum(each[key] for each in every) / len(every) for key in found})
    return {"losses": losses, "digest": weights_digest(model)}
