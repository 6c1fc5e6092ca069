"""The fastest arithmetic of a machine: what ``--precision auto`` asks, and what ``--auto_speed`` tries."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from util.files import replace_text

logger = logging.getLogger(__name__)

SPEED_FILE = "speed.json"
STEPS, WARMUP = 15, 3
HOPELESS = 3.0
"""A setting whose step takes this many times as long as that of the fastest is not tried to its end."""
TOLERANCE, FLOOR = 0.05, 0.02
"""How far the mean of a loss may lie from that of fp32: relative to it, plus the floor."""


def bf16_gain(device: torch.device) -> float:
    """How many times faster this device computes a convolution, forward and backward, in bf16 than in float32.

    Measured in well under a second, the two in turn, because the names of the instructions say too little: oneDNN
    computes bf16 on every processor, without the instructions by slow general code.
    """
    with torch.random.fork_rng(devices=[]):
        net = nn.Conv2d(32, 32, 3, padding=1).to(device)
        image = torch.rand(1, 32, 64, 64).to(device).requires_grad_()

    # On the CPU the time of this process's threads: that of the clock would count what else the machine does.
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def seconds(lower: bool) -> float:
        begin = clock()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=lower):
            out = net(image)
        out.float().sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - begin

    seconds(False), seconds(True)  # the first calls also choose and build the kernels
    times = [(seconds(False), seconds(True))]
    while len(times) < 12 and sum(map(sum, times)) < 0.3:
        times.append((seconds(False), seconds(True)))
    return min(full for full, _ in times) / min(half for _, half in times)


def fastest_precision(device: torch.device) -> str:
    """``bf16`` where the device computes it clearly faster than float32, else ``fp32``."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp32"
    return "bf16" if bf16_gain(device) > 1.1 else "fp32"


def warn_of_slow_bf16(device: torch.device) -> None:
    """Warn where bf16 costs time: on the CPU without instructions for it, where it takes five times as long or more.

    Beside other work, processors that have them were seen to take 1.1 times as long.
    """
    gain = bf16_gain(device)
    if gain < 0.5:
        logger.warning(
            "warning: --precision bf16: measured here, a convolution takes %.1f times as long as in fp32; this "
            "processor has no instructions for bf16: use --precision fp32, or auto",
            1 / gain,
        )


@dataclass(frozen=True)
class Setting:
    """One way to compute the same training step.

    Attributes:
        precision: ``fp32``, ``tf32``, ``bf16`` or ``fp16``.
        channels_last: ``--channels_last``.
        compile: ``--compile``.
        threads: of torch on the CPU; 0 leaves them as they are.
    """

    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False
    threads: int = 0

    def __str__(self) -> str:
        words = [self.precision, *["channels_last"] * self.channels_last, *["compile"] * self.compile]
        return " ".join([*words, *[f"{self.threads} thread{'s' * (self.threads > 1)}"] * (self.threads > 0)])


@dataclass(frozen=True)
class Trial:
    """A setting that was tried.

    Attributes:
        setting: what.
        seconds: median of a step; 0 where none was done.
        losses: mean of each loss.
        verdict: why it was not kept; empty if it could be.
    """

    setting: Setting
    seconds: float
    losses: Mapping[str, float]
    verdict: str = ""


Step = Callable[[], Mapping[str, Tensor]]
"""One training step; returns its losses."""


def settings_for(device: torch.device, *, compile: bool, precision: str) -> list[Setting]:
    """What is worth trying on a device: without the number of threads; the first is the plain one.

    Args:
        device: of the run.
        compile: try ``torch.compile`` too; always tried on a GPU.
        precision: only this one and fp32, unless it is ``auto`` or ``fp32``.
    """
    on_cuda = device.type == "cuda"
    precisions = ["fp32", *["tf32"] * on_cuda, "bf16"]
    if precision not in ("auto", "fp32"):
        precisions = ["fp32", precision]
    return [
        Setting(name, layout, compiled)
        for name, layout, compiled in itertools.product(
            precisions, (False, True), (False, True) if compile or on_cuda else (False,)
        )
    ]


