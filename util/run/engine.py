"""Where and how a model computes: device, precision, memory layout, compilation, processes. Models only ask it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from util.run import distributed
from util.run.device import device_for, parse_gpu_ids
from util.run.distributed import World
from util.run.gradients import GradientAverage
from util.run.speed import Setting, fastest_precision, warn_of_slow_bf16

logger = logging.getLogger(__name__)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_step(seed: int, step: int, rank: int, draw: int = 1) -> None:
    """Seed torch for one training step, or for one draw of a test image.

    What a step draws (dropout, noise) then depends on the seed, the step and the process alone, so that a resumed run
    draws what the uninterrupted one drew, with any number of processes.

    Args:
        seed: ``--seed``.
        step: number of the step, or place of the image.
        rank: of the process.
        draw: which of an image's draws, from 1; the first is the one of a test without more.
    """
    torch.manual_seed(seed_of(seed, step, rank, draw))


def seed_of(seed: int, step: int, rank: int = 0, draw: int = 1) -> int:
    """The number that ``seed_step`` seeds torch with; arguments as there."""
    key = (draw - 1,) if draw > 1 else ()  # not one more word: zeros at the end do not count there
    words = np.random.SeedSequence([seed, step, rank], spawn_key=key).generate_state(2, np.uint32)
    return int(words[0]) << 31 ^ int(words[1])


def use_deterministic_algorithms() -> None:
    """Only deterministic kernels; operations that have none warn once. Call before the first CUDA operation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def rng_state() -> dict[str, Any]:
    """The state of the Python, NumPy and torch generators: tensors, numbers and lists only."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # type: ignore[misc]
    return {
        "python": [version, list(words), gauss],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(position), int(has_gauss), cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def load_rng_state(state: dict[str, Any]) -> None:
    """Restore what ``rng_state`` returned; CUDA states only where the number of GPUs is the same."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
TRAVEL = {"none": None, "bf16": torch.bfloat16}
"""``--gradient_compression`` -> type in which gradients travel; None for that of the parameters."""


