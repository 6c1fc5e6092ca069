"""Timing on any device, and the rate of plain convolutions as the limit to compare with."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.networks.fast_conv import direct
from util.run.engine import Engine


def seconds_per_call(
    call: Callable[[], object], device: torch.device, *, seconds: float = 3.0, warmup: int = 2
) -> float:
    """Median seconds of a call, over at least three calls and about ``seconds`` of time."""
    for _ in range(warmup):
        call()
    wait(device)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        wait(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def machine(device: torch.device) -> str:
    """Where something was measured, in one line: processor, threads, graphics card, torch."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} processors"
    return ", ".join([processor, threads, *gpu, f"torch {version('torch')}"])


def wait(device: torch.device) -> None:
    """Let a GPU finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_flops(call: Callable[[], object]) -> int:
    """Floating point operations of one call, forward and backward, as torch counts them (convolutions and matmuls)."""
    counter = FlopCounterMode(display=False)
    with counter, direct():  # of the definition, whatever way is taken
        call()
    return int(counter.get_total_flops())


PLAIN = ((64, 256), (256, 64))
"""Channels and image side of the plain 3x3 convolutions: a shallow large layer and a deep small one."""


def convolution_rate(engine: Engine, batch_size: int, *, seconds: float = 2.0) -> float:
    """Best FLOP/s of a plain 3x3 convolution, forward and backward, at this batch size and precision."""
    best = 0.0
    for channels, side in PLAIN:
        net = engine.prepare(nn.Conv2d(channels, channels, 3, padding=1))
        image = engine.to_device(torch.randn(batch_size, channels, side, side)).requires_grad_()

        def step(net: nn.Module = net, image: torch.Tensor = image) -> None:
            image.grad = None
            net.zero_grad(set_to_none=True)
            with engine.autocast():
                out = net(image)
            out.sum().backward()

        best = max(best, count_flops(step) / seconds_per_call(step, engine.device, seconds=seconds))
    return best
