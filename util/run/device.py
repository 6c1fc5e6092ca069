"""Choosing the device from ``--gpu_ids``, and what it can tell about its memory."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


def parse_gpu_ids(text: str) -> list[int]:
    """``"0,1"`` -> ``[0, 1]``; ``"-1"`` -> ``[]``, the CPU; ``""`` -> the first GPU, if any.

    Raises:
        ValueError: not a list of numbers, or a GPU that this machine does not have.
    """
    count = torch.cuda.device_count()
    if not text.strip():
        if count or _mps():
            return [0]
        reason = why_no_gpu()
        logger.info("no GPU found: computing on the CPU%s", f"; {reason}" if reason else "")
        return []
    try:
        ids = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise ValueError(f"--gpu_ids {text}: expected numbers such as 0 or 0,1, or -1 for the CPU") from None
    if ids == [-1]:
        return []
    if not ids or min(ids) < 0:
        raise ValueError(f"--gpu_ids {text}: expected numbers such as 0 or 0,1, or -1 alone for the CPU")
    if len(set(ids)) != len(ids):
        raise ValueError(f"--gpu_ids {text}: a GPU is named twice")
    if ids and not count and not (_mps() and ids == [0]):
        reason = f" ({found})" if (found := why_no_gpu()) else ""
        raise ValueError(f"--gpu_ids {text}: this machine has no usable GPU{reason}; use --gpu_ids -1 for the CPU")
    for number in ids if count else []:
        if number >= count:
            raise ValueError(f"--gpu_ids {text}: there is no GPU {number}; this machine has 0 to {count - 1}")
    return ids


def why_no_gpu() -> str:
    """Why torch uses no GPU although this machine has an NVIDIA one; empty where it has none, or torch uses it."""
    program = shutil.which("nvidia-smi")
    if program is None or torch.cuda.device_count():
        return ""
    query = [program, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return f"{program} does not run: is the NVIDIA driver whole?"
    driver, _, name = asked.stdout.partition("\n")[0].partition(", ")
    if asked.returncode or not name:
        return "nvidia-smi reaches no GPU: start the machine again after an update of its driver"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip()
    if visible in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides the {name}"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA and cannot use the {name}; see docs/install.md"
    built = f"torch {torch.__version__}, built for CUDA {torch.version.cuda}"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        if "too old" in str(error):
            remedy = "update the driver, or install a torch for an older CUDA as docs/install.md says"
            return f"the NVIDIA driver {driver} is too old for {built}: {remedy}"
        return f"{built}, does not reach the {name} with driver {driver}: {' '.join(str(error).split())}"
    return ""


def device_for(gpu_ids: list[int], local_rank: int = 0, *, own_process: bool = False) -> torch.device:
    """The device of this process: the GPU at its place in the list, else the CPU.

    Args:
        gpu_ids: as ``parse_gpu_ids`` gave them.
        local_rank: number of this process on this machine.
        own_process: one process a GPU without a list (``torchrun`` alone): take GPU number ``local_rank``.

    Raises:
        ValueError: more processes than GPUs.
    """
    if not gpu_ids:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        return torch.device("mps")
    ids = list(range(torch.cuda.device_count())) if own_process else gpu_ids
    if local_rank >= len(ids):
        shown = ",".join(map(str, ids))
        raise ValueError(f"--gpu_ids {shown}: process {local_rank} has no GPU of its own; name one GPU per process")
    device = torch.device("cuda", ids[local_rank])
    torch.cuda.set_device(device)
    return device


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far in MiB: of the GPU's allocator, or of this process on the CPU (0 where unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "mps":
        return float(torch.mps.driver_allocated_memory()) / 2**20
    if resource is None:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _mps() -> bool:
    return bool(torch.backends.mps.is_available())