@dataclass(frozen=True)
class Engine:
    """The same model code runs on the CPU, one GPU or many processes through these few verbs.

    Attributes:
        device: where this process computes.
        precision: ``fp32`` (exact), ``tf32``, ``bf16`` or ``fp16`` (networks under autocast, float32 weights).
        channels_last: NHWC memory layout of networks and inputs.
        compile: compile the networks with ``torch.compile``.
        world: this process's place among all.
        gradient_compression: ``none``, or ``bf16``, in which the processes exchange gradients then.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False
    world: World = field(default_factory=World)
    gradient_compression: str = "none"

    def start(self) -> None:
        """Join the other processes and set the arithmetic of this one.

        Raises:
            ValueError: the device cannot do ``precision``.
        """
        if self.precision == "fp16" and self.device.type == "cpu":
            raise ValueError("--precision fp16: the CPU has no fast fp16; use bf16 or fp32")
        if self.precision == "tf32" and self.device.type != "cuda":
            raise ValueError(f"--precision tf32: NVIDIA GPUs only, not {self.device.type}; use fp32 or bf16")
        if self.precision == "bf16" and self.device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ValueError("--precision bf16: this GPU does not support it; use fp16 or fp32")
        torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
        if self.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
            torch.backends.cudnn.benchmark = True
        distributed.start(self.world, self.device)

    def prepare(self, net: nn.Module) -> nn.Module:
        """Move a network to the device, in the right layout, batch norm over all processes, compiled if asked.

        The module stays the same object with the same state_dict keys.
        """
        net = net.to(self.device)
        if self.world.size > 1:
            net = distributed.synchronise_batch_norm(net, self.device)
            distributed.broadcast_parameters(net)
        if self.channels_last:
            net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compile:
            net.compile()
        return net

    def tuned(self, setting: Setting, seed: int) -> Engine:
        """The same device and processes with another arithmetic, started and seeded as by ``start_engine``."""
        if setting.threads:
            torch.set_num_threads(setting.threads)
        precision, channels_last, compile = setting.precision, setting.channels_last, setting.compile
        engine = replace(self, precision=precision, channels_last=channels_last, compile=compile)
        engine.start()
        seed_everything(seed)
        return engine

    def alone(self) -> Engine:
        """The same device and arithmetic for what this process computes without the others, and once: not compiled."""
        return replace(self, world=World(), compile=False)

    def to_device(self, tensor: Tensor) -> Tensor:
        """Move an image batch ``[N, C, H, W]`` (or anything else) to the device, asynchronously if it is pinned."""
        tensor = tensor.to(self.device, non_blocking=True)
        if self.channels_last and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which networks run: lower precision under bf16 and fp16, nothing otherwise."""
        dtype = AUTOCAST.get(self.precision)
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)

    def grad_scaler(self) -> torch.amp.GradScaler | None:
        """A loss scaler for fp16; None where none is needed."""
        return torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None

    def gradient_average(self, parameters: Iterable[nn.Parameter]) -> GradientAverage | None:
        """What averages the gradients of an optimizer over the processes; None alone. Every process must call it."""
        if self.world.size == 1:
            return None
        group, dtype = distributed.group_for_gradients(self.device), TRAVEL[self.gradient_compression]
        return GradientAverage(parameters, group, dtype=dtype)

    def rng(self, purpose: str) -> random.Random:
        """Random numbers of their own for one purpose, by ``--seed`` and process."""
        return random.Random(f"{torch.initial_seed()}/{self.world.rank}/{purpose}")

    def rng_of_run(self, purpose: str) -> random.Random:
        """The same as ``rng``, but equal in every process."""
        return random.Random(f"{torch.initial_seed()}/{purpose}")

    def gather(self, value: Any) -> list[Any]:
        """What every process has, in the order of their ranks. Every process must call it."""
        return distributed.gather(value)

    def adam(self, parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Adam:
        """Adam, fused into one kernel where torch has that for this device (CPU and CUDA)."""
        return torch.optim.Adam(parameters, fused=self.device.type in ("cpu", "cuda"), **settings)


def start_engine(
    *,
    gpu_ids: str = "",
    seed: int = 0,
    deterministic: bool = False,
    precision: str = "fp32",
    channels_last: bool = False,
    compile: bool = False,
    gradient_compression: str = "none",
) -> Engine:
    """The engine of this process, started: device chosen, other processes joined, everything seeded.

    Args:
        gpu_ids: ``"0,1"``, ``"-1"`` for the CPU, ``""`` for the first GPU if there is one.
        seed: of every random generator.
        deterministic: only deterministic algorithms.
        precision: see ``Engine``; ``auto`` is ``bf16`` where the main process measures that it is faster, or ``fp32``.
        channels_last: see ``Engine``.
        compile: see ``Engine``.
        gradient_compression: see ``Engine``; without effect on a single process, which is warned of.

    Raises:
        ValueError: a GPU or a precision that this machine does not have.
    """
    world = distributed.world_from_environment()
    if deterministic:
        use_deterministic_algorithms()
    device = device_for(parse_gpu_ids(gpu_ids), world.local_rank, own_process=world.size > 1 and not gpu_ids)
    if precision == "auto":
        distributed.start(world, device)
        precision = distributed.gather(fastest_precision(device))[0]
        logger.info("--precision auto: %s", precision)
    elif precision == "bf16" and device.type == "cpu" and world.is_main:
        warn_of_slow_bf16(device)
    if gradient_compression != "none" and world.size == 1:
        logger.warning(
            "warning: --gradient_compression %s has no effect on a single process: no gradients travel",
            gradient_compression,
        )
    engine = Engine(device, precision, channels_last, compile, world, gradient_compression)
    engine.start()
    seed_everything(seed)
    return engine