def thread_counts() -> list[int]:
    """Numbers of threads worth trying on the CPU: those that torch has, and half of them. Empty if a user set them."""
    if "OMP_NUM_THREADS" in os.environ:
        return []
    count = torch.get_num_threads()
    return [count, count // 2] if count > 1 else []


def try_setting(
    setting: Setting, make_step: Callable[[Setting], Step], fastest: float, gather: Callable[[Any], list[Any]]
) -> Trial:
    """Time ``STEPS`` steps of one setting; all processes together.

    The slowest process counts, and the mean of their losses, so that all of them judge alike: one that gave a setting
    up alone would leave the others waiting for it.
    """
    step = make_step(setting)
    times: list[float] = []
    sums: dict[str, float] = {}
    for number in range(WARMUP + STEPS):
        begin = time.perf_counter()
        losses = {name: float(value) for name, value in step().items()}  # waits for a GPU
        times.append(max(gather(time.perf_counter() - begin)))
        if number >= WARMUP and min(times) > HOPELESS * fastest:
            return Trial(setting, min(times), {}, f"more than {HOPELESS:g} times as long as the fastest")
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value / (WARMUP + STEPS)
    everywhere = gather(sums)
    means = {name: statistics.fmean(each[name] for each in everywhere) for name in sums}
    return Trial(setting, statistics.median(times[WARMUP:]), means)


def judged(trial: Trial, reference: Trial) -> Trial:
    """The trial, with a verdict where a loss leaves the tolerance around that of the reference."""
    if trial.verdict:
        return trial
    for name, value in reference.losses.items():
        found = trial.losses.get(name, float("nan"))
        if not abs(found - value) <= TOLERANCE * abs(value) + FLOOR:
            return replace(trial, verdict=f"{name} {found:.4g}, not {value:.4g}")
    return trial


def try_all(
    settings: Sequence[Setting],
    threads: Sequence[int],
    make_step: Callable[[Setting], Step],
    gather: Callable[[Any], list[Any]],
) -> list[Trial]:
    """Try the first setting with every number of threads, then all others with the best of these numbers.

    Where torch.compile does not work, as without a C++ compiler, a single process goes on with the other settings.
    """
    trials: list[Trial] = []
    alone = len(gather(None)) == 1

    def go_through(candidates: Iterator[Setting]) -> None:
        for setting in candidates:
            fastest = min((trial.seconds for trial in trials if not trial.verdict), default=float("inf"))
            try:
                trial = try_setting(setting, make_step, fastest, gather)
            except RuntimeError as error:
                if not (setting.compile and alone):
                    raise
                trial = Trial(setting, 0.0, {}, f"failed: {str(error).strip().partition(chr(10))[0]}")
            trials.append(judged(trial, trials[0] if trials else trial))

    plain = settings[0]
    go_through(replace(plain, threads=count) for count in threads or [0])
    best = chosen(trials).threads
    go_through(replace(each, threads=best) for each in settings[1:])
    return trials


def chosen(trials: Sequence[Trial]) -> Setting:
    """The fastest setting whose losses stay within tolerance; the first where none does, as of losses that are NaN."""
    good = (trial for trial in trials if not trial.verdict)
    return min(good, key=lambda trial: trial.seconds, default=trials[0]).setting


def table(trials: Sequence[Trial]) -> list[str]:
    """A line for each trial, the fastest marked."""
    first, best = trials[0].seconds, chosen(trials)
    width = max(len(str(trial.setting)) for trial in trials)
    return [
        f"  {trial.setting!s:{width}}  {trial.seconds:8.4f} s/step  {first / (trial.seconds or math.inf):5.2f}x  "
        f"{trial.verdict or ('<- kept' if trial.setting == best else '')}".rstrip()
        for trial in trials
    ]


def write_setting(folder: Path, setting: Setting, trials: Sequence[Trial]) -> None:
    """Keep the choice, and what it was chosen from, with the run."""
    tried = [{**asdict(trial.setting), "seconds": trial.seconds, "verdict": trial.verdict} for trial in trials]
    replace_text(folder / SPEED_FILE, [json.dumps({"kept": asdict(setting), "tried": tried}, indent=2), "\n"])


def read_setting(folder: Path) -> Setting | None:
    """The choice that a run keeps; None if it has none.

    Raises:
        ValueError: the file cannot be read.
    """
    file = folder / SPEED_FILE
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))["kept"]
        return Setting(**{name: kept[name] for name in asdict(Setting())})
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not readable ({error}); delete it to choose again") from None
