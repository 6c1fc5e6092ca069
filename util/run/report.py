"""What a run is going to be, in words: for ``--dry_run`` and the first lines of every run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from util.run.checkpoint import size_on_disk
from util.run.device import peak_memory_mb
from util.run.schedule import TrainingSchedule
from util.types import Batch, Losses
from util.wording import counted


class Trainable(Protocol):
    """What is needed of a model."""

    optimizers: dict[str, torch.optim.Optimizer]

    @property
    def saved_networks(self) -> dict[str, nn.Module]: ...

    def train_on(self, batch: Batch) -> Losses: ...


def count_parameters(net: nn.Module) -> int:
    """Trainable and frozen parameters of a network."""
    return sum(parameter.numel() for parameter in net.parameters())


def describe_networks(networks: Mapping[str, nn.Module]) -> list[str]:
    """One line a network: its checkpoint name, class and size."""
    return [
        f"network {name}: {type(net).__name__}, {count_parameters(net):,} parameters" for name, net in networks.items()
    ]


def describe_data(mode: str, summary: Mapping[str, object]) -> list[str]:
    """The data set's own summary in lines."""
    return [f"data ({mode}): " + ", ".join(f"{key} {value}" for key, value in summary.items())]


def describe_plan(plan: TrainingSchedule, num_images: int, batch_size: int) -> list[str]:
    """How long the run is."""
    end = counted(plan.total_steps, "step") if plan.by_steps else f"epochs {plan.epoch_count} to {plan.last_epoch}"
    return [
        f"schedule: {end}; {counted(num_images, 'image')} and {counted(plan.steps_per_epoch, 'step')} of batch "
        f"{batch_size} per epoch, {counted(plan.total_steps, 'step')} in all; learning rate {plan.lr_policy}"
    ]


def describe_checkpoints(folder: Path, size: int, plan: TrainingSchedule, every: int, keep: int) -> list[str]:
    """What the checkpoints will take, with a warning when the disk has less.

    Args:
        folder: where they go; need not exist.
        size: bytes of one.
        plan: of the run.
        every: epochs between two numbered checkpoints.
        keep: how many numbered ones are kept; 0 = all.
    """
    numbered = plan.last_epoch // every
    count = min(numbered, keep or numbered)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free, total = shutil.disk_usage(existing).free, size * (count + 1)
    line = (
        f"checkpoints: {_mb(size)} each, latest and {count} numbered: up to {_mb(total)}; the disk has {_mb(free)} free"
    )
    return [line] if total < free else [line, "warning: that is more than the disk has; set --keep_checkpoints K"]


def measure_model(model: Trainable, batch: Mapping[str, Any], device: torch.device) -> tuple[float, float]:
    """``measure_step`` of a model on random images of a batch's shapes."""
    noise = {key: torch.rand_like(v) * 2 - 1 if key in ("A", "B", "image") else v for key, v in batch.items()}

    return measure_step(lambda: model.train_on(noise), device)


def measure_step(step: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Run a step twice; seconds of the second, and peak memory in MiB afterwards."""
    step()
    _wait(device)
    begin = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - begin, peak_memory_mb(device)


def describe_step(seconds: float, memory_mb: float, steps: int) -> list[str]:
    """What the measured step means for the run."""
    hours = seconds * steps / 3600
    return [
        f"measured on one step of random images: {seconds:.3f} s, peak memory {memory_mb:,.0f} MB; "
        f"the whole run takes about {hours:.1f} h at this rate, data loading not counted"
    ]


def describe_run(
    model: Trainable,
    plan: TrainingSchedule,
    *,
    data: tuple[str, Mapping[str, object], int, int],
    saving: tuple[Path, int, int],
) -> list[str]:
    """Networks, data, schedule and checkpoints, a line each.

    Args:
        model: ready to train.
        plan: of the run.
        data: mode and summary of the data set, images in an epoch, batch size.
        saving: folder, epochs between two numbered checkpoints, how many of them are kept.
    """
    mode, summary, num_images, batch_size = data
    size = size_on_disk(model.saved_networks.values(), model.optimizers.values())
    return [
        *describe_networks(model.saved_networks),
        *describe_data(mode, summary),
        *describe_plan(plan, num_images, batch_size),
        *describe_checkpoints(saving[0], size, plan, saving[1], saving[2]),
    ]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _mb(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"
