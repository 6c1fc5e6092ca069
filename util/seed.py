"""Randomness: seeding, determinism, and the state of every generator as plain tensors and numbers."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch


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
    key = (draw - 1,) if draw > 1 else ()  # not one more word: zeros at the end do not count there
    words = np.random.SeedSequence([seed, step, rank], spawn_key=key).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 31 ^ int(words[1]))


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
