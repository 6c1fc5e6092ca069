"""Features of a set of images, with a progress bar, and a cache by content for the sides that stay the same."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import torch
from torch import Tensor
from tqdm import tqdm

from util.files import replacing
from util.metrics.images import ImageSet, Pixels, as_rgb
from util.wording import counted

if TYPE_CHECKING:
    from util.metrics.extractors import Extractor  # imports torch-fidelity, which takes two seconds

logger = logging.getLogger(__name__)

Features = dict[str, Tensor]
"""Layer -> float32 ``[n, C]`` on the CPU, in the order of the images."""

_READERS = 4


class FeatureCache:
    """Features on disk, one file a set of images, found by a hash of everything that they depend on.

    A folder that cannot be written costs one warning; nothing else depends on the cache.

    Args:
        folder: where the files lie; None for no cache.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._memory: dict[str, Features] = {}

    def load(self, extractor: Extractor, images: ImageSet) -> Features | None:
        """What is known, or None. A damaged file is none."""
        key = _key(extractor, images)
        if key in self._memory:
            return self._memory[key]
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / f"{key}.npz", allow_pickle=False) as file:
                found = {layer: torch.from_numpy(file[layer]) for layer in file.files}
        except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile):
            return None
        layers = set(extractor.module.get_requested_features_list())
        if found.keys() != layers or {len(rows) for rows in found.values()} != {len(images)}:
            return None
        return found

    def store(self, extractor: Extractor, images: ImageSet, features: Features) -> None:
        """Keep features in memory and on disk."""
        key = _key(extractor, images)
        self._memory[key] = features
        if self.folder is None:
            return
        arrays: dict[str, Any] = {layer: rows.numpy() for layer, rows in features.items()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.folder / f"{key}.npz") as temporary, open(temporary, "wb") as file:
                np.savez(file, **arrays)
        except OSError as error:
            logger.warning("warning: features are not kept in %s (%s)", self.folder, error.strerror)
            self.folder = None


def default_cache() -> Path:
    """This user's cache folder: ``image-translation-gans/features`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "image-translation-gans" / "features"


def features_of(
    images: ImageSet,
    extractor: Extractor,
    device: torch.device,
    *,
    batch_size: int = 32,
    cache: FeatureCache | None = None,
    progress: bool = True,
) -> Features:
    """Features of every image.

    Args:
        images: read as RGB; 16 bit is rounded to 8. Images of different sizes are scaled one size after the other.
        extractor: the network.
        device: where it runs.
        batch_size: at most this many images at a time.
        cache: looked up first and filled, for a side that will be measured again.
        progress: a bar on a terminal, and a line with the rate.

    Raises:
        ValueError: an image that cannot be read.
    """
    known = cache.load(extractor, images) if cache else None
    if known is not None:
        if progress:
            logger.info("%s: %s, features from the cache", images.label, counted(len(images), "image"))
        return known
    parts: dict[str, list[Tensor]] = {layer: [] for layer in extractor.module.get_requested_features_list()}
    start = time.perf_counter()
    bar = tqdm(total=len(images), desc="features", unit=" img", disable=None if progress else True, leave=False)
    with bar, torch.inference_mode(), _exact_arithmetic():
        for batch in _batches(images, batch_size):
            found = extractor.module(batch.to(device))
            for layer, rows in zip(parts, found):
                parts[layer].append(rows.float().cpu())
            bar.update(len(batch))
    if progress:
        seconds = time.perf_counter() - start
        rate = len(images) / max(seconds, 1e-9)
        shown = counted(len(images), "image")
        logger.info("%s: %s in %.1f s (%.1f images/s)", images.label, shown, seconds, rate)
    features = {layer: torch.cat(rows) for layer, rows in parts.items()}
    if cache:
        cache.store(extractor, images, features)
    return features


def to_uint8(image: Pixels) -> Pixels:
    """An image with values 0..255 as uint8, rounded."""
    return image if image.dtype == np.uint8 else np.rint(image).clip(0, 255).astype(np.uint8)


def _batches(images: ImageSet, size: int) -> Iterator[Tensor]:
    """uint8 ``[n, 3, H, W]``, n <= size, in order; a change of size between two images ends a batch early."""
    rows: list[Pixels] = []
    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as readers:
        ahead: list[Future[Pixels]] = []
        todo = iter(range(len(images)))
        for index in todo:
            ahead.append(readers.submit(images.read, index))
            if len(ahead) == 2 * size:
                break
        while ahead:
            image = to_uint8(as_rgb(ahead.pop(0).result()))
            following = next(todo, None)
            if following is not None:
                ahead.append(readers.submit(images.read, following))
            if rows and (len(rows) == size or rows[0].shape != image.shape):
                yield _stack(rows)
                rows = []
            rows.append(image)
    if rows:
        yield _stack(rows)


def _stack(rows: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


@contextlib.contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """float32 without TF32 and without kernels that differ from call to call, whatever the training uses."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _key(extractor: Extractor, images: ImageSet) -> str:
    facts = {**extractor.facts(), "layers": list(extractor.module.get_requested_features_list())}
    versions = [torch.__version__, importlib.metadata.version("torch-fidelity"), PIL.__version__]
    return hashlib.sha256(json.dumps([facts, versions, images.digest()], sort_keys=True).encode()).hexdigest()
